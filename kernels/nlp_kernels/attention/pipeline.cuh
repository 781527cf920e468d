// The parts of a warp-specialised attention kernel: a ring of tiles, products by wgmma, masks as bits, the way out.
//
// A block has three warpgroups. One warp of the first, the producer, lets the copy engine fill a ring of tiles in
// shared memory; the other two, the consumers, multiply. Each has 64 rows of a tile of 128 that stays.
//
// A tile of ROWS x HEAD numbers lies there as HEAD / 64 parts: ROWS rows of 128 bytes, swizzled. Thread t of a consumer
// has of a (64, N) result, as wgmma leaves it, number i in row 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2) and column
// 8 (i / 4) + 2 (t % 4) + i % 2: of two rows a quarter.
#pragma once
#include "../common/wgmma.cuh"
#include "problem.cuh"

constexpr int consumers = 2, stays = 64 * consumers;  // rows of the tile that stays
constexpr float log2_e = 1.4426950408889634f;

// Which head and tile a block has. Blocks start in this order: section after section of heads, as many as the
// second-level cache has room for; within a section tile after tile, of all its heads the first, then the second, …
struct Place {
  int head, tile;

  static __device__ __forceinline__ Place of(int block, int blocks, int tiles, int section /* heads */) {
    const int before = block / (section * tiles) * section, within = block - before * tiles;
    const int heads = min(section, blocks / tiles - before);
    return {before + within % heads, within / heads};
  }
};

struct Slot {  // of a ring, and the parity of its phase in this round
  int index;
  unsigned parity;
  __device__ __forceinline__ void next(int slots) {
    if (++index == slots) index = 0, parity ^= 1;
  }
};

template <int ROWS, int HEAD>
struct Tile {
  static constexpr int part = ROWS * 128, bytes = HEAD / 64 * part;

  // Rows first … of a head; zeros beyond its edges.
  static __device__ __forceinline__ void load(unsigned char* tile, const ptx::TensorMap* of /* (B, H, rows, D) */,
                                              ptx::mbarrier* full, int first, int h, int b) {
#pragma unroll
    for (int i = 0; i < HEAD / 64; i++) ptx::tma_load(tile + i * part, of, full, {64 * i, first, h, b});
  }
  // By a warp: zeros in the rows from `there` on. The swizzle moves nothing from one row to another.
  static __device__ __forceinline__ void clear(unsigned char* tile, int there) {
#pragma unroll 1
    for (int i = 0; i < HEAD / 64; i++)
#pragma unroll 1
      for (int at = there * 128 + threadIdx.x % 32 * 16; at < part; at += 32 * 16)
        *reinterpret_cast<float4*>(tile + i * part + at) = {};
  }
};

// Whether so many rows of keys, from `first` on, are cut by the length: some come from memory that may hold anything.
__device__ __forceinline__ bool cut(const Head<float>& head, int first, int rows) {
  return head.length < min(first + rows, head.problem.keys);
}

// By one thread: the barriers of a ring, one for what stays, and the producer's own for what the length cuts.
template <int STAGES>
struct Barriers {
  ptx::mbarrier full[STAGES], empty[STAGES], stays, cuts;

  __device__ __forceinline__ void init() {
    for (int i = 0; i < STAGES; i++) ptx::mbarrier_init(&full[i], 1), ptx::mbarrier_init(&empty[i], 4 * consumers);
    ptx::mbarrier_init(&stays, 1), ptx::mbarrier_init(&cuts, 1);
    ptx::fence_barrier_init();
  }
  // By the producer's warp: so many bytes come to `full`, as `load` begins it. What the length cuts, once in a block,
  // comes to the warp, which clears it first: a weight of 0 times NaN would be NaN.
  template <typename Load, typename Clear>
  __device__ __forceinline__ void bring(ptx::mbarrier* full, int bytes, bool is_cut, Load load, Clear clear) {
    if (threadIdx.x == 0) {
      ptx::mbarrier* first = is_cut ? &cuts : full;
      ptx::mbarrier_arrive_expect_tx(first, bytes);
      load(first);
    }
    if (!is_cut) return;
    ptx::mbarrier_wait(&cuts, 0);
    clear();
    ptx::fence_proxy_async();
    __syncwarp();
    if (threadIdx.x == 0) ptx::mbarrier_arrive(full);
  }
  __device__ __forceinline__ void wait_for(Slot slot) { ptx::mbarrier_wait(&full[slot.index], slot.parity); }
  // By a whole warp, after the wait for the products that read the slot, and when its lanes have read what they need.
  __device__ __forceinline__ void release(Slot slot) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(&empty[slot.index]);
  }
};

// s (64, ROWS) = A Bᵀ: 64 rows of a tile that stays, and a tile of the ring.
template <int ROWS, int HEAD>
__device__ __forceinline__ void scores(float (&s)[ROWS / 2], const unsigned char* a, const unsigned char* b) {
  const auto of_a = ptx::wgmma_descriptor<128>(a, 16, 1024), of_b = ptx::wgmma_descriptor<128>(b, 16, 1024);
#pragma unroll
  for (int d = 0; d < HEAD; d += 16) {
    const int at_a = d / 64 * Tile<stays, HEAD>::part + d % 64 * 2, at_b = d / 64 * Tile<ROWS, HEAD>::part + d % 64 * 2;
    ptx::wgmma(s, of_a + (at_a >> 4), of_b + (at_b >> 4), d > 0);
  }
}

// sum (64, HEAD) += W B: weights in registers, a tile of the ring.
template <int ROWS, int HEAD>
__device__ __forceinline__ void add_weighted(float (&sum)[HEAD / 2], const unsigned (&w)[ROWS / 16][4],
                                             const unsigned char* b) {
  const auto of_b = ptx::wgmma_descriptor<128>(b, Tile<ROWS, HEAD>::part, 1024);
#pragma unroll
  for (int k = 0; k < ROWS / 16; k++) ptx::wgmma<ptx::Major::mn>(sum, w[k], of_b + (k * 16 * 128 >> 4));
}

// Between arithmetic whose result x is, >= 0, and a wait for products that it does not need: a branch that is not taken,
// or for NaN in vain. ptxas, which is free to move a wait up over arithmetic, did so over a whole softmax, and nothing
// ran under it; over a branch it moves none. Statements that are volatile, or __syncwarp, do not hold it.
__device__ __forceinline__ void finish_before_waiting(float x) {
  if (__any_sync(all_lanes, !(x >= 0))) __nanosleep(0);
}

// Results as the weights of the next product, rounded: what a thread has of the one it has of the other.
template <int N>
__device__ __forceinline__ void round_weights(unsigned (&w)[N / 8][4], const float (&s)[N]) {
#pragma unroll
  for (int i = 0; i < N / 2; i++) w[i / 4][i % 4] = ptx::bf16_pair(s[2 * i], s[2 * i + 1]);
}

// Which of 32 numbers of a thread, bit by bit. Not unrolled: masks that ask memory or Philox are long, and 32 times as
// much code would not fit the cache of instructions.
template <typename F>
__device__ __forceinline__ unsigned bits(F f) {
  unsigned found = 0;
#pragma unroll 1
  for (int i = 0; i < 32; i++) found |= static_cast<unsigned>(f(i)) << i;
  return found;
}

// Of a consumer's thread's number i.
__device__ __forceinline__ int row_of(int i) {
  return threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4 + 8 * (i / 2 % 2);
}
__device__ __forceinline__ int column_of(int i) { return 8 * (i / 4) + threadIdx.x % 4 * 2 + i % 2; }

// For the four threads that have a row.
template <typename Op>
__device__ __forceinline__ float across(float v) {
  v = Op::of(v, __shfl_xor_sync(all_lanes, v, 1));
  return Op::of(v, __shfl_xor_sync(all_lanes, v, 2));
}

// A consumer's 64 rows of results, times a factor for each of a thread's two rows: rounded, through the memory of 64
// rows that stayed, to rows first … of a head; beyond its edges nothing is written. `barrier`: the consumer's own.
template <int HEAD>
__device__ __forceinline__ void store(const ptx::TensorMap* to /* (B, H, rows, D) */, unsigned char* tile,
                                      const float (&sum)[HEAD / 2], const float (&factor)[2], int first, int h, int b,
                                      int barrier) {
  constexpr int part = Tile<stays, HEAD>::part;
  const int lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + lane % 16;
#pragma unroll
  for (int j = 0; j < HEAD / 16; j++) {  // four pieces of 8 x 8: lower rows, then right columns
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
      r[i] = ptx::bf16_pair(sum[8 * j + 2 * i] * factor[i % 2], sum[8 * j + 2 * i + 1] * factor[i % 2]);
    ptx::stmatrix(tile + j / 4 * part + row * 128 + ((j % 4 * 2 + lane / 16) ^ row % 8) * 16, r);
  }
  ptx::fence_proxy_async();
  ptx::barrier_sync(barrier, 128);
  if (threadIdx.x % 128 == 0) {
#pragma unroll
    for (int i = 0; i < HEAD / 64; i++) ptx::tma_store(to, tile + i * part, {64 * i, first, h, b});
    ptx::bulk_commit();
    ptx::bulk_wait_read<0>();
  }
}
