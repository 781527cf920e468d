// Layer norm over the rows of (N, C), with an optional residual. README.md has the equations and the bytes moved.
//
// Forward: a group of threads (a warp, a block, a cluster of blocks) reads a row once into registers, goes over them
// for the mean and again for the variance, and writes y, and h where there is a residual. A row that no group holds is
// read three times.
//
// Backward, in a grid that stays: group g has the rows g, g + groups, … A row's h and dy lie in registers: its two
// means in one exchange, then dx. Each thread has the same columns of every row, whose dgamma and dbeta it adds up in
// registers to the end; a block, or a cluster, then writes one row of `sums`, and layer_norm_column_sums adds these.
// Of rows that no group holds layer_norm_row_means finds the two means; then layer_norm_columns has a thread for each
// column. The sizes of the launch say who adds what in which order, no atomics: the same bits every time.
//
// load_row fills up with zeros, which change none of the sums: only the variance must know where the row ends.
#include "../common/rows.cuh"

// Blocks for which a processor shall have registers: so many THREADS at once, one block at least.
template <int GROUP, int THREADS>
constexpr int at_once = THREADS > block_of<GROUP> ? THREADS / block_of<GROUP> : 1;

// A piece of h from its first column on; C counts the columns from there.
template <int GROUP, int ITEMS, int WIDTH, typename T, typename S>
__device__ __forceinline__ void load_h(T (&h)[ITEMS], const S* x, const S* residual, long long at, int t, int C) {
  load_row<GROUP, ITEMS, WIDTH>(h, x + at, t, C);
  if (!residual) return;
  T r[ITEMS];
  load_row<GROUP, ITEMS, WIDTH>(r, residual + at, t, C);
#pragma unroll
  for (int i = 0; i < ITEMS; i++) h[i] += r[i];  // (1)
}

// A row that is read later, on its way already.
template <int GROUP, int ITEMS, int WIDTH, typename S>
__device__ __forceinline__ void prefetch_row(const S* row /* (C,) */, int t, int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH)
    if (i * GROUP < C - t * WIDTH) ptx::prefetch(row + t * WIDTH + i * GROUP);
}

// y of a piece of a row, one access after the other: few registers for gamma and beta.
template <int GROUP, int ITEMS, int WIDTH, typename T, typename S>
__device__ __forceinline__ void store_y(S* y, const T (&h)[ITEMS], const S* gamma, const S* beta, T mu, T r, int t,
                                        int C) {
#pragma unroll
  for (int i = 0; i < ITEMS; i += WIDTH) {
    T g[WIDTH], b[WIDTH];
    const int at = i * GROUP;
    load_row<GROUP, WIDTH, WIDTH>(g, gamma + at, t, C - at);
    load_row<GROUP, WIDTH, WIDTH>(b, beta + at, t, C - at);
#pragma unroll
    for (int j = 0; j < WIDTH; j++) b[j] += g[j] * ((h[i + j] - mu) * r);  // (5) (6)
    store_row<GROUP, WIDTH, WIDTH>(y + at, b, t, C - at);
  }
}

// The mean over a row of what its threads have added up, each in four parts that do not wait for each other.
template <int GROUP, typename T>
__device__ __forceinline__ T row_mean(const T (&part)[4], int C) {
  return group_reduce<Sum, GROUP>((part[0] + part[1]) + (part[2] + part[3])) / T(C > 0 ? C : 1);
}

// A group HAS a row in registers, or reads it again for each pass, ITEMS of a thread at a time. y may be null, where
// only the statistics are wanted.
template <typename S, int GROUP, int ITEMS, int THREADS, bool HAS, int WIDTH>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<GROUP, THREADS>) __cluster_dims__(cluster_of<GROUP>)
    layer_norm_forward(S* __restrict__ y /* (N, C) */, S* __restrict__ sum /* (N, C) or null: h */,
                       arithmetic<S>* __restrict__ mean /* (N,) */, arithmetic<S>* __restrict__ rstd /* (N,) */,
                       const S* __restrict__ x /* (N, C) */, const S* __restrict__ gamma /* (C,) */,
                       const S* __restrict__ beta /* (C,) */, const S* __restrict__ residual /* (N, C) or null */,
                       long long N, int C, arithmetic<S> eps) {
  using T = arithmetic<S>;
  const int t = group_thread<GROUP>();
  for_rows<GROUP>(N, [&](long long n) {
    T h[ITEMS], total[4] = {}, squares[4] = {};
    const auto load = [&](int at) { load_h<GROUP, ITEMS, WIDTH>(h, x, residual, n * C + at, t, C - at); };
    const auto for_pieces = [&](auto f) {
      if constexpr (HAS) f(0);
      else
        for (int at = 0; at < C; at += GROUP * ITEMS) load(at), f(at);
    };
    if (HAS) load(0);
    for_pieces([&](int at) {
      if (sum) store_row<GROUP, ITEMS, WIDTH>(sum + n * C + at, h, t, C - at);
#pragma unroll
      for (int i = 0; i < ITEMS; i++) total[i % 4] += h[i];
    });
    const T mu = row_mean<GROUP>(total, C);  // (2)
    for_pieces([&](int at) {
      for_items<GROUP, ITEMS, WIDTH>(t, C - at, [&](int i, int) { squares[i % 4] += (h[i] - mu) * (h[i] - mu); });
    });
    const T r = 1 / sqrt(row_mean<GROUP>(squares, C) + eps);  // (3) (4)
    if (t == 0) mean[n] = mu, rstd[n] = r;
    if (!y) return;
    for_pieces([&](int at) {
      store_y<GROUP, ITEMS, WIDTH>(y + n * C + at, h, gamma + at, beta + at, mu, r, t, C - at);
    });
  });
}

// The means of (10) over a row.
template <typename T>
struct Means {
  T dhhat, along;  // of dĥ, and of dĥ ⊙ ĥ
};

template <typename T>
__device__ __forceinline__ Means<T> warp_sums(Means<T> own) {
  return {warp_reduce<Sum>(own.dhhat), warp_reduce<Sum>(own.along)};
}

// From each thread's sums, both in one exchange.
template <int GROUP, typename T>
__device__ __forceinline__ Means<T> row_means(Means<T> own, int C) {
  Means<T> all = warp_sums(own);
  if constexpr (GROUP > 32) {
    Means<T> some{0, 0};
    for_warps<GROUP>(all, [&](Means<T> of_warp) {
      some.dhhat += of_warp.dhhat;
      some.along += of_warp.along;
    });
    all = warp_sums(some);
  }
  return {all.dhhat / C, all.along / C};
}

// One row of `sums` from the groups of a block, which the first of them adds in their order.
template <int GROUP, int ITEMS, int WIDTH, typename T>
__device__ __forceinline__ void store_sums(T* row /* (C,) */, T (&v)[ITEMS], int t, int C) {
  if constexpr (GROUP < block_of<GROUP>) {
    constexpr int FURTHER = block_of<GROUP> / GROUP - 1;
    __shared__ T part[FURTHER][ITEMS][GROUP];
    const int group = threadIdx.x / GROUP;
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
      if (group > 0) part[group - 1][i][t] = v[i];
    __syncthreads();
    for (int g = 0; group == 0 && g < FURTHER; g++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) v[i] += part[g][i][t];
    __syncthreads();  // part may be written again
    if (group > 0) return;
  }
  store_row<GROUP, ITEMS, WIDTH>(row, v, t, C);
}

template <typename S, int GROUP, int ITEMS, int THREADS, int WIDTH>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<GROUP, THREADS>) __cluster_dims__(cluster_of<GROUP>)
    layer_norm_backward(S* __restrict__ dx /* (N, C) */, arithmetic<S>* __restrict__ sums /* (rows, 2, C) */,
                        const S* __restrict__ dy /* (N, C) */, const S* __restrict__ dh /* (N, C) or null */,
                        const S* __restrict__ x /* (N, C) */, const S* __restrict__ gamma /* (C,) */,
                        const S* __restrict__ residual /* (N, C) or null */,
                        const arithmetic<S>* __restrict__ mean /* (N,) */,
                        const arithmetic<S>* __restrict__ rstd /* (N,) */, long long N, int C) {
  using T = arithmetic<S>;
  const int t = group_thread<GROUP>();
  T dgamma[ITEMS] = {}, dbeta[ITEMS] = {};
  for_rows<GROUP>(N, [&](long long n) {
    T h[ITEMS], g[ITEMS];
    Means<T> own{0, 0};
    load_h<GROUP, ITEMS, WIDTH>(h, x, residual, n * C, t, C);
    load_row<GROUP, ITEMS, WIDTH>(g, dy + n * C, t, C);
    if (dh) prefetch_row<GROUP, ITEMS, WIDTH>(dh + n * C, t, C);
    const T mu = mean[n], r = rstd[n];
#pragma unroll
    for (int i = 0; i < ITEMS; i += WIDTH) {
      T w[WIDTH];
      const int at = i * GROUP;
      load_row<GROUP, WIDTH, WIDTH>(w, gamma + at, t, C - at);
#pragma unroll
      for (int j = 0; j < WIDTH; j++) {
        T &hhat = h[i + j], &dhhat = g[i + j];
        hhat = (hhat - mu) * r;         // (5)
        dbeta[i + j] += dhhat;          // (7); as yet it is dy
        dgamma[i + j] += dhhat * hhat;  // (8)
        dhhat *= w[j];                  // (9)
        own.dhhat += dhhat;
        own.along += dhhat * hhat;
      }
    }
    const Means<T> row = row_means<GROUP>(own, C);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) g[i] = r * (g[i] - row.dhhat - h[i] * row.along);  // (10)
    if (dh) {
      load_row<GROUP, ITEMS, WIDTH>(h, dh + n * C, t, C);
#pragma unroll
      for (int i = 0; i < ITEMS; i++) g[i] += h[i];  // (11)
    }
    store_row<GROUP, ITEMS, WIDTH>(dx + n * C, g, t, C);
  });
  T* row = sums + blockIdx.x / cluster_of<GROUP> * 2LL * C;
  store_sums<GROUP, ITEMS, WIDTH>(row, dgamma, t, C);
  store_sums<GROUP, ITEMS, WIDTH>(row + C, dbeta, t, C);
}

#include "long_rows.cuh"

// The sum of the rows of `sums`: a block has 32 columns, warp w of it the rows w, w + WARPS, …
template <typename S, int WARPS>
__global__ void __launch_bounds__(32 * WARPS, 1)
    layer_norm_column_sums(S* __restrict__ dgamma /* (C,) */, S* __restrict__ dbeta /* (C,) */,
                           const arithmetic<S>* __restrict__ sums /* (rows, 2, C) */, int rows, int C) {
  using T = arithmetic<S>;
  __shared__ T part[WARPS][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long c = blockIdx.x * 32LL + lane;
  T v = 0;
  if (c < 2LL * C)
#pragma unroll 8
    for (int row = warp; row < rows; row += WARPS) v += sums[row * 2LL * C + c];
  part[warp][lane] = v;
  __syncthreads();
  if (warp > 0 || c >= 2LL * C) return;
  for (int w = 1; w < WARPS; w++) v += part[w][lane];
  if (c < C) dgamma[c] = static_cast<S>(v);
  else dbeta[c - C] = static_cast<S>(v);
}
