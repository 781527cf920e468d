// y = g(a b + bias) + residual of bfloat16 by wgmma, with the copy engine (sm_90a). README.md has the equations.
//
// Two blocks, a cluster, have tiles of BM x BN of y one above the other, so that they need the same part of b: each
// loads half of it, for both (multicast). Blocks stay, and go from tile to tile. Of a block's three warpgroups the
// first has one thread at work, the producer: it lets the copy engine fill a ring of STAGES slots, each 64 of K of a
// and b. The others, the consumers, multiply 64 rows each, a step's products running while the next are issued.
//
//   full[s]   slot s has come: its bytes, also those from the other block
//   empty[s]  the four consumers of the cluster have read slot s: what comes next is written into both blocks
//
// A slot is boxes of rows of 128 bytes, swizzled: up to 256 rows, 64 of K each, where K is contiguous in memory (BY_K),
// else 64 of K by 64 rows, side by side. wgmma takes either, so no matrix is turned around; what lies beyond an edge
// comes as zeros. How a finished tile goes out while the next is begun says boxes.cuh. db (14) is ones times dz.
#include "bands.cuh"
#include "boxes.cuh"

constexpr int BM = 128, BK = 64, STAGES = 4, CLUSTER = 2, CONSUMERS = 2;
template <int BN>
constexpr int slot_bytes = (BM + BN) * ROW;

struct Part {  // of the product: a tile, and how much of K
  int m, n, split, k, steps;
};

// What the block has to do, part by part.
template <int BN>
struct Work {
  int M, N, K, share;

  __device__ __forceinline__ int pairs() const { return (M + CLUSTER * BM - 1) / (CLUSTER * BM); }
  __device__ __forceinline__ int columns() const { return (N + BN - 1) / BN; }
  __device__ __forceinline__ int parts() const { return pairs() * columns() * ((K + share - 1) / share); }

  __device__ __forceinline__ Part part(int index) const {
    const int tiles = pairs() * columns(), split = index / tiles, k = split * share;
    int pair, column;
    tile_of(index % tiles, pairs(), columns(), pair, column);
    const int m = (pair * CLUSTER + static_cast<int>(ptx::cluster_rank())) * BM;
    return {m, column * BN, split, k, (min(K - k, share) + BK - 1) / BK};
  }

  // f(part) for each part of this block's.
  template <typename F>
  __device__ __forceinline__ void each(F f) const {
    const int clusters = gridDim.x / CLUSTER, all = parts();
    for (int index = blockIdx.x / CLUSTER; index < all; index += clusters) f(part(index));
  }
};

template <int BN, bool A_BY_K, bool B_BY_K>
__device__ __forceinline__ void produce(const Work<BN>& work, const ptx::TensorMap* map_a, const ptx::TensorMap* map_b,
                                        unsigned char* ring, ptx::mbarrier* full, ptx::mbarrier* empty) {
  constexpr int HALF = BN / CLUSTER;
  constexpr unsigned short both = (1 << CLUSTER) - 1;
  const int first = ptx::cluster_rank() * HALF;  // column of this block's half of b
  Slot slot{0, 1};                               // every slot is empty in the first round
  work.each([&](const Part& part) {
    for (int step = 0; step < part.steps; step++) {
      const int k = part.k + step * BK;
      unsigned char *a = ring + slot.index * slot_bytes<BN>, *b = a + BM * ROW + first * ROW;
      ptx::mbarrier* came = &full[slot.index];
      ptx::mbarrier_wait(&empty[slot.index], slot.parity);
      ptx::mbarrier_arrive_expect_tx(came, slot_bytes<BN>);
      if constexpr (A_BY_K) ptx::tma_load(a, map_a, came, {k, part.m});
      else
        for (int i = 0; i < BM; i += 64) ptx::tma_load(a + i * ROW, map_a, came, {part.m + i, k});
      if constexpr (B_BY_K) ptx::tma_load_multicast(b, map_b, came, both, {k, part.n + first});
      else
        for (int i = 0; i < HALF; i += 64)
          ptx::tma_load_multicast(b + i * ROW, map_b, came, both, {part.n + first + i, k});
      slot.next(STAGES);
    }
  });
}

// d = a b, 64 x BN of a consumer's, of one part.
template <int BN, bool A_BY_K, bool B_BY_K>
__device__ __forceinline__ void multiply_part(float (&d)[BN / 2], int steps, const unsigned char* ring, Slot& slot,
                                              ptx::mbarrier* full, ptx::mbarrier* empty) {
  constexpr ptx::Major A = A_BY_K ? ptx::Major::k : ptx::Major::mn, B = B_BY_K ? ptx::Major::k : ptx::Major::mn;
  const int consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  int before = 0;  // the slot of the step before
  const auto release = [&] {
    if (thread < CLUSTER) ptx::mbarrier_arrive_remote(&empty[before], thread);
  };
  for (int step = 0; step < steps; step++) {
    const unsigned char* a = ring + slot.index * slot_bytes<BN>;
    const auto of_a = ptx::wgmma_descriptor<128>(a + consumer * BOX, 16, 8 * ROW);
    const auto of_b = ptx::wgmma_descriptor<128>(a + BM * ROW, B_BY_K ? 16 : BOX, 8 * ROW);
    ptx::mbarrier_wait(&full[slot.index], slot.parity);
    ptx::wgmma_registers(d);
    ptx::wgmma_fence();
#pragma unroll
    for (int q = 0; q < BK / 16; q++)  // (1) (12) (13)
      ptx::wgmma<A, B>(d, of_a + (q * (A_BY_K ? 32 : 16 * ROW) >> 4), of_b + (q * (B_BY_K ? 32 : 16 * ROW) >> 4),
                       step + q > 0);
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>();  // for the step before
    if (step > 0) release();
    before = slot.index;
    slot.next(STAGES);
  }
  ptx::wgmma_wait<0>();
  ptx::wgmma_registers(d);
  release();
}

// With `partial` only sums are written there; without it y, and z where it is kept, in boxes.
template <typename T, int BN, bool A_BY_K, bool B_BY_K>
__global__ void __cluster_dims__(CLUSTER) __launch_bounds__(384, 1)
    multiply(const __grid_constant__ ptx::TensorMap map_a, const __grid_constant__ ptx::TensorMap map_b,
             const __grid_constant__ ptx::TensorMap map_y, const __grid_constant__ ptx::TensorMap map_z,
             const __grid_constant__ ptx::TensorMap map_residual, float* partial /* (splits, M, N) */,
             const T* __restrict__ bias /* (N,) */, int M, int N, int K, int share, int activation, bool keeps_z,
             bool has_residual) {
  extern __shared__ __align__(1024) unsigned char ring[];  // (STAGES, slot_bytes), then two boxes for each consumer
  __shared__ ptx::mbarrier full[STAGES], empty[STAGES], came[CONSUMERS][2];
  const Work<BN> work{M, N, K, share};
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      ptx::mbarrier_init(&full[s], 1);
      ptx::mbarrier_init(&empty[s], CLUSTER * CONSUMERS);
    }
    for (int i = 0; i < CONSUMERS * 2; i++) ptx::mbarrier_init(&came[i / 2][i % 2], 1);
    ptx::fence_barrier_init();
    ptx::tma_prefetch(&map_a), ptx::tma_prefetch(&map_b);
  }
  ptx::cluster_sync();  // the mbarriers are there for both blocks
  if (threadIdx.x < 128) {
    ptx::setmaxnreg_dec<24>();
    if (threadIdx.x == 0) produce<BN, A_BY_K, B_BY_K>(work, &map_a, &map_b, ring, full, empty);
    __syncwarp();
  } else {
    ptx::setmaxnreg_inc<240>();
    const int consumer = threadIdx.x / 128 - 1;
    const bool first = threadIdx.x % 128 == 0;
    unsigned char* boxes = ring + STAGES * slot_bytes<BN> + consumer * 2 * BOX;
    Out<T, BN> out{&map_y,  &map_z,       &map_residual, bias,           activation,
                   keeps_z, has_residual, boxes,         came[consumer], {0, 0}};
    Slot slot{0, 0};
    work.each([&](Part part) {
      part.m += consumer * 64;
      if (!partial && has_residual && first) out.begin(part.m, part.n);
      float d[BN / 2];
      multiply_part<BN, A_BY_K, B_BY_K>(d, part.steps, ring, slot, full, empty);
      if (partial) write_sums<BN>(d, partial + part.split * (static_cast<long long>(M) * N), part.m, part.n, M, N);
      else out.write(d, part.m, part.n, N);
    });
    if (first) ptx::bulk_wait_read<0>();
    __syncwarp();
  }
  ptx::cluster_sync();  // the other block's last arrivals come while this one's memory is still there
}
