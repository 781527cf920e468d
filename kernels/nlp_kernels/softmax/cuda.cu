// Softmax and log-softmax over the rows of (N, C). README.md has the equations.
//
// A row of up to GROUP x ITEMS columns is read once, kept in registers, and written once: a warp has a row of up to
// 2 KiB, a block of 512 threads one of up to 32 KiB (backward, where two are kept, half of that). Longer rows are read
// twice: once for the maximum and the sum of exponentials, which each thread keeps up to date together, and once for
// the result. Memory moves 2 N C numbers forward (3 for long rows) and 3 N C backward (5).
//
// One block to a processor is the least that is asked for: told nothing, the compiler spills to fit more.
//
// keep[n * keep_row + c * keep_column] is the mask, strides 0 where it has one row or one column; null: all are kept.
#include "../common/rows.cuh"

struct Mask {
  const bool* keep;
  int keep_row, keep_column;
  __device__ __forceinline__ bool operator()(long long n, int c) const {
    return !keep || keep[n * keep_row + static_cast<long long>(c) * keep_column];
  }
};

template <typename T>
__device__ __forceinline__ T finite_or_zero(T m) {
  return m == infinity<T>() || m == -infinity<T>() ? T(0) : m;  // a row that keeps nothing has no maximum
}

template <typename T, int GROUP, int ITEMS, int WIDTH>
__global__ void __launch_bounds__(GROUP < 128 ? 128 : GROUP, 1)
    softmax_forward(T* __restrict__ y /* (N, C) */, const T* __restrict__ x /* (N, C) */, const bool* keep,
                    int keep_row, int keep_column, long long N, int C, T scale, bool log_) {
  const int t = threadIdx.x % GROUP;
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    T s[ITEMS], m = -infinity<T>(), z = 0;
    load_row<GROUP, ITEMS, WIDTH>(s, x + n * C, t, C);
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int c) {
      if (!kept(n, c)) s[i] = -infinity<T>();  // (1)
      m = Max::of(m, s[i]);
    });
    m = finite_or_zero(group_reduce<Max, GROUP>(m));
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int) {
      s[i] = (s[i] - m) * scale;  // (2)
      const T e = exp(s[i]);      // (3)
      z += e;
      if (!log_) s[i] = e;
    });
    z = group_reduce<Sum, GROUP>(z);  // (4)
    if (z == 0) z = 1;                // a row that keeps nothing: 0/1, not 0/0
    const T a = log_ ? log(z) : 1 / z;
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int) { s[i] = log_ ? s[i] - a : s[i] * a; });  // (6) (5)
    store_row<GROUP, ITEMS, WIDTH>(y + n * C, s, t, C);
  });
}

// Rows of any length, by a block each: the maximum so far, and the sum of exponentials relative to it.
template <typename T, int GROUP>
__global__ void __launch_bounds__(GROUP, 1)
    softmax_forward_long(T* __restrict__ y /* (N, C) */, const T* __restrict__ x /* (N, C) */, const bool* keep,
                         int keep_row, int keep_column, long long N, int C, T scale, bool log_) {
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    T m = -infinity<T>(), z = 0;
    for (int c = threadIdx.x; c < C; c += GROUP) {
      const T s = kept(n, c) ? x[n * C + c] : -infinity<T>();  // (1)
      if (s > m) {
        z = z == 0 ? T(0) : z * exp((m - s) * scale);
        m = s;
      }
      if (s != -infinity<T>()) z += exp((s - m) * scale);  // (3); NaN stays NaN
    }
    const T top = finite_or_zero(group_reduce<Max, GROUP>(m));
    z = group_reduce<Sum, GROUP>(z == 0 ? T(0) : z * exp((m - top) * scale));  // (4)
    if (z == 0) z = 1;
    const T a = log_ ? log(z) : 1 / z;
    for (int c = threadIdx.x; c < C; c += GROUP) {
      const T s = ((kept(n, c) ? x[n * C + c] : -infinity<T>()) - top) * scale;  // (2)
      y[n * C + c] = log_ ? s - a : exp(s) * a;                                  // (6) (5)
    }
  });
}

// dx of one place: from dy and y there, and the sum over the row.
template <typename T>
__device__ __forceinline__ T gradient(T dy, T y, T sum, T scale, bool log_) {
  const T p = log_ ? exp(y) : y;  // (8)
  return log_ ? (dy - p * sum) * scale : p * (dy - sum) * scale;  // (10) (7)
}

template <typename T, int GROUP, int ITEMS, int WIDTH>
__global__ void __launch_bounds__(GROUP < 128 ? 128 : GROUP, 1)
    softmax_backward(T* __restrict__ dx /* (N, C) */, const T* __restrict__ dy /* (N, C) */,
                     const T* __restrict__ y /* (N, C) */, const bool* keep, int keep_row, int keep_column, long long N,
                     int C, T scale, bool log_) {
  const int t = threadIdx.x % GROUP;
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    T g[ITEMS], p[ITEMS], sum = 0;
    load_row<GROUP, ITEMS, WIDTH>(g, dy + n * C, t, C);
    load_row<GROUP, ITEMS, WIDTH>(p, y + n * C, t, C);
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int c) {
      if (log_ && !kept(n, c)) g[i] = 0;  // (9)
      sum += log_ ? g[i] : g[i] * p[i];
    });
    sum = group_reduce<Sum, GROUP>(sum);
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int) { g[i] = gradient(g[i], p[i], sum, scale, log_); });
    store_row<GROUP, ITEMS, WIDTH>(dx + n * C, g, t, C);
  });
}

template <typename T, int GROUP>
__global__ void __launch_bounds__(GROUP, 1)
    softmax_backward_long(T* __restrict__ dx /* (N, C) */, const T* __restrict__ dy /* (N, C) */,
                          const T* __restrict__ y /* (N, C) */, const bool* keep, int keep_row, int keep_column,
                          long long N, int C, T scale, bool log_) {
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    T sum = 0;
    for (int c = threadIdx.x; c < C; c += GROUP)
      if (!log_ || kept(n, c)) sum += log_ ? dy[n * C + c] : dy[n * C + c] * y[n * C + c];
    sum = group_reduce<Sum, GROUP>(sum);
    for (int c = threadIdx.x; c < C; c += GROUP) {
      const T g = log_ && !kept(n, c) ? T(0) : dy[n * C + c];  // (9)
      dx[n * C + c] = gradient(g, y[n * C + c], sum, scale, log_);
    }
  });
}
