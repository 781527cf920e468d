// What kernels over the rows of an (N, C) array share: a group of threads has a row; its values lie in registers, WIDTH
// of them to an access of up to 16 bytes; sums and maxima over the group. A group is a warp, a block of up to 512
// threads, or, of more, a cluster of such blocks, which hand each other their results (sm_90).
//
//   thread t of the group holds columns (i GROUP + t) WIDTH … + WIDTH - 1 for i = 0, 1, …: neighbours read neighbours.
//
// Arrays hold numbers of a type S, arithmetic is in T: float for bfloat16, else S itself.
#pragma once
#include "ptx.cuh"

#ifdef NLP_BFLOAT16
#include <cuda_bf16.h>
#endif

constexpr unsigned all_lanes = 0xffffffffu;
constexpr int largest_block = 512;

template <int GROUP>
constexpr int block_of = GROUP < 128 ? 128 : GROUP < largest_block ? GROUP : largest_block;  // threads in a block
template <int GROUP>
constexpr int cluster_of = GROUP > largest_block ? GROUP / largest_block : 1;  // blocks in a cluster

template <typename S>
struct Arithmetic {
  using Type = S;
};
#ifdef NLP_BFLOAT16
template <>
struct Arithmetic<__nv_bfloat16> {
  using Type = float;
};
#endif
template <typename S>
using arithmetic = typename Arithmetic<S>::Type;

// Blocks that a processor shall have room for, where a thread holds so many numbers of a row: one computes while the
// other waits for memory. Asked for two where much is held, the compiler spills on Blackwell; Hopper has room anyway.
template <typename S, int VALUES>
constexpr int resident = VALUES * sizeof(arithmetic<S>) < 64 ? 2 : 1;

template <typename T>
__device__ __forceinline__ T infinity() {
  return static_cast<T>(__int_as_float(0x7f800000));
}

template <typename T, int WIDTH>
struct alignas(sizeof(T) * WIDTH < 16 ? sizeof(T) * WIDTH : 16) Vector {  // larger ones take several accesses
  T v[WIDTH];
};

struct Sum {
  template <typename T>
  static __device__ __forceinline__ T of(T a, T b) { return a + b; }
  template <typename T>
  static __device__ __forceinline__ T none() { return T(0); }
};

struct Max {
  template <typename T>
  static __device__ __forceinline__ T of(T a, T b) { return a > b ? a : b; }
  template <typename T>
  static __device__ __forceinline__ T none() { return -infinity<T>(); }
};

// Every lane gets the warp's result, in the same order for all: the butterfly.
template <typename Op, typename T>
__device__ __forceinline__ T warp_reduce(T v) {
#pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) v = Op::of(v, __shfl_xor_sync(all_lanes, v, lanes));
  return v;
}

template <int GROUP>
__device__ __forceinline__ int group_thread() {
  if constexpr (GROUP <= largest_block) return threadIdx.x % GROUP;
  else return ptx::cluster_rank() * largest_block + threadIdx.x;
}

// What each warp of the group brings, for all of its warps: f(the v of warp w, w < GROUP / 32) is called by lane w % 32
// of every warp, for w < 32 first. A block has it in its shared memory, a cluster writes it into that of every block.
template <int GROUP, typename V, typename F>
__device__ __forceinline__ void for_warps(V v, F f) {
  constexpr int WARPS = GROUP / 32, CLUSTER = cluster_of<GROUP>;
  __shared__ V part[WARPS];
  const int lane = threadIdx.x % 32, warp = group_thread<GROUP>() / 32;
  if constexpr (CLUSTER == 1) {
    if (lane == 0) part[warp] = v;
    __syncthreads();
  } else {
    if (lane < CLUSTER) *ptx::map_shared(&part[warp], lane) = v;  // lane r writes to block r
    ptx::cluster_sync();
  }
#pragma unroll
  for (int w = lane; w < WARPS; w += 32) f(part[w]);
  if constexpr (CLUSTER == 1) __syncthreads();  // part may be written again
  else ptx::cluster_sync();                     // and no block ends while others may write to it
}

// Every thread gets the result of its group, in the same order for all.
template <typename Op, int GROUP, typename T>
__device__ __forceinline__ T group_reduce(T v) {
  v = warp_reduce<Op>(v);
  if constexpr (GROUP > 32) {
    T all = Op::template none<T>();
    for_warps<GROUP>(v, [&](T of_warp) { all = Op::of(all, of_warp); });
    v = warp_reduce<Op>(all);
  }
  return v;
}

// f(item, column) for each value that thread t of the group holds.
template <int GROUP, int ITEMS, int WIDTH, typename F>
__device__ __forceinline__ void for_items(int t, int C, F f) {
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int at = i / WIDTH * WIDTH * GROUP;
    if (at < C - t * WIDTH) f(i, t * WIDTH + at + i % WIDTH);
  }
}

// A row to registers, zeros beyond its end; WIDTH divides C, and the row's address is a multiple of WIDTH values. (A
// register that is sometimes left as it was stays occupied from row to row.)
template <int GROUP, int ITEMS, int WIDTH, typename T, typename S>
__device__ __forceinline__ void load_row(T (&v)[ITEMS], const S* row /* (C,) */, int t, int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH) {
    Vector<S, WIDTH> vector{};
    if (i * GROUP < C - t * WIDTH) vector = *reinterpret_cast<const Vector<S, WIDTH>*>(row + t * WIDTH + i * GROUP);
#pragma unroll
    for (int j = 0; j < WIDTH; j++) v[i + j] = static_cast<T>(vector.v[j]);
  }
}

template <int GROUP, int ITEMS, int WIDTH, typename T, typename S>
__device__ __forceinline__ void store_row(S* row /* (C,) */, const T (&v)[ITEMS], int t, int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH) {
    if (i * GROUP >= C - t * WIDTH) continue;
    Vector<S, WIDTH> vector;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) vector.v[j] = static_cast<S>(v[i + j]);
    *reinterpret_cast<Vector<S, WIDTH>*>(row + t * WIDTH + i * GROUP) = vector;
  }
}

// Rows are dealt out to the groups of a grid of any size.
template <int GROUP, typename F>
__device__ __forceinline__ void for_rows(long long N, F f) {
  if constexpr (GROUP > largest_block) {
    ptx::cluster_sync();  // the others' shared memory is there when they have started
    for (long long n = blockIdx.x / cluster_of<GROUP>; n < N; n += gridDim.x / cluster_of<GROUP>) f(n);
  } else {
    const long long groups = blockDim.x / GROUP;
    for (long long n = blockIdx.x * groups + threadIdx.x / GROUP; n < N; n += gridDim.x * groups) f(n);
  }
}
