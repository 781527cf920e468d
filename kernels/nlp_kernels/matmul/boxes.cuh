// How the numbers of a consumer of hopper.cu, 64 x BN of y, go out. README.md has the equations.
//
// In boxes of 64 x 64, rounded, through shared memory: the copy engine writes them while the next tile is begun, and
// leaves out what is beyond the edges. The residual's boxes come the same way, while the tile is multiplied, into the
// memory where y then takes their place. A consumer has two boxes: both for y, in turn, or one for y and one for z.
// Where rows of y begin at no multiple of 16 bytes, or clusters share K, threads write sums for `finish`.
#pragma once
#include "../common/wgmma.cuh"
#include "passes.cuh"

constexpr int ROW = 128, BOX = 64 * ROW;  // bytes

struct Slot {  // of a ring, and the parity of its phase in this round
  int index;
  unsigned parity;
  __device__ __forceinline__ void next(int slots) {
    if (++index == slots) index = 0, parity ^= 1;
  }
};

// Columns 16 j to 16 j + 15 of d. Registers have no index: each is asked whether it is meant.
template <int n>
__device__ __forceinline__ void sixteen_columns(float (&some)[8], const float (&d)[n], int j) {
#pragma unroll
  for (int of = 0; of < n / 8; of++)
    if (of == j)
#pragma unroll
      for (int i = 0; i < 8; i++) some[i] = d[8 * of + i];
}

// Where a consumer's numbers go out, and its residual comes in: two boxes, both of y in turn, or one of y and one of z.
template <typename T, int BN>
struct Out {
  const ptx::TensorMap *map_y, *map_z, *map_residual;
  const T* bias;  // (N,) or null
  int activation;
  bool keeps_z, has_residual;
  unsigned char* boxes;
  ptx::mbarrier* came;  // (2,): the residual in a box
  Slot slot;

  __device__ __forceinline__ int ahead() const { return keeps_z ? 1 : 2; }  // boxes for y

  __device__ __forceinline__ void load_residual(int box, int index, int m, int n) const {
    ptx::mbarrier_arrive_expect_tx(&came[box], BOX);
    ptx::tma_load(boxes + box * BOX, map_residual, &came[box], {n + index * 64, m});
  }

  // The first boxes of a tile's residual, while the tile is multiplied. By one thread.
  __device__ __forceinline__ void begin(int m, int n) const {
    ptx::bulk_wait_read<0>();  // what was in the boxes has gone
    for (int i = 0; i < ahead(); i++) load_residual((slot.index + i) % ahead(), i, m, n);
  }

  __device__ __forceinline__ void write(const float (&d)[BN / 2], int m, int n, int N) {
    const int consumer = threadIdx.x / 128, thread = threadIdx.x % 128, lane = thread % 32;
    const int row = thread / 32 * 16 + lane % 16;
#pragma unroll 1
    for (int j = 0; j < BN / 16; j++) {
      unsigned char *y = boxes + slot.index * BOX, *z = boxes + BOX;
      if (j % 4 == 0) {
        if (has_residual) ptx::mbarrier_wait(&came[slot.index], slot.parity);
        else {
          if (thread == 0) keeps_z ? ptx::bulk_wait_read<0>() : ptx::bulk_wait_read<1>();
          ptx::barrier_sync(consumer, 128);
        }
      }
      float some[8];
      sixteen_columns(some, d, j);
      const int place = row * ROW + ((j % 4 * 2 + lane / 16) ^ row % 8) * 16;
      unsigned before[4], after[4] = {};  // pieces of 8 x 8: lower rows, then right columns
      if (has_residual) ptx::ldmatrix(after, y + place);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int column = n + 16 * j + i / 2 * 8 + lane % 4 * 2;
        if (bias && column < N) {  // (2)
          some[2 * i] += static_cast<float>(bias[column]);
          some[2 * i + 1] += static_cast<float>(bias[column + 1]);
        }
        before[i] = ptx::bf16_pair(some[2 * i], some[2 * i + 1]);
        const float low = activate(some[2 * i], activation);  // (3)
        const float high = activate(some[2 * i + 1], activation);
        after[i] = ptx::bf16_pair(low + __uint_as_float(after[i] << 16),  // (4)
                                  high + __uint_as_float(after[i] & 0xffff0000u));
      }
      if (keeps_z) ptx::stmatrix(z + place, before);
      ptx::stmatrix(y + place, after);
      if (j % 4 == 3) send(j / 4, m, n, consumer, thread);
    }
  }

  // A box that all have written goes to memory; then one of the residual may come into its place.
  __device__ __forceinline__ void send(int index, int m, int n, int consumer, int thread) {
    ptx::fence_proxy_async();
    ptx::barrier_sync(consumer, 128);
    if (thread == 0) {
      ptx::tma_store(map_y, boxes + slot.index * BOX, {n + index * 64, m});
      if (keeps_z) ptx::tma_store(map_z, boxes + BOX, {n + index * 64, m});
      ptx::bulk_commit();
      if (has_residual && index + ahead() < BN / 64) {
        ptx::bulk_wait_read<0>();
        load_residual(slot.index, index + ahead(), m, n);
      }
    }
    slot.next(ahead());
  }
};

// A consumer's sums over its share of K, by the threads that have them; `finish` is still to come.
template <int BN>
__device__ __forceinline__ void write_sums(const float (&d)[BN / 2], float* sums /* (M, N) */, int m0, int n0, int M,
                                           int N) {
  const int thread = threadIdx.x % 128, lane = thread % 32;
#pragma unroll 1
  for (int j = 0; j < BN / 16; j++) {
    float some[8];
    sixteen_columns(some, d, j);
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const int m = m0 + thread / 32 * 16 + lane / 4 + i / 2 % 2 * 8, n = n0 + 16 * j + i / 4 * 8 + lane % 4 * 2;
      if (m >= M || n >= N) continue;
      float* to = sums + static_cast<long long>(m) * N + n;
      if (N % 2 == 0) *reinterpret_cast<Vector<float, 2>*>(to) = {some[i], some[i + 1]};
      else {
        to[0] = some[i];
        if (n + 1 < N) to[1] = some[i + 1];
      }
    }
  }
}
