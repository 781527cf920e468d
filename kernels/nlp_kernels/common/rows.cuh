// What kernels over the rows of an (N, C) array share: a group of threads, a warp or the whole block, has a row; its
// values lie in registers, WIDTH of them to an access of up to 16 bytes; sums and maxima over the group.
//
//   thread t of the group holds columns (i GROUP + t) WIDTH … + WIDTH - 1 for i = 0, 1, …: neighbours read neighbours.
#pragma once

constexpr unsigned all_lanes = 0xffffffffu;

template <typename T>
__device__ __forceinline__ T infinity() {
  return static_cast<T>(__int_as_float(0x7f800000));
}

template <typename T, int WIDTH>
struct alignas(sizeof(T) * WIDTH) Vector {
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

// Every thread gets the result of its group: of its warp, or of the block of GROUP threads.
template <typename Op, int GROUP, typename T>
__device__ __forceinline__ T group_reduce(T v) {
  v = warp_reduce<Op>(v);
  if constexpr (GROUP > 32) {
    __shared__ T part[GROUP / 32];
    const int lane = threadIdx.x % 32;
    if (lane == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = warp_reduce<Op>(lane < GROUP / 32 ? part[lane] : Op::template none<T>());
    __syncthreads();  // part may be written again
  }
  return v;
}

// f(item, column) for each value that thread t of the group holds.
template <int GROUP, int ITEMS, int WIDTH, typename F>
__device__ __forceinline__ void for_items(int t, int C, F f) {
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i / WIDTH * GROUP + t) * WIDTH + i % WIDTH;
    if (c < C) f(i, c);
  }
}

// A row to registers; WIDTH divides C, and the row's address is a multiple of WIDTH values.
template <int GROUP, int ITEMS, int WIDTH, typename T>
__device__ __forceinline__ void load_row(T (&v)[ITEMS], const T* row /* (C,) */, int t, int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH) {
    const int c = (i / WIDTH * GROUP + t) * WIDTH;
    if (c >= C) continue;
    const auto vector = *reinterpret_cast<const Vector<T, WIDTH>*>(row + c);
#pragma unroll
    for (int j = 0; j < WIDTH; j++) v[i + j] = vector.v[j];
  }
}

template <int GROUP, int ITEMS, int WIDTH, typename T>
__device__ __forceinline__ void store_row(T* row /* (C,) */, const T (&v)[ITEMS], int t, int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH) {
    const int c = (i / WIDTH * GROUP + t) * WIDTH;
    if (c >= C) continue;
    Vector<T, WIDTH> vector;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) vector.v[j] = v[i + j];
    *reinterpret_cast<Vector<T, WIDTH>*>(row + c) = vector;
  }
}

// Rows are dealt out to the groups of a grid of any size.
template <int GROUP, typename F>
__device__ __forceinline__ void for_rows(long long N, F f) {
  const long long groups = blockDim.x / GROUP;
  for (long long n = blockIdx.x * groups + threadIdx.x / GROUP; n < N; n += gridDim.x * groups) f(n);
}
