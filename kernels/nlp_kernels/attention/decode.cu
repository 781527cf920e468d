// Attention of a few queries to many keys, for float, double and bfloat16: decoding. README.md has the equations.
//
// Memory is what counts: every number of K and V is to be read once, by as many processors as there are. A block of
// `attention_split` has up to ROWS queries, of all heads that share a head of keys, and a share of the keys, which it
// takes a tile at a time. LANES neighbours have a row of K or V, 16 bytes of it at an access, and the numbers of all
// ROWS queries that meet these, or of their outputs, in registers. The tile's scores pass through shared memory, where
// a warp a query turns them into weights. What comes of it, m, z and a of each query, is merged by `attention_merge`:
// no two blocks add to one number. Where a block's keys begin follows from the lengths, so that all have work.
#include "problem.cuh"

constexpr int threads = 128, warps = threads / 32;  // of a block
constexpr int tile = 64;                            // keys at a time

// How the numbers of a row lie in the lanes that have it.
template <typename S, int HEAD>
struct Row {
  static constexpr int WIDTH = 16 / sizeof(S), LANES = HEAD / WIDTH < 32 ? HEAD / WIDTH : 32, ITEMS = HEAD / LANES;
  static constexpr int VECTORS = ITEMS / WIDTH, GROUPS = threads / LANES;  // of a lane; of lanes, each with other rows
  static constexpr int AHEAD = VECTORS > 2 ? 2 : 4;                        // rows that a group asks for at once
  using Piece = Vector<S, WIDTH>;

  static __device__ __forceinline__ int column(int item) {
    return (item / WIDTH * LANES + threadIdx.x % LANES) * WIDTH + item % WIDTH;
  }

  // This lane's part of row `first` and every GROUPS-th after it, of a (rows, D) matrix; zeros beyond its edges.
  static __device__ __forceinline__ void load(Piece (&x)[AHEAD][VECTORS], const S* from, long long stride, int first,
                                              int rows, int D, bool wide) {
#pragma unroll
    for (int n = 0; n < AHEAD; n++)
#pragma unroll
      for (int i = 0; i < VECTORS; i++) x[n][i] = Piece{};
    if (wide) {
#pragma unroll
      for (int n = 0; n < AHEAD; n++)
#pragma unroll
        for (int i = 0; i < VECTORS; i++)
          if (const int r = first + n * GROUPS, c = column(i * WIDTH); r < rows && c < D)
            x[n][i] = *reinterpret_cast<const Piece*>(from + r * stride + c);
    } else {
#pragma unroll
      for (int n = 0; n < AHEAD; n++)
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
          if (const int r = first + n * GROUPS, c = column(i); r < rows && c < D)
            x[n][i / WIDTH].v[i % WIDTH] = from[r * stride + c];
    }
  }
};

// Sums of N values each over LANES neighbours, in half as many exchanges of numbers at every step: lane l of them gets
// that of value l / (LANES / N).
template <int LANES, int N, typename T>
__device__ __forceinline__ T shared_sums(T (&v)[N]) {
  static_assert(N <= LANES, "a lane has one sum");
#pragma unroll
  for (int n = N, lanes = LANES / 2; lanes; lanes /= 2, n /= 2) {
    const bool upper = threadIdx.x & lanes;
    if (n < 2) v[0] += __shfl_xor_sync(all_lanes, v[0], lanes);
#pragma unroll
    for (int i = 0; i < n / 2; i++) {
      const T sent = upper ? v[i] : v[i + n / 2], kept = upper ? v[i + n / 2] : v[i];
      v[i] = kept + __shfl_xor_sync(all_lanes, sent, lanes);
    }
  }
  return v[0];
}

template <typename S, int ROWS, int HEAD, typename T = arithmetic<S>>
__global__ void __launch_bounds__(threads, 1)
    attention_split(T* __restrict__ m /* (B, H, T, splits) */, T* __restrict__ z /* (B, H, T, splits) */,
                    T* __restrict__ a /* (B, H, T, splits, Dv) */, const S* __restrict__ q /* (B, H, T, D) */,
                    const S* __restrict__ k /* (B, KH, S, D) */, const S* __restrict__ v /* (B, KH, S, Dv) */,
                    const bool* keep, const int* lengths /* (B,) */, const __grid_constant__ Problem<T> problem,
                    int splits, int parts /* of the queries that share keys */, bool wide) {
  using Row = Row<S, HEAD>;
  __shared__ Vector<T, ROWS> weights[tile];  // scores, then weights
  __shared__ T shrinks[ROWS], sums[Row::GROUPS][ROWS][HEAD];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = threadIdx.x / Row::LANES;
  const int split = blockIdx.x / parts % splits, heads_of_keys = blockIdx.x / parts / splits;
  const int first = blockIdx.x % parts * ROWS, queries = problem.group * problem.rows;
  const int first_head = heads_of_keys * problem.group;
  const Head<T> of_keys(problem, first_head, keep, lengths);
  const int share = (of_keys.length + splits * tile - 1) / (splits * tile) * tile;  // whole tiles
  const int s_first = split * share, s_last = min(of_keys.length, s_first + share);

  T of_q[ROWS][Row::ITEMS], sum[ROWS][Row::ITEMS] = {};
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int n = min(first + r, queries - 1);  // those beyond the last are not kept
    const Head<T> head(problem, first_head + n / problem.rows, keep, lengths);
    const S* row = head.queries(q, problem.q) + n % problem.rows * problem.q[2];
#pragma unroll
    for (int i = 0; i < Row::ITEMS; i++)
      of_q[r][i] = Row::column(i) < problem.D ? problem.scale * static_cast<T>(row[Row::column(i)]) : T(0);
  }
  constexpr int OWN = (ROWS + warps - 1) / warps;  // queries whose softmax a warp computes
  T top[OWN], total[OWN] = {};
  for (T& of_row : top) of_row = -infinity<T>();

  for (int s0 = s_first; s0 < s_last; s0 += tile) {
    typename Row::Piece x[Row::AHEAD][Row::VECTORS];
    for (int s = s0 + group; s < s0 + tile; s += Row::AHEAD * Row::GROUPS) {
      Row::load(x, of_keys.keys(k, problem.k), problem.k[2], s, s_last, problem.D, wide);
#pragma unroll
      for (int n = 0; n < Row::AHEAD; n++) {
        T score[ROWS] = {};
#pragma unroll
        for (int i = 0; i < Row::ITEMS; i++)
#pragma unroll
          for (int r = 0; r < ROWS; r++)
            score[r] += of_q[r][i] * static_cast<T>(x[n][i / Row::WIDTH].v[i % Row::WIDTH]);  // (1)
        const T of_row = shared_sums<Row::LANES>(score);
        constexpr int LANES = Row::LANES / ROWS;  // that have the same sum
        if (lane % LANES == 0) weights[s - s0 + n * Row::GROUPS].v[threadIdx.x % Row::LANES / LANES] = of_row;
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWN; i++) {
      const int r = warp + i * warps, n = min(first + r, queries - 1), t = n % problem.rows;
      if (r >= ROWS) continue;
      Head<T> head(problem, first_head + n / problem.rows, keep, lengths);
      T s[tile / 32], highest = top[i], of_tile = 0;
#pragma unroll
      for (int j = 0; j < tile / 32; j++) {
        const int key = lane + 32 * j;
        s[j] = head.allowed(t, s0 + key) ? weights[key].v[r] : -infinity<T>();  // (3)
        highest = Max::of(highest, s[j]);
      }
      highest = warp_reduce<Max>(highest);                         // (4)
      const T shift = highest == -infinity<T>() ? T(0) : highest;  // a query that has seen no key
#pragma unroll
      for (int j = 0; j < tile / 32; j++) {
        s[j] = exp(s[j] - shift);  // (5)
        of_tile += s[j];
        weights[lane + 32 * j].v[r] = s[j] * head.dropout(t, s0 + lane + 32 * j);  // (9)
      }
      const T shrink = exp(top[i] - shift);  // 0 in the first tile
      total[i] = total[i] * shrink + warp_reduce<Sum>(of_tile);  // (6)
      top[i] = highest;
      if (lane == 0) shrinks[r] = shrink;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int i = 0; i < Row::ITEMS; i++) sum[r][i] *= shrinks[r];
    for (int s = s0 + group; s < s0 + tile; s += Row::AHEAD * Row::GROUPS) {
      Row::load(x, of_keys.keys(v, problem.v), problem.v[2], s, s_last, problem.Dv, wide);
#pragma unroll
      for (int n = 0; n < Row::AHEAD; n++) {
        const Vector<T, ROWS> weight = weights[s - s0 + n * Row::GROUPS];
#pragma unroll
        for (int i = 0; i < Row::ITEMS; i++)
#pragma unroll
          for (int r = 0; r < ROWS; r++)
            sum[r][i] += weight.v[r] * static_cast<T>(x[n][i / Row::WIDTH].v[i % Row::WIDTH]);  // (10)
      }
    }
    __syncwarp();  // the weights that a group has read are those that it writes next
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int i = 0; i < Row::ITEMS; i++) sums[group][r][Row::column(i)] = sum[r][i];
  __syncthreads();
  const long long first_row = static_cast<long long>(first_head) * problem.rows + first;
  for (int at = threadIdx.x; at < ROWS * HEAD; at += threads) {
    const int r = at / HEAD, d = at % HEAD;
    if (first + r >= queries || d >= problem.Dv) continue;
    T of_groups = 0;
    for (int g = 0; g < Row::GROUPS; g++) of_groups += sums[g][r][d];
    a[((first_row + r) * splits + split) * problem.Dv + d] = of_groups;
  }
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int r = warp + i * warps;
    if (lane != 0 || r >= ROWS || first + r >= queries) continue;
    m[(first_row + r) * splits + split] = top[i];
    z[(first_row + r) * splits + split] = total[i];
  }
}

// A query's shares of the keys together, by a warp.
template <typename S, typename T = arithmetic<S>>
__global__ void attention_merge(S* __restrict__ o /* (B, T, H, Dv) */, T* __restrict__ lse /* (B, H, T) */,
                                const T* __restrict__ m /* (B, H, T, splits) */, const T* __restrict__ z,
                                const T* __restrict__ a /* (B, H, T, splits, Dv) */,
                                const __grid_constant__ Problem<T> problem, int splits, long long N) {
  for_rows<32>(N, [&](long long n) {
    const int lane = threadIdx.x % 32, t = n % problem.rows, head = n / problem.rows;
    const T *tops = m + n * splits, *totals = z + n * splits, *sums = a + n * splits * problem.Dv;
    T top = -infinity<T>(), total = 0;
    for (int i = lane; i < splits; i += 32) top = Max::of(top, tops[i]);
    top = warp_reduce<Max>(top);                         // (4)
    const T shift = top == -infinity<T>() ? T(0) : top;  // a query without keys
    for (int i = lane; i < splits; i += 32) total += totals[i] * exp(tops[i] - shift);
    total = warp_reduce<Sum>(total);  // (6)
    if (total == 0) total = 1;
    S* row = o + head / problem.H * problem.o[0] + head % problem.H * problem.o[1] + t * problem.o[2];
    for (int d = lane; d < problem.Dv; d += 32) {
      T sum = 0;
      for (int i = 0; i < splits; i++) sum += sums[static_cast<long long>(i) * problem.Dv + d] * exp(tops[i] - shift);
      row[d] = static_cast<S>(sum / total);  // (7)
    }
    if (lane == 0) lse[n] = shift + log(total);  // (8)
  });
}
