// Attention's backward by Hopper's asynchronous units. README.md has the equations, pipeline.cuh the parts.
//
// No two blocks add to one number, so there are two walks, and they are one kernel: 128 rows stay, X and Y, tiles of 64
// rows of the other kind pass by in pairs, x and y. OF_KEYS says which are which:
//
//            stay X Y   pass x y   scores X xᵀ   gradients Y yᵀ   of the rows that stay
//   false    Q dO       K V        S             dP               dQ += dS K
//   true     K V        Q dO       Sᵀ            dPᵀ              dK += dSᵀ Q, dV += P̃ᵀ dO
//
// The products left of += are a consumer's 64 rows by 64; they stay in registers and are the first factors of those to
// the right of it. What a query needs besides, its ℓ and δ, passes by with Q and dO.
#pragma once
#include "pipeline.cuh"

constexpr int PASSES = 64, PAIRS = 4;  // rows of a tile that passes by, pairs in the ring

// {ℓ to the base 2, δ} of each query, by a warp; zeros beyond the last one, up to `padded`: dO is zero there too.
template <typename T>
__global__ void hopper_rows(float* __restrict__ rows /* (B, H, padded, 2) */, const T* __restrict__ d_o,
                               const T* __restrict__ o, const float* __restrict__ lse /* (B, H, T) */,
                               const __grid_constant__ Problem<float> problem, int padded, long long N) {
  for_rows<32>(N, [&](long long n) {
    const int t = n % padded, head = n / padded, b = head / problem.H, h = head % problem.H;
    float sum = 0;
    if (const int d = 8 * (threadIdx.x % 32); t < problem.rows && d < problem.Dv) {
      const T* x = d_o + b * problem.d_o[0] + h * problem.d_o[1] + t * problem.d_o[2] + d;
      const T* y = o + b * problem.o[0] + h * problem.o[1] + t * problem.o[2] + d;
      const auto of_x = *reinterpret_cast<const Vector<T, 8>*>(x), of_y = *reinterpret_cast<const Vector<T, 8>*>(y);
#pragma unroll
      for (int i = 0; i < 8; i++) sum += static_cast<float>(of_x.v[i]) * static_cast<float>(of_y.v[i]);
    }
    sum = warp_reduce<Sum>(sum);  // (14)
    if (threadIdx.x % 32 == 0) {
      const float l = t < problem.rows ? lse[static_cast<long long>(head) * problem.rows + t] : 0;
      reinterpret_cast<float2*>(rows)[n] = {l * log2_e, sum};
    }
  });
}

// The tiles that a block walks over, the same for each of its heads of queries.
struct Walk {
  int first, count, heads;

  template <bool OF_KEYS>
  static __device__ __forceinline__ Walk of(const Head<float>& head, int row) {
    const auto& p = head.problem;
    if constexpr (OF_KEYS) {
      const int first = p.causal ? max(0, row - p.keys + p.rows) / PASSES : 0;
      return {first, row < head.length ? (p.rows + PASSES - 1) / PASSES - first : 0, p.group};
    }
    return {0, max(0, head.seen(min(row + stays, p.rows)) + PASSES - 1) / PASSES, 1};
  }
};

// What lies in a block's shared memory: the tiles that stay, PAIRS pairs that pass, each with ℓ and δ of its queries.
template <int HEAD>
struct Shared {
  static constexpr int pair = 2 * Tile<PASSES, HEAD>::bytes, of_rows = PASSES * sizeof(float2);
  unsigned char *x, *y, *ring;
  Barriers<PAIRS>& barriers;

  __device__ __forceinline__ Shared(unsigned char* shared, Barriers<PAIRS>& of_ring)
      : x(shared), y(x + Tile<stays, HEAD>::bytes), ring(y + Tile<stays, HEAD>::bytes), barriers(of_ring) {}
  __device__ __forceinline__ unsigned char* pair_in(Slot slot) const { return ring + slot.index * pair; }
  __device__ __forceinline__ float2* rows_in(Slot slot) const {
    return reinterpret_cast<float2*>(ring + PAIRS * pair + slot.index * of_rows);
  }
};

// By the producer; `row`: the first that stays.
template <int HEAD, bool OF_KEYS>
__device__ __forceinline__ void send_pairs(const Shared<HEAD>& shared, const ptx::TensorMap* const (&maps)[4],
                                           const float* of_queries, const Head<float>& head, int padded, int row,
                                           Walk walk) {
  Barriers<PAIRS>& barriers = shared.barriers;
  const int of_kv = head.h / head.problem.group;  // the head of keys and values
  const auto load_stays = [&](ptx::mbarrier* b) {
    Tile<stays, HEAD>::load(shared.x, maps[0], b, row, OF_KEYS ? of_kv : head.h, head.b);
    Tile<stays, HEAD>::load(shared.y, maps[1], b, row, OF_KEYS ? of_kv : head.h, head.b);
  };
  const auto clear_stays = [&] {
    Tile<stays, HEAD>::clear(shared.x, head.length - row), Tile<stays, HEAD>::clear(shared.y, head.length - row);
  };
  constexpr int bytes = 2 * Tile<stays, HEAD>::bytes;
  barriers.bring(&barriers.stays, bytes, OF_KEYS && cut(head, row, stays), load_stays, clear_stays);
  Slot slot{0, 1};  // every slot is empty in the first round
  for (int g = 0; g < walk.heads; g++)
    for (int i = 0; i < walk.count; i++, slot.next(PAIRS)) {
      const int first = (walk.first + i) * PASSES, h = OF_KEYS ? head.h + g : of_kv;
      unsigned char *x = shared.pair_in(slot), *y = x + shared.pair / 2;
      const auto load = [&](ptx::mbarrier* b) {
        Tile<PASSES, HEAD>::load(x, maps[2], b, first, h, head.b);
        Tile<PASSES, HEAD>::load(y, maps[3], b, first, h, head.b);
        const long long query = static_cast<long long>(head.head + g) * padded + first;
        if constexpr (OF_KEYS) ptx::bulk_load(shared.rows_in(slot), of_queries + 2 * query, shared.of_rows, b);
      };
      const auto clear = [&] {
        Tile<PASSES, HEAD>::clear(x, head.length - first), Tile<PASSES, HEAD>::clear(y, head.length - first);
      };
      if (threadIdx.x == 0) ptx::mbarrier_wait(&barriers.empty[slot.index], slot.parity);
      barriers.bring(&barriers.full[slot.index], shared.pair + (OF_KEYS ? shared.of_rows : 0),
                     !OF_KEYS && cut(head, first, PASSES), load, clear);
    }
}

// A consumer, with 64 rows from `first` on.
template <int HEAD, bool OF_KEYS>
struct Gradients {
  const Shared<HEAD>& shared;
  const int first, offset;  // of this consumer's rows in a part of a tile
  float2 own[2];            // ℓ and δ of the queries that stay
  float dx[HEAD / 2] = {}, dy[HEAD / 2] = {};
  float s[PASSES / 2], dp[PASSES / 2];  // scores and gradients of a tile: weights, dS

  __device__ __forceinline__ Gradients(const Shared<HEAD>& of_block, int row, int number)
      : shared(of_block), first(row + 64 * number), offset(number * 64 * 128) {}

  __device__ __forceinline__ void begin(Slot slot) {
    const unsigned char* pair = shared.pair_in(slot);
    shared.barriers.wait_for(slot);
    ptx::wgmma_fence();
    scores<PASSES, HEAD>(s, shared.x + offset, pair);
    ptx::wgmma_commit();
    scores<PASSES, HEAD>(dp, shared.y + offset, pair + shared.pair / 2);
    ptx::wgmma_commit();
  }

  // One tile, whose first row is `passing`.
  __device__ __forceinline__ void add(Slot slot, Head<float>& head, int passing) {
    const auto query = [&](int i) { return OF_KEYS ? passing + column_of(i) : first + row_of(i); };
    const auto key = [&](int i) { return OF_KEYS ? first + row_of(i) : passing + column_of(i); };
    const auto of_query = [&](int i) { return OF_KEYS ? shared.rows_in(slot)[column_of(i)] : own[i / 2 % 2]; };
    begin(slot);
    unsigned there = ~0u, kept = ~0u;  // which weights; found while they multiply
    const bool edge = (OF_KEYS ? first : passing) + 64 > head.seen((OF_KEYS ? passing : first) + 1);
    if (head.allowed.keep || edge) there = bits([&](int i) { return head.allowed(query(i), key(i)); });  // (3)
    if (head.problem.drop_below) kept = bits([&](int i) { return head.dropout(query(i), key(i)) != 0; });
    const float scale = head.problem.scale * log2_e;
    ptx::wgmma_wait<1>();
    ptx::wgmma_registers(s);
#pragma unroll
    for (int i = 0; i < PASSES / 2; i++)
      s[i] = there >> i & 1 ? exp2f(s[i] * scale - of_query(i).x) : 0;  // (1) (11)
    finish_before_waiting(s[PASSES / 2 - 2] + s[PASSES / 2 - 1]);
    ptx::wgmma_wait<0>();
    ptx::wgmma_registers(dp);
#pragma unroll
    for (int i = 0; i < PASSES / 2; i++) {
      const float factor = kept >> i & 1 ? head.problem.kept_scale : 0;  // (9)
      dp[i] = s[i] * (dp[i] * factor - of_query(i).y);                   // (13) (15)
      s[i] *= factor;
    }
    multiply(slot);
  }

  __device__ __forceinline__ void multiply(Slot slot) {
    const unsigned char* pair = shared.pair_in(slot);
    unsigned gradients[PASSES / 16][4], weights[PASSES / 16][4];
    round_weights(gradients, dp);
    ptx::wgmma_registers(dx), ptx::wgmma_registers(gradients);
    if constexpr (OF_KEYS) {
      round_weights(weights, s);
      ptx::wgmma_registers(dy), ptx::wgmma_registers(weights);
    }
    ptx::wgmma_fence();
    add_weighted<PASSES, HEAD>(dx, gradients, pair);                                         // (16) (17)
    if constexpr (OF_KEYS) add_weighted<PASSES, HEAD>(dy, weights, pair + shared.pair / 2);  // (12)
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::wgmma_registers(dx);
    if constexpr (OF_KEYS) ptx::wgmma_registers(dy);
    shared.barriers.release(slot);
  }
};

template <int HEAD, bool OF_KEYS>
__global__ void __launch_bounds__(128 + 128 * consumers, 1)
    hopper_backward(const __grid_constant__ ptx::TensorMap dx, const __grid_constant__ ptx::TensorMap dy,
                       const __grid_constant__ ptx::TensorMap stay_x, const __grid_constant__ ptx::TensorMap stay_y,
                       const __grid_constant__ ptx::TensorMap pass_x, const __grid_constant__ ptx::TensorMap pass_y,
                       const float* __restrict__ of_queries /* (B, H, padded, 2) */, const bool* keep,
                       const int* lengths /* (B,) */, const __grid_constant__ Problem<float> problem, int padded,
                    int section) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Barriers<PAIRS> barriers;
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();
  const Shared<HEAD> shared(memory, barriers);
  const int tiles = ((OF_KEYS ? problem.keys : problem.rows) + stays - 1) / stays;
  const Place place = Place::of(blockIdx.x, gridDim.x, tiles, section);
  const int row = (OF_KEYS ? place.tile : tiles - 1 - place.tile) * stays;  // the longest walks first
  const int of_all = place.head * (OF_KEYS ? problem.group : 1);            // the first head of queries
  Head<float> head(problem, of_all, keep, lengths);
  const Walk walk = Walk::of<OF_KEYS>(head, row);
  if (threadIdx.x < 128) {
    ptx::setmaxnreg_dec<24>();
    if (threadIdx.x < 32 && walk.count)
      send_pairs<HEAD, OF_KEYS>(shared, {&stay_x, &stay_y, &pass_x, &pass_y}, of_queries, head, padded, row, walk);
    return;
  }
  ptx::setmaxnreg_inc<240>();
  const int number = threadIdx.x / 128 - 1;
  Gradients<HEAD, OF_KEYS> own(shared, row, number);
  if constexpr (!OF_KEYS) {
    const auto* queries = reinterpret_cast<const float2*>(of_queries) + static_cast<long long>(of_all) * padded;
    for (int r = 0; r < 2; r++) own.own[r] = queries[own.first + row_of(2 * r)];
  }
  if (walk.count) ptx::mbarrier_wait(&barriers.stays, 0);
  Slot slot{0, 0};
  for (int g = 0; g < walk.heads; g++) {
    Head<float> of_tiles(problem, of_all + g, keep, lengths);
    for (int i = 0; i < walk.count; i++, slot.next(PAIRS)) own.add(slot, of_tiles, (walk.first + i) * PASSES);
  }
  const int h = OF_KEYS ? head.h / problem.group : head.h, barrier = 1 + number;
  const float scaled[2] = {problem.scale, problem.scale}, as_is[2] = {1, 1};
  store<HEAD>(&dx, shared.x + own.offset, own.dx, scaled, own.first, h, head.b, barrier);
  if constexpr (OF_KEYS) store<HEAD>(&dy, shared.y + own.offset, own.dy, as_is, own.first, h, head.b, barrier);
}
