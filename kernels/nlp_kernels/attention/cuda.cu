// Masked scaled dot-product attention for float and double, on CUDA cores. README.md has the equations.
//
// Forward: a block has TILE queries of one head and walks over tiles of keys. Q stays in shared memory, K and then V
// of a tile take turns in a second place; a row's maximum, sum and output are carried in registers. Q, K, V are read
// once a tile of queries; nothing of size T x S is written.
//
// Backward, where no two blocks may add to one number: a block of `attention_keys` has TILE keys and walks over the
// queries that see them, of every head that shares them (dK, dV); one of `attention_queries` has TILE queries and walks
// over keys (dQ). Each computes the scores again: seven products for five, the same bits in every run. δ of (14) is
// computed before, by rows.
#include "tiles.cuh"

template <typename T, int TILE, int HEAD>
__global__ void __launch_bounds__(TILE * TILE / 16, 1)
    attention_forward(T* __restrict__ o /* (B, T, H, Dv) */, T* __restrict__ lse /* (B, H, T) */,
                      const T* __restrict__ q /* (B, H, T, D) */, const T* __restrict__ k /* (B, KH, S, D) */,
                      const T* __restrict__ v /* (B, KH, S, Dv) */, const bool* keep, const int* lengths /* (B,) */,
                      const __grid_constant__ Problem<T> problem) {
  using Tile = Tiles<T, TILE, HEAD>;
  extern __shared__ __align__(32) unsigned char shared[];
  auto& of_q = *reinterpret_cast<typename Tile::Matrix*>(shared);
  auto& of_kv = *(&of_q + 1);
  auto& weights = *reinterpret_cast<typename Tile::Scores*>(&of_q + 2);
  const int t0 = (gridDim.y - 1 - blockIdx.y) * TILE;  // those that see most keys first
  const int a = threadIdx.x / Tile::SIDE, c = threadIdx.x % Tile::SIDE;
  Head<T> head(problem, blockIdx.x, keep, lengths);
  const int seen = head.seen(t0 + TILE);

  T m[4], z[4] = {}, sum[4][Tile::COLUMNS] = {};
  for (T& of_row : m) of_row = -infinity<T>();
  Tile::load(of_q, head.queries(q, problem.q), problem.q[2], t0, problem.rows, problem.D);
  for (int s0 = 0; s0 < seen; s0 += TILE) {
    T s[4][4] = {};
    Tile::load(of_kv, head.keys(k, problem.k), problem.k[2], s0, head.length, problem.D);
    __syncthreads();
    Tile::times_transposed(s, of_q, of_kv);  // (1)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int t = t0 + a + Tile::SIDE * i;
      T top = m[i], of_tile = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        s[i][j] = head.allowed(t, s0 + c + Tile::SIDE * j) ? problem.scale * s[i][j] : -infinity<T>();  // (3)
        top = Max::of(top, s[i][j]);
      }
      top = Tile::template across<Max>(top);                    // (4)
      const T shift = top == -infinity<T>() ? T(0) : top;       // a row that has seen no key
#pragma unroll
      for (int j = 0; j < 4; j++) {
        s[i][j] = exp(s[i][j] - shift);  // (5)
        of_tile += s[i][j];
        s[i][j] *= head.dropout(t, s0 + c + Tile::SIDE * j);  // (9)
      }
      const T shrink = exp(m[i] - shift);  // 0 in the first tile
      z[i] = z[i] * shrink + Tile::template across<Sum>(of_tile);  // (6)
      m[i] = top;
#pragma unroll
      for (int j = 0; j < Tile::COLUMNS; j++) sum[i][j] *= shrink;
    }
    Tile::keep_scores(weights, s);
    __syncthreads();  // K has been read
    Tile::load(of_kv, head.keys(v, problem.v), problem.v[2], s0, head.length, problem.Dv);
    __syncthreads();
    Tile::template times<false>(sum, weights, of_kv);  // (10)
    __syncthreads();                                    // V and the weights have been read
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int t = t0 + a + Tile::SIDE * i;
    if (z[i] == 0) z[i] = 1, m[i] = 0;
#pragma unroll
    for (int j = 0; j < Tile::COLUMNS; j++) sum[i][j] /= z[i];  // (7)
    if (c == 0 && t < problem.rows) lse[head.first_row + t] = m[i] + log(z[i]);  // (8)
  }
  Tile::store(o + head.b * problem.o[0] + head.h * problem.o[1], problem.o[2], t0, problem.rows, problem.Dv, sum, T(1));
}

// δ of each query, by a warp.
template <typename T>
__global__ void attention_delta(T* __restrict__ delta /* (B, H, T) */, const T* __restrict__ d_o, const T* __restrict__ o,
                                const __grid_constant__ Problem<T> problem, long long N) {
  for_rows<32>(N, [&](long long n) {
    const int t = n % problem.rows, head = n / problem.rows, b = head / problem.H, h = head % problem.H;
    const T* x = d_o + b * problem.d_o[0] + h * problem.d_o[1] + t * problem.d_o[2];
    const T* y = o + b * problem.o[0] + h * problem.o[1] + t * problem.o[2];
    T sum = 0;
    for (int d = threadIdx.x % 32; d < problem.Dv; d += 32) sum += x[d] * y[d];
    sum = warp_reduce<Sum>(sum);
    if (threadIdx.x % 32 == 0) delta[n] = sum;  // (14)
  });
}

// P̃ and dS of a tile, from its scores Q Kᵀ and from dO Vᵀ, in place.
template <typename T, int TILE, int HEAD>
__device__ __forceinline__ void weights_and_gradients(T (&s)[4][4], T (&dp)[4][4], int t0, int s0, const T* lse,
                                                      const T* delta, Head<T>& head) {
  using Tile = Tiles<T, TILE, HEAD>;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int t = t0 + threadIdx.x / Tile::SIDE + Tile::SIDE * i;
    const bool there = t < head.problem.rows;
    const T l = there ? lse[head.first_row + t] : T(0), of_row = there ? delta[head.first_row + t] : T(0);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int key = s0 + threadIdx.x % Tile::SIDE + Tile::SIDE * j;
      const T p = head.allowed(t, key) ? exp(head.problem.scale * s[i][j] - l) : T(0);  // (11)
      const T kept = head.dropout(t, key);
      s[i][j] = p * kept;
      dp[i][j] = p * (dp[i][j] * kept - of_row);  // (13) (15)
    }
  }
}

// Registers hold two gradients of 64 floats a thread, or of 16 doubles: for more, blocks along the grid's z share columns.
template <typename T, int HEAD>
constexpr int passes = HEAD * sizeof(T) * sizeof(T) >= 4096 ? 2 : 1;

template <typename T, int TILE, int HEAD>
__global__ void __launch_bounds__(TILE * TILE / 16, 1)
    attention_keys(T* __restrict__ dk /* (B, S, KH, D) */, T* __restrict__ dv /* (B, S, KH, Dv) */, const T* __restrict__ d_o,
                   const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                   const T* __restrict__ lse /* (B, H, T) */, const T* __restrict__ delta /* (B, H, T) */,
                   const bool* keep, const int* lengths /* (B,) */, const __grid_constant__ Problem<T> problem) {
  using Tile = Tiles<T, TILE, HEAD>;
  extern __shared__ __align__(32) unsigned char shared[];
  auto& of_k = *reinterpret_cast<typename Tile::Matrix*>(shared);
  auto &of_v = *(&of_k + 1), &of_q = *(&of_k + 2), &of_do = *(&of_k + 3);
  auto& weights = *reinterpret_cast<typename Tile::Scores*>(&of_k + 4);
  const int s0 = blockIdx.y * TILE, first_head = blockIdx.x * problem.group;  // of those that share these keys

  constexpr int COLUMNS = Tile::COLUMNS / passes<T, HEAD>;
  const int first_column = blockIdx.z * (HEAD / passes<T, HEAD>);
  T of_dk[4][COLUMNS] = {}, of_dv[4][COLUMNS] = {};
  const int first = problem.causal ? max(0, s0 - problem.keys + problem.rows) / TILE * TILE : 0;
  for (int g = 0; g < problem.group; g++) {
    Head<T> head(problem, first_head + g, keep, lengths);
    if (g == 0) {
      Tile::load(of_k, head.keys(k, problem.k), problem.k[2], s0, head.length, problem.D);
      Tile::load(of_v, head.keys(v, problem.v), problem.v[2], s0, head.length, problem.Dv);
    }
    for (int t0 = s0 < head.length ? first : problem.rows; t0 < problem.rows; t0 += TILE) {
      T s[4][4] = {}, dp[4][4] = {};
      Tile::load(of_q, head.queries(q, problem.q), problem.q[2], t0, problem.rows, problem.D);
      Tile::load(of_do, head.queries(d_o, problem.d_o), problem.d_o[2], t0, problem.rows, problem.Dv);
      __syncthreads();
      Tile::times_transposed(s, of_q, of_k);    // (1)
      Tile::times_transposed(dp, of_do, of_v);  // (13)
      weights_and_gradients<T, TILE, HEAD>(s, dp, t0, s0, lse, delta, head);
      Tile::keep_scores(weights, s);
      __syncthreads();
      Tile::template times<true>(of_dv, weights, of_do, first_column);  // (12)
      __syncthreads();
      Tile::keep_scores(weights, dp);
      __syncthreads();
      Tile::template times<true>(of_dk, weights, of_q, first_column);  // (17)
      __syncthreads();
    }
  }
  const int heads = problem.H / problem.group, b = blockIdx.x / heads;
  const long long row = static_cast<long long>(b) * problem.keys * heads + blockIdx.x % heads;
  Tile::store(dk + row * problem.D, heads * static_cast<long long>(problem.D), s0, problem.keys, problem.D, of_dk,
              problem.scale, first_column);
  Tile::store(dv + row * problem.Dv, heads * static_cast<long long>(problem.Dv), s0, problem.keys, problem.Dv, of_dv,
              T(1), first_column);
}

template <typename T, int TILE, int HEAD>
__global__ void __launch_bounds__(TILE * TILE / 16, 1)
    attention_queries(T* __restrict__ dq /* (B, T, H, D) */, const T* __restrict__ d_o, const T* __restrict__ q,
                      const T* __restrict__ k, const T* __restrict__ v, const T* __restrict__ lse /* (B, H, T) */,
                      const T* __restrict__ delta /* (B, H, T) */, const bool* keep, const int* lengths /* (B,) */,
                      const __grid_constant__ Problem<T> problem) {
  using Tile = Tiles<T, TILE, HEAD>;
  extern __shared__ __align__(32) unsigned char shared[];
  auto& of_q = *reinterpret_cast<typename Tile::Matrix*>(shared);
  auto &of_do = *(&of_q + 1), &of_k = *(&of_q + 2), &of_v = *(&of_q + 3);
  auto& weights = *reinterpret_cast<typename Tile::Scores*>(&of_q + 4);
  const int t0 = (gridDim.y - 1 - blockIdx.y) * TILE;  // those that see most keys first
  Head<T> head(problem, blockIdx.x, keep, lengths);
  const int seen = head.seen(t0 + TILE);

  T of_dq[4][Tile::COLUMNS] = {};
  Tile::load(of_q, head.queries(q, problem.q), problem.q[2], t0, problem.rows, problem.D);
  Tile::load(of_do, head.queries(d_o, problem.d_o), problem.d_o[2], t0, problem.rows, problem.Dv);
  for (int s0 = 0; s0 < seen; s0 += TILE) {
    T s[4][4] = {}, dp[4][4] = {};
    Tile::load(of_k, head.keys(k, problem.k), problem.k[2], s0, head.length, problem.D);
    Tile::load(of_v, head.keys(v, problem.v), problem.v[2], s0, head.length, problem.Dv);
    __syncthreads();
    Tile::times_transposed(s, of_q, of_k);    // (1)
    Tile::times_transposed(dp, of_do, of_v);  // (13)
    weights_and_gradients<T, TILE, HEAD>(s, dp, t0, s0, lse, delta, head);
    Tile::keep_scores(weights, dp);
    __syncthreads();
    Tile::template times<false>(of_dq, weights, of_k);  // (16)
    __syncthreads();
  }
  Tile::store(dq + (static_cast<long long>(head.b) * problem.rows * problem.H + head.h) * problem.D,
              problem.H * static_cast<long long>(problem.D), t0, problem.rows, problem.D, of_dq, problem.scale);
}
