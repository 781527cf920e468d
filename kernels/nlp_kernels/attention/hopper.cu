// Attention of bfloat16 by Hopper's asynchronous units (sm_90a). README.md has the equations, pipeline.cuh the parts.
//
// Forward: a block has 128 queries of one head, 64 for each of two consumers; the producer sends tiles of 128 keys and
// values through the ring in the order in which they are used: K0 K1 V0 K2 V1 … K and V are read once for 128 queries.
// The consumers take turns at the tensor cores: while one multiplies, the other's softmax runs. Within a consumer, the
// scores of a tile are begun before the values of the tile before, which are multiplied during its softmax. Weights go
// from registers to the tensor cores as they are.
#include "hopper_backward.cuh"

constexpr int KEYS = 128, STAGES = 4;

// The recurrence of a thread's two rows over tiles of keys.
struct Rows {
  float m[2] = {-infinity<float>(), -infinity<float>()}, z[2] = {}, shrink[2];  // z: of this thread's columns

  // From scores Q Kᵀ to exponentials, relative to the maximum so far, in place; `scale` is to the base 2.
  __device__ __forceinline__ void next(float (&s)[KEYS / 2], float scale) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float top = m[r];
#pragma unroll
      for (int i = 0; i < KEYS / 2; i++)
        if (i / 2 % 2 == r) top = Max::of(top, s[i]);
      top = across<Max>(top);                                           // (4)
      const float shift = top == -infinity<float>() ? 0 : top * scale;  // a row that has seen no key
      shrink[r] = exp2f(m[r] * scale - shift);                          // 0 in the first tile
      m[r] = top;
      z[r] *= shrink[r];
#pragma unroll
      for (int i = 0; i < KEYS / 2; i++)
        if (i / 2 % 2 == r) {
          s[i] = exp2f(s[i] * scale - shift);  // (1) (5)
          z[r] += s[i];                        // (6)
        }
    }
  }
};

// Scores that there are not, in place: -infinity.
__device__ __forceinline__ void hide(float (&s)[KEYS / 2], int first, int s0, const Head<float>& head) {
  if (head.allowed.keep) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const unsigned seen = bits([&](int i) { return head.allowed(first + row_of(i), s0 + 64 * half + column_of(i)); });
#pragma unroll
      for (int i = 0; i < 32; i++)
        if (!(seen >> i & 1)) s[32 * half + i] = -infinity<float>();  // (3)
    }
  } else if (s0 + KEYS > head.seen(first + 1)) {  // no matter which thread asks: its first query sees least
    const int last[2] = {head.seen(first + row_of(0) + 1) - s0, head.seen(first + row_of(2) + 1) - s0};
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
      if (column_of(i) >= last[i / 2 % 2]) s[i] = -infinity<float>();  // (2) (3)
  }
}

// Exponentials to weights.
__device__ __forceinline__ void drop(float (&s)[KEYS / 2], int first, int s0, Head<float>& head) {
  if (!head.problem.drop_below) return;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const unsigned kept =
        bits([&](int i) { return head.dropout(first + row_of(i), s0 + 64 * half + column_of(i)) != 0; });  // (9)
#pragma unroll
    for (int i = 0; i < 32; i++) s[32 * half + i] *= kept >> i & 1 ? head.problem.kept_scale : 0;
  }
}

// By the producer.
template <int HEAD>
__device__ __forceinline__ void send_tiles(const ptx::TensorMap* map_q, const ptx::TensorMap* map_k,
                                           const ptx::TensorMap* map_v, unsigned char* of_q, unsigned char* ring,
                                           Barriers<STAGES>& barriers, const Head<float>& head, int t0, int tiles) {
  using Key = Tile<KEYS, HEAD>;
  Slot slot{0, 1};  // every slot is empty in the first round
  auto send = [&](const ptx::TensorMap* map, int tile, bool is_cut = false) {
    unsigned char* to = ring + slot.index * Key::bytes;
    ptx::mbarrier* full = &barriers.full[slot.index];
    if (threadIdx.x == 0) ptx::mbarrier_wait(&barriers.empty[slot.index], slot.parity);
    const auto load = [&](ptx::mbarrier* b) {
      Key::load(to, map, b, tile * KEYS, head.h / head.problem.group, head.b);
    };
    barriers.bring(full, Key::bytes, is_cut, load, [&] { Key::clear(to, head.length - tile * KEYS); });
    slot.next(STAGES);
  };
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(&barriers.stays, Tile<stays, HEAD>::bytes);
    Tile<stays, HEAD>::load(of_q, map_q, &barriers.stays, t0, head.h, head.b);
  }
  send(map_k, 0);
  for (int tile = 1; tile < tiles; tile++) send(map_k, tile), send(map_v, tile - 1);
  send(map_v, tiles - 1, cut(head, (tiles - 1) * KEYS, KEYS));  // scores of such keys are hidden, whatever they are
}

// A consumer, with 64 queries from `first` on.
template <int HEAD>
struct Consumer {
  const unsigned char *of_q, *ring;  // in shared memory: this consumer's rows of Q, the tiles
  Barriers<STAGES>& barriers;
  Head<float>& head;
  const int first, tiles;
  Slot slot{0, 0};
  Rows rows;
  float sum[HEAD / 2] = {}, s[KEYS / 2];
  unsigned weights[KEYS / 16][4];

  __device__ __forceinline__ Consumer(const unsigned char* q, const unsigned char* of_tiles, Barriers<STAGES>& of_ring,
                                      Head<float>& of_block, int t, int n)
      : of_q(q), ring(of_tiles), barriers(of_ring), head(of_block), first(t), tiles(n) {}

  __device__ __forceinline__ const unsigned char* tile_in(Slot where) const {
    return ring + where.index * Tile<KEYS, HEAD>::bytes;
  }
  // Barriers 1 and 2 say whose turn it is. The second consumer gives the first its first turn, and not one too many.
  __device__ __forceinline__ static int number() { return threadIdx.x / 128 - 1; }
  __device__ __forceinline__ void take_turn() const { ptx::barrier_sync(1 + number(), 128 * consumers); }
  __device__ __forceinline__ void pass_turn(bool another) const {
    if (number() == 0 || another) ptx::barrier_arrive(2 - number(), 128 * consumers);
  }

  __device__ __forceinline__ void begin_scores() {
    barriers.wait_for(slot);
    take_turn();
    ptx::wgmma_fence();
    scores<KEYS, HEAD>(s, of_q, tile_in(slot));
    ptx::wgmma_commit();
  }
  __device__ __forceinline__ void begin_values(Slot of_v) {
    barriers.wait_for(of_v);
    ptx::wgmma_fence();
    add_weighted<KEYS, HEAD>(sum, weights, tile_in(of_v));  // (10)
    ptx::wgmma_commit();
  }
  __device__ __forceinline__ void to_exponentials(int tile) {
    hide(s, first, tile * KEYS, head);
    rows.next(s, head.problem.scale * log2_e);
  }
  __device__ __forceinline__ void to_weights(int tile) {
    drop(s, first, tile * KEYS, head);
    round_weights(weights, s);
    ptx::wgmma_registers(sum), ptx::wgmma_registers(weights);
  }

  // The sums of (10), relative to each row's maximum, over all tiles.
  __device__ __forceinline__ void attend() {
    if (number() == 1) ptx::barrier_arrive(1, 128 * consumers);
    ptx::mbarrier_wait(&barriers.stays, 0);
    begin_scores();
    pass_turn(tiles > 1);
    ptx::wgmma_wait<0>();
    ptx::wgmma_registers(s);
    barriers.release(slot);
    slot.next(STAGES);
    to_exponentials(0);
    to_weights(0);
    for (int tile = 1; tile < tiles; tile++) {
      Slot of_v = slot;
      of_v.next(STAGES);
      begin_scores();
      begin_values(of_v);
      pass_turn(tile + 1 < tiles);
      ptx::wgmma_wait<1>();
      ptx::wgmma_registers(s);
      barriers.release(slot);
      to_exponentials(tile);
      finish_before_waiting(rows.z[0] + rows.z[1]);
      ptx::wgmma_wait<0>();
      ptx::wgmma_registers(sum);
      barriers.release(of_v);
      slot = of_v;
      slot.next(STAGES);
#pragma unroll
      for (int i = 0; i < HEAD / 2; i++) sum[i] *= rows.shrink[i / 2 % 2];
      to_weights(tile);
    }
    begin_values(slot);
    ptx::wgmma_wait<0>();
    ptx::wgmma_registers(sum);
  }
};

template <int HEAD>
__global__ void __launch_bounds__(128 + 128 * consumers, 1)
    hopper_forward(const __grid_constant__ ptx::TensorMap o /* (B, H, T, Dv) */,
                      float* __restrict__ lse /* (B, H, T) */,
                      const __grid_constant__ ptx::TensorMap q /* (B, H, T, D) */,
                      const __grid_constant__ ptx::TensorMap k /* (B, KH, S, D) */,
                      const __grid_constant__ ptx::TensorMap v /* (B, KH, S, Dv) */, const bool* keep,
                      const int* lengths /* (B,) */, const __grid_constant__ Problem<float> problem, int section) {
  extern __shared__ __align__(1024) unsigned char of_q[];  // and the ring
  __shared__ Barriers<STAGES> barriers;
  if (threadIdx.x == 0) barriers.init();
  __syncthreads();
  unsigned char* ring = of_q + Tile<stays, HEAD>::bytes;
  const int of_queries = (problem.rows + stays - 1) / stays;
  const Place place = Place::of(blockIdx.x, gridDim.x, of_queries, section);
  const int t0 = (of_queries - 1 - place.tile) * stays;  // those that see most keys first
  Head<float> head(problem, place.head, keep, lengths);
  const int tiles = max(0, head.seen(min(t0 + stays, problem.rows)) + KEYS - 1) / KEYS;
  if (threadIdx.x < 128) {
    ptx::setmaxnreg_dec<24>();
    if (threadIdx.x < 32 && tiles) send_tiles<HEAD>(&q, &k, &v, of_q, ring, barriers, head, t0, tiles);
    return;
  }
  ptx::setmaxnreg_inc<240>();
  const int number = threadIdx.x / 128 - 1, first = t0 + 64 * number;
  unsigned char* own = of_q + number * 64 * 128;
  Consumer<HEAD> consumer(own, ring, barriers, head, first, tiles);
  if (tiles) consumer.attend();
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float z = across<Sum>(consumer.rows.z[r]);
    factor[r] = z == 0 ? 0 : 1 / z;  // (7)
    const int t = first + row_of(2 * r);
    if (threadIdx.x % 4 == 0 && t < problem.rows)
      lse[head.first_row + t] = z == 0 ? 0 : consumer.rows.m[r] * problem.scale + log(z);  // (8)
  }
  store<HEAD>(&o, own, consumer.sum, factor, first, head.h, head.b, 3 + number);
}
