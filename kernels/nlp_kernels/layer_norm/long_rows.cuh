// Backward of rows that no group of threads holds: first what each row needs, then the columns. After cuda.cu's helpers.
#pragma once

// Rows of any length: the two means of (10) of each.
template <typename S, int GROUP, int ITEMS, int THREADS, int WIDTH>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<GROUP, THREADS>) __cluster_dims__(cluster_of<GROUP>)
    layer_norm_row_means(arithmetic<S>* __restrict__ means /* (N, 2) */, const S* __restrict__ dy /* (N, C) */,
                         const S* __restrict__ x /* (N, C) */, const S* __restrict__ gamma /* (C,) */,
                         const S* __restrict__ residual /* (N, C) or null */,
                         const arithmetic<S>* __restrict__ mean /* (N,) */,
                         const arithmetic<S>* __restrict__ rstd /* (N,) */, long long N, int C) {
  using T = arithmetic<S>;
  const int t = group_thread<GROUP>();
  for_rows<GROUP>(N, [&](long long n) {
    Means<T> own{0, 0};
    for (int at = 0; at < C; at += GROUP * ITEMS) {
      T h[ITEMS], g[ITEMS], w[ITEMS];
      load_h<GROUP, ITEMS, WIDTH>(h, x, residual, n * C + at, t, C - at);
      load_row<GROUP, ITEMS, WIDTH>(g, dy + n * C + at, t, C - at);
      load_row<GROUP, ITEMS, WIDTH>(w, gamma + at, t, C - at);
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        own.dhhat += g[i] * w[i];
        own.along += g[i] * w[i] * ((h[i] - mean[n]) * rstd[n]);
      }
    }
    const Means<T> row = row_means<GROUP>(own, C);
    if (t == 0) means[2 * n] = row.dhhat, means[2 * n + 1] = row.along;
  });
}

// Given the means of the rows, columns are independent: block (i, j) has the i-th BLOCK x WIDTH of them in the rows j,
// j + gridDim.y, …
template <typename S, int BLOCK, int WIDTH>
__global__ void __launch_bounds__(BLOCK, 4)
    layer_norm_columns(S* __restrict__ dx /* (N, C) */, arithmetic<S>* __restrict__ sums /* (gridDim.y, 2, C) */,
                       const arithmetic<S>* __restrict__ means /* (N, 2) */, const S* __restrict__ dy /* (N, C) */,
                       const S* __restrict__ dh /* (N, C) or null */, const S* __restrict__ x /* (N, C) */,
                       const S* __restrict__ gamma /* (C,) */, const S* __restrict__ residual /* (N, C) or null */,
                       const arithmetic<S>* __restrict__ mean /* (N,) */,
                       const arithmetic<S>* __restrict__ rstd /* (N,) */, long long N, int C) {
  using T = arithmetic<S>;
  const int t = threadIdx.x, at = blockIdx.x * BLOCK * WIDTH, left = C - at;
  T w[WIDTH], dgamma[WIDTH] = {}, dbeta[WIDTH] = {};
  load_row<BLOCK, WIDTH, WIDTH>(w, gamma + at, t, left);
  for (long long n = blockIdx.y; n < N; n += gridDim.y) {
    T h[WIDTH], g[WIDTH], d[WIDTH] = {};
    load_h<BLOCK, WIDTH, WIDTH>(h, x, residual, n * C + at, t, left);
    load_row<BLOCK, WIDTH, WIDTH>(g, dy + n * C + at, t, left);
    if (dh) load_row<BLOCK, WIDTH, WIDTH>(d, dh + n * C + at, t, left);
    const Means<T> row{means[2 * n], means[2 * n + 1]};
#pragma unroll
    for (int i = 0; i < WIDTH; i++) {
      const T hhat = (h[i] - mean[n]) * rstd[n];                       // (5)
      dbeta[i] += g[i];                                                // (7)
      dgamma[i] += g[i] * hhat;                                        // (8)
      d[i] += rstd[n] * (g[i] * w[i] - row.dhhat - hhat * row.along);  // (9) (10) (11)
    }
    store_row<BLOCK, WIDTH, WIDTH>(dx + n * C + at, d, t, left);
  }
  T* row = sums + blockIdx.y * 2LL * C + at;
  store_row<BLOCK, WIDTH, WIDTH>(row, dgamma, t, left);
  store_row<BLOCK, WIDTH, WIDTH>(row + C, dbeta, t, left);
}
