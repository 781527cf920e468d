// C (M, N) = A (M, K) B of bfloat16, where B is (N, K) by rows or, K_FIRST, (K, N): the pipeline of a Hopper matmul.
//
// A block computes tiles of 128 x 64, one after the other, over K in steps of 64. Three warpgroups have two roles. One
// thread of the first, the producer, lets the copy engine fill a ring of STAGES slots, each a tile of A and one of B. The
// other two, the consumers, multiply: 64 rows each, from a slot as soon as it is full. full[s] is complete when the bytes
// of slot s have come, empty[s] when both consumers have read it. A finished tile goes, rounded, through shared memory to
// the copy engine, which writes it while the next is begun.
#include "wgmma.cuh"

constexpr int BM = 128, BN = 64, BK = 64;
constexpr int consumers = 2, bytes_a = BM * BK * 2, bytes_b = BN * BK * 2, bytes_slot = bytes_a + bytes_b;

struct Slot {  // of the ring, and the parity of its phase in this round
  int index = 0;
  unsigned parity;
  __device__ __forceinline__ void next(int stages) {
    if (++index == stages) index = 0, parity ^= 1;
  }
};

template <bool K_FIRST, int STAGES>
__device__ __forceinline__ void produce(const ptx::TensorMap* map_a, const ptx::TensorMap* map_b, unsigned char* ring,
                                        ptx::mbarrier* full, ptx::mbarrier* empty, int tiles, int tiles_n, int steps) {
  Slot slot{0, 1};  // every slot is empty in the first round
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int m = tile / tiles_n * BM, n = tile % tiles_n * BN;
    for (int k = 0; k < steps; k++) {
      unsigned char* a = ring + slot.index * bytes_slot;
      ptx::mbarrier_wait(&empty[slot.index], slot.parity);
      ptx::mbarrier_arrive_expect_tx(&full[slot.index], bytes_slot);
      ptx::tma_load(a, map_a, &full[slot.index], {k * BK, m});
      if constexpr (K_FIRST) ptx::tma_load(a + bytes_a, map_b, &full[slot.index], {n, k * BK});
      else ptx::tma_load(a + bytes_a, map_b, &full[slot.index], {k * BK, n});
      slot.next(STAGES);
    }
  }
}

// 64 x 64 numbers, rounded, as a tile of 128-byte swizzle: warp w has rows 16 w to 16 w + 15.
__device__ __forceinline__ void store_rounded(unsigned char* tile, const float (&d)[BN / 2]) {
  const int lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + lane % 16;
#pragma unroll
  for (int j = 0; j < BN / 16; j++) {  // four pieces of 8 x 8: lower rows, then right columns
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 4; i++) r[i] = ptx::bf16_pair(d[8 * j + 2 * i], d[8 * j + 2 * i + 1]);
    ptx::stmatrix(tile + row * 128 + ((2 * j + lane / 16) ^ row % 8) * 16, r);
  }
}

template <bool K_FIRST, int STAGES>
__device__ __forceinline__ void consume(const ptx::TensorMap* map_c, unsigned char* ring, unsigned char* out,
                                        ptx::mbarrier* full, ptx::mbarrier* empty, int tiles, int tiles_n, int steps) {
  constexpr ptx::Major B = K_FIRST ? ptx::Major::mn : ptx::Major::k;
  const int consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  Slot slot{0, 0};
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float d[BN / 2];
    for (int k = 0; k < steps; k++) {
      const unsigned char* a = ring + slot.index * bytes_slot;
      const auto of_a = ptx::wgmma_descriptor<128>(a + consumer * 64 * 128, 16, 1024);
      const auto of_b = ptx::wgmma_descriptor<128>(a + bytes_a, 16, 1024);
      ptx::mbarrier_wait(&full[slot.index], slot.parity);
      ptx::wgmma_fence();
#pragma unroll
      for (int q = 0; q < BK / 16; q++)
        ptx::wgmma<ptx::Major::k, B>(d, of_a + (q * 32 >> 4), of_b + (q * (K_FIRST ? 16 * 128 : 32) >> 4), k + q > 0);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      if (thread == 0) ptx::mbarrier_arrive(&empty[slot.index]);
      slot.next(STAGES);
    }
    if (thread == 0) ptx::bulk_wait_read<0>();  // the last tile's store has read its memory
    ptx::barrier_sync(1 + consumer, 128);
    store_rounded(out, d);
    ptx::fence_proxy_async();
    ptx::barrier_sync(1 + consumer, 128);
    if (thread == 0) {
      ptx::tma_store(map_c, out, {tile % tiles_n * BN, tile / tiles_n * BM + consumer * 64});
      ptx::bulk_commit();
    }
  }
  if (thread == 0) ptx::bulk_wait_read<0>();
}

template <bool K_FIRST, int STAGES>
__global__ void __launch_bounds__(384, 1)
    gemm(const __grid_constant__ ptx::TensorMap map_a, const __grid_constant__ ptx::TensorMap map_b,
         const __grid_constant__ ptx::TensorMap map_c, int M, int N, int K) {
  extern __shared__ __align__(1024) unsigned char ring[];  // (STAGES, bytes_slot), then a tile of C for each consumer
  __shared__ ptx::mbarrier full[STAGES], empty[STAGES];
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      ptx::mbarrier_init(&full[s], 1);
      ptx::mbarrier_init(&empty[s], consumers);
    }
    ptx::fence_barrier_init();
  }
  __syncthreads();
  const int tiles_n = (N + BN - 1) / BN, tiles = (M + BM - 1) / BM * tiles_n, steps = (K + BK - 1) / BK;
  if (threadIdx.x < 128) {
    ptx::setmaxnreg_dec<24>();
    if (threadIdx.x == 0) produce<K_FIRST, STAGES>(&map_a, &map_b, ring, full, empty, tiles, tiles_n, steps);
  } else {
    ptx::setmaxnreg_inc<240>();
    unsigned char* out = ring + STAGES * bytes_slot + (threadIdx.x / 128 - 1) * 64 * BN * 2;
    consume<K_FIRST, STAGES>(&map_c, ring, out, full, empty, tiles, tiles_n, steps);
  }
}
