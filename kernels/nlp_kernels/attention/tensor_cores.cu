// Masked scaled dot-product attention for bfloat16, on tensor cores (sm_80). README.md has the equations.
//
// Forward: a block has 16 queries for each of its warps, and walks over the keys in steps. K and V of a step come by
// cp.async into one half of a ring while the step in the other half is computed: one barrier a step, which also says
// that the half about to be written has been read. A warp's scores, statistics and output are in its registers; its
// weights go from the accumulators of S = Q Kᵀ straight into the product with V.
//
// Backward, where no two blocks may add to one number: a block of `attention_keys` has 16 keys for each warp, and walks
// over the queries that see them, of every head that shares them (dK, dV); one of `attention_queries` has queries and
// walks over keys (dQ). The first has its scores transposed, K Qᵀ, so that Pᵀ and dSᵀ too are left factors as they lie.
// Each computes the scores again: seven products for five, the same bits in every run.
//
// What a warp need not do is decided tile by tile: it skips those it sees nothing of, and looks at masks only where a
// tile is not wholly visible. Statistics, sums and exponentials are float, of base 2.
#include "fragments.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr bool blackwell = true;  // where the compiler needs more registers, and spills what others hold
#else
constexpr bool blackwell = false;
#endif

template <int HEAD>
struct Plan {
  static constexpr int WARPS = HEAD <= 128 ? 8 : 4, THREADS = 32 * WARPS, ROWS = 16 * WARPS;
  static constexpr int FORWARD = HEAD <= 128 ? 64 : 32, BACKWARD = 4096 / HEAD;  // rows of a step
  using Mine = Tile<ROWS, HEAD>;  // what a block has
};

template <int HEAD>
__global__ void __launch_bounds__(Plan<HEAD>::THREADS, HEAD <= 64 && !blackwell ? 2 : 1)
    attention_forward(Half* __restrict__ o /* (B, T, H, Dv) */, float* __restrict__ lse /* (B, H, T) */,
                      const Half* __restrict__ q /* (B, H, T, D) */, const Half* __restrict__ k /* (B, KH, S, D) */,
                      const Half* __restrict__ v /* (B, KH, S, Dv) */, const bool* keep, const int* lengths /* (B,) */,
                      const __grid_constant__ Problem<float> problem) {
  constexpr int STEP = Plan<HEAD>::FORWARD, ROWS = Plan<HEAD>::ROWS, THREADS = Plan<HEAD>::THREADS;
  using Mine = typename Plan<HEAD>::Mine;
  using Step = Tile<STEP, HEAD>;
  constexpr bool KEPT = HEAD == 128 && !blackwell;  // Q in registers, where there is room beside the sums
  extern __shared__ __align__(128) Half shared[];
  Half *const of_q = shared, *const ring = of_q + Mine::SIZE;  // (2, K and V)
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int tiles = (problem.rows + ROWS - 1) / ROWS;
  const Turn turn(tiles);
  const int t0 = (tiles - 1 - turn.tile) * ROWS, mine = t0 + 16 * warp;  // those that see most keys first
  const Head<float> head(problem, turn.head, keep, lengths);
  const int seen = head.seen(min(t0 + ROWS, problem.rows));
  const Rows<const Half> keys(head.keys(k, problem.k), problem.k[2], head.length, problem.D);
  const Rows<const Half> values(head.keys(v, problem.v), problem.v[2], head.length, problem.Dv);

  const auto load = [&](int s0) {
    Half* half = ring + s0 / STEP % 2 * 2 * Step::SIZE;
    if (s0 < seen) {
      Step::template load<THREADS>(half, keys, s0);
      Step::template load<THREADS>(half + Step::SIZE, values, s0);
    }
    ptx::copy_commit();
  };
  Mine::template load<THREADS>(of_q, {head.queries(q, problem.q), problem.q[2], problem.rows, problem.D}, t0);
  load(0);
  ptx::copy_wait<0>();
  __syncthreads();
  unsigned kept[KEPT ? HEAD / 16 : 1][4];
#pragma unroll
  for (int d = 0; KEPT && d < HEAD; d += 16) Mine::pieces(kept[d / 16], of_q, 16 * warp, d);
  const auto queries = [&](unsigned (&r)[4], int d) {
#pragma unroll
    for (int i = 0; KEPT && i < 4; i++) r[i] = kept[d / 16][i];
    if (!KEPT) Mine::pieces(r, of_q, 16 * warp, d);
  };

  float m[2] = {-infinity<float>(), -infinity<float>()}, z[2] = {}, sum[HEAD / 8][4] = {};
  for (int s0 = 0; s0 < seen; s0 += STEP) {
    ptx::copy_wait<0>();
    __syncthreads();  // this step is there for all, and the one before has been read
    load(s0 + STEP);
    if (!some_see(head, mine + 15, s0)) continue;
    const Half* of_k = ring + s0 / STEP % 2 * 2 * Step::SIZE;
    const Marks of = marks<STEP / 2>(head, all_see(head, mine, s0 + STEP - 1), [&](int i) {
      return int2{mine + lane / 4 + i / 2 % 2 * 8, s0 + i / 4 * 8 + lane % 4 * 2 + i % 2};
    });
    float s[STEP / 8][4] = {};
    Step::times_transposed(s, queries, of_k);  // (1)
    softmax(s, m, z, sum, problem, of);
    Step::times(sum, s, of_k + Step::SIZE);  // (10)
  }
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int t = mine + lane / 4 + 8 * r;
    z[r] = across<Sum>(z[r]);
    if (z[r] == 0) z[r] = 1, m[r] = 0;
    factor[r] = 1 / z[r];  // (7)
    if (lane % 4 == 0 && t < problem.rows) lse[head.first_row + t] = (m[r] + log2f(z[r])) / log2_e;  // (8)
  }
  Half* to = o + head.b * problem.o[0] + head.h * problem.o[1];
  Mine::store({to, problem.o[2], problem.rows, problem.Dv}, mine, sum, factor, of_q, 16 * warp);
}

// δ of each query, by eight lanes.
__global__ void attention_delta(float* __restrict__ delta /* (B, H, T) */, const Half* __restrict__ d_o,
                                const Half* __restrict__ o, const __grid_constant__ Problem<float> problem,
                                long long N) {
  for_rows<8>(N, [&](long long n) {
    const Head<float> head(problem, static_cast<int>(n / problem.rows), nullptr, nullptr);
    const int t = static_cast<int>(n % problem.rows), lane = threadIdx.x % 8;
    const Rows<const Half> x(head.queries(d_o, problem.d_o) + t * problem.d_o[2], 0, 1, problem.Dv);
    const Rows<const Half> y(head.queries(o, problem.o) + t * problem.o[2], 0, 1, problem.Dv);
    float sum = 0;
    if (x.whole && y.whole)
      for (int d = 8 * lane; d < problem.Dv; d += 64) {
        const auto left = *reinterpret_cast<const Vector<Half, 8>*>(x.first + d);
        const auto right = *reinterpret_cast<const Vector<Half, 8>*>(y.first + d);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += number(left.v[j]) * number(right.v[j]);
      }
    else
      for (int d = lane; d < problem.Dv; d += 8) sum += number(x.first[d]) * number(y.first[d]);
#pragma unroll
    for (int lanes = 4; lanes; lanes /= 2) sum += __shfl_xor_sync(0xffu << (threadIdx.x & 24), sum, lanes);
    if (lane == 0) delta[n] = sum;  // (14)
  });
}

template <int HEAD>
__global__ void __launch_bounds__(Plan<HEAD>::THREADS, 1)
    attention_keys(Half* __restrict__ dk /* (B, S, KH, D) */, Half* __restrict__ dv /* (B, S, KH, Dv) */,
                   const Half* __restrict__ d_o, const Half* __restrict__ q, const Half* __restrict__ k,
                   const Half* __restrict__ v, const float* __restrict__ lse /* (B, H, T) */,
                   const float* __restrict__ delta /* (B, H, T) */, const bool* keep, const int* lengths /* (B,) */,
                   const __grid_constant__ Problem<float> problem) {
  constexpr int STEP = Plan<HEAD>::BACKWARD, ROWS = Plan<HEAD>::ROWS, THREADS = Plan<HEAD>::THREADS;
  using Mine = typename Plan<HEAD>::Mine;
  using Step = Tile<STEP, HEAD>;
  constexpr bool BOTH = HEAD <= 128;  // else registers hold one gradient: blocks of z = 0 have dV, of z = 1 dK
  extern __shared__ __align__(128) Half shared[];
  Half *const of_k = shared, *const of_v = of_k + Mine::SIZE, *const ring = of_v + Mine::SIZE;  // (2, Q and dO)
  float* const statistics = reinterpret_cast<float*>(ring + 4 * Step::SIZE);                    // (2, l and δ, STEP)
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, heads = problem.H / problem.group;
  const Turn turn((problem.keys + ROWS - 1) / ROWS);
  const int s0 = turn.tile * ROWS, mine = s0 + 16 * warp;
  const Head<float> first(problem, turn.head * problem.group, keep, lengths);
  const int begin = problem.causal ? max(0, s0 - problem.keys + problem.rows) / STEP * STEP : 0;
  const int tiles = s0 < first.length ? (problem.rows - begin + STEP - 1) / STEP : 0, steps = tiles * problem.group;

  const auto load = [&](int step) {
    if (step < steps) {
      const Head<float> head(problem, first.head + step / tiles, keep, lengths);
      const int t0 = begin + step % tiles * STEP, i = threadIdx.x % STEP, t = t0 + i;
      Half* half = ring + step % 2 * 2 * Step::SIZE;
      Step::template load<THREADS>(half, {head.queries(q, problem.q), problem.q[2], problem.rows, problem.D}, t0);
      Step::template load<THREADS>(half + Step::SIZE,
                                   {head.queries(d_o, problem.d_o), problem.d_o[2], problem.rows, problem.Dv}, t0);
      if (threadIdx.x < 2 * STEP) {  // beyond the last query zeros, where Q and dO are zeros too
        const float* from = (threadIdx.x < STEP ? lse : delta) + head.first_row;
        ptx::copy_async<4>(statistics + step % 2 * 2 * STEP + threadIdx.x, from + (t < problem.rows ? t : 0),
                           t < problem.rows);
      }
    }
    ptx::copy_commit();
  };
  if (steps) {
    Mine::template load<THREADS>(of_k, {first.keys(k, problem.k), problem.k[2], first.length, problem.D}, s0);
    Mine::template load<THREADS>(of_v, {first.keys(v, problem.v), problem.v[2], first.length, problem.Dv}, s0);
  }
  load(0);

  const auto keys = [&](unsigned (&r)[4], int d) { Mine::pieces(r, of_k, 16 * warp, d); };
  const auto values = [&](unsigned (&r)[4], int d) { Mine::pieces(r, of_v, 16 * warp, d); };
  float sum[BOTH + 1][HEAD / 8][4] = {};
  for (int step = 0; step < steps; step++) {
    ptx::copy_wait<0>();
    __syncthreads();  // this step is there for all, and the one before has been read
    load(step + 1);
    const Head<float> head(problem, first.head + step / tiles, keep, lengths);
    const int t0 = begin + step % tiles * STEP;
    if (!some_see(head, t0 + STEP - 1, mine)) continue;
    const Half *of_q = ring + step % 2 * 2 * Step::SIZE, *of_do = of_q + Step::SIZE;
    const Marks of = marks<STEP / 2>(head, all_see(head, t0, mine + 15), [&](int i) {
      return int2{t0 + i / 4 * 8 + lane % 4 * 2 + i % 2, mine + lane / 4 + i / 2 % 2 * 8};
    });
    float s[STEP / 8][4] = {}, dp[STEP / 8][4] = {};
    Step::times_transposed(s, keys, of_q);                                    // (1)
    if (BOTH || blockIdx.z == 1) Step::times_transposed(dp, values, of_do);  // (13)
    const float* of_query = statistics + step % 2 * 2 * STEP + lane % 4 * 2;
    weights_and_gradients(
        s, dp, problem, of, [&](int i) { return of_query[i / 4 * 8 + i % 2]; },
        [&](int i) { return of_query[STEP + i / 4 * 8 + i % 2]; });
    if (BOTH || blockIdx.z == 0) Step::times(sum[0], s, of_do);     // (12)
    if (BOTH || blockIdx.z == 1) Step::times(sum[BOTH], dp, of_q);  // (17)
  }
  const long long row = static_cast<long long>(first.b) * problem.keys * heads + turn.head % heads;
  const Rows<Half> to_dk(dk + row * problem.D, heads * static_cast<long long>(problem.D), problem.keys, problem.D);
  const Rows<Half> to_dv(dv + row * problem.Dv, heads * static_cast<long long>(problem.Dv), problem.keys, problem.Dv);
  if (BOTH || blockIdx.z == 0) Mine::store(to_dv, mine, sum[0], {1, 1}, of_v, 16 * warp);
  if (BOTH || blockIdx.z == 1) Mine::store(to_dk, mine, sum[BOTH], {problem.scale, problem.scale}, of_k, 16 * warp);
}

template <int HEAD>
__global__ void __launch_bounds__(Plan<HEAD>::THREADS, 1)
    attention_queries(Half* __restrict__ dq /* (B, T, H, D) */, const Half* __restrict__ d_o,
                      const Half* __restrict__ q, const Half* __restrict__ k, const Half* __restrict__ v,
                      const float* __restrict__ lse /* (B, H, T) */,
                      const float* __restrict__ delta /* (B, H, T) */, const bool* keep, const int* lengths /* (B,) */,
                      const __grid_constant__ Problem<float> problem) {
  constexpr int STEP = Plan<HEAD>::BACKWARD, ROWS = Plan<HEAD>::ROWS, THREADS = Plan<HEAD>::THREADS;
  using Mine = typename Plan<HEAD>::Mine;
  using Step = Tile<STEP, HEAD>;
  extern __shared__ __align__(128) Half shared[];
  Half *const of_q = shared, *const of_do = of_q + Mine::SIZE, *const ring = of_do + Mine::SIZE;  // (2, K and V)
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int tiles = (problem.rows + ROWS - 1) / ROWS;
  const Turn turn(tiles);
  const int t0 = (tiles - 1 - turn.tile) * ROWS, mine = t0 + 16 * warp;  // those that see most keys first
  const Head<float> head(problem, turn.head, keep, lengths);
  const int seen = head.seen(min(t0 + ROWS, problem.rows));
  const Rows<const Half> keys(head.keys(k, problem.k), problem.k[2], head.length, problem.D);
  const Rows<const Half> values(head.keys(v, problem.v), problem.v[2], head.length, problem.Dv);

  const auto load = [&](int s0) {
    Half* half = ring + s0 / STEP % 2 * 2 * Step::SIZE;
    if (s0 < seen) {
      Step::template load<THREADS>(half, keys, s0);
      Step::template load<THREADS>(half + Step::SIZE, values, s0);
    }
    ptx::copy_commit();
  };
  if (seen > 0) {
    Mine::template load<THREADS>(of_q, {head.queries(q, problem.q), problem.q[2], problem.rows, problem.D}, t0);
    Mine::template load<THREADS>(of_do, {head.queries(d_o, problem.d_o), problem.d_o[2], problem.rows, problem.Dv}, t0);
  }
  load(0);
  float l[2] = {}, of_row[2] = {}, sum[HEAD / 8][4] = {};
#pragma unroll
  for (int r = 0; r < 2; r++)
    if (const int t = mine + lane / 4 + 8 * r; t < problem.rows)
      l[r] = lse[head.first_row + t], of_row[r] = delta[head.first_row + t];

  const auto queries = [&](unsigned (&r)[4], int d) { Mine::pieces(r, of_q, 16 * warp, d); };
  const auto gradients = [&](unsigned (&r)[4], int d) { Mine::pieces(r, of_do, 16 * warp, d); };
  for (int s0 = 0; s0 < seen; s0 += STEP) {
    ptx::copy_wait<0>();
    __syncthreads();  // this step is there for all, and the one before has been read
    load(s0 + STEP);
    if (!some_see(head, mine + 15, s0)) continue;
    const Half *of_k = ring + s0 / STEP % 2 * 2 * Step::SIZE, *of_v = of_k + Step::SIZE;
    const Marks of = marks<STEP / 2>(head, all_see(head, mine, s0 + STEP - 1), [&](int i) {
      return int2{mine + lane / 4 + i / 2 % 2 * 8, s0 + i / 4 * 8 + lane % 4 * 2 + i % 2};
    });
    float s[STEP / 8][4] = {}, dp[STEP / 8][4] = {};
    Step::times_transposed(s, queries, of_k);     // (1)
    Step::times_transposed(dp, gradients, of_v);  // (13)
    weights_and_gradients(
        s, dp, problem, of, [&](int i) { return l[i / 2 % 2]; }, [&](int i) { return of_row[i / 2 % 2]; });
    Step::times(sum, dp, of_k);  // (16)
  }
  const long long row = (static_cast<long long>(head.b) * problem.rows * problem.H + head.h) * problem.D;
  const Rows<Half> to(dq + row, problem.H * static_cast<long long>(problem.D), problem.rows, problem.D);
  Mine::store(to, mine, sum, {problem.scale, problem.scale}, of_q, 16 * warp);
}
