// Softmax and log-softmax over the rows of (N, C). README.md has the equations.
//
// A row of up to GROUP x ITEMS columns is read once, kept in registers, and written once: a warp has a row of up to
// 2 KiB, a block of 512 threads one of up to 32 KiB, a cluster of 2, 4 or 8 such blocks one of up to 512 KiB. Longer
// rows are read twice: once for the maximum and the sum of exponentials, and once for the result. Memory moves 2 N C
// numbers forward (3 for long rows) and 3 N C backward (5).
// Each thread finds the maximum and the sum of its own columns, and the group brings them together in one exchange.
//
// keep[n * keep_row + c * keep_column] is the mask, strides 0 where it has one row or one column; null: all are kept.
#include "../common/exponentials.cuh"

struct Mask {
  const bool* keep;
  int keep_row, keep_column;
  __device__ __forceinline__ bool operator()(long long n, int c) const {
    return !keep || keep[n * keep_row + static_cast<long long>(c) * keep_column];
  }
};

template <typename S, int GROUP, int ITEMS, int WIDTH>
__global__ void __launch_bounds__(block_of<GROUP>, resident<S, ITEMS>) __cluster_dims__(cluster_of<GROUP>)
    softmax_forward(S* __restrict__ y /* (N, C) */, const S* __restrict__ x /* (N, C) */, const bool* keep,
                    int keep_row, int keep_column, long long N, int C, arithmetic<S> scale, bool log_) {
  using T = arithmetic<S>;
  const int t = group_thread<GROUP>();
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    T s[ITEMS];
    Exponentials<T> own;
    load_row<GROUP, ITEMS, WIDTH>(s, x + n * C, t, C);
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int c) {
      if (!kept(n, c)) s[i] = -infinity<T>();  // (1)
      own.m = Max::of(own.m, s[i]);
    });
    const T m = finite_or_zero(own.m);
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int) {
      const T e = exp((s[i] - m) * scale);  // (2) (3)
      own.z += e;
      if (!log_) s[i] = e;
    });
    const Exponentials<T> row = group_exponentials<GROUP>(own, scale);  // (4)
    const T z = row.z == 0 ? T(1) : row.z;                               // a row that keeps nothing: 0/1, not 0/0
    const T a = log_ ? log(z) : exp((m - row.m) * scale) / z;
    for_items<GROUP, ITEMS, WIDTH>(t, C, [&](int i, int) {
      if (log_) s[i] = (s[i] - row.m) * scale - a;  // (6)
      else if (s[i] != 0) s[i] *= a;                // (5); a thread that keeps nothing has no m, so no a
    });
    store_row<GROUP, ITEMS, WIDTH>(y + n * C, s, t, C);
  });
}

// Rows of any length.
template <typename S, int GROUP>
__global__ void __launch_bounds__(block_of<GROUP>, 1) __cluster_dims__(cluster_of<GROUP>)
    softmax_forward_long(S* __restrict__ y /* (N, C) */, const S* __restrict__ x /* (N, C) */, const bool* keep,
                         int keep_row, int keep_column, long long N, int C, arithmetic<S> scale, bool log_) {
  using T = arithmetic<S>;
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    Exponentials<T> own;
    for (int c = group_thread<GROUP>(); c < C; c += GROUP)
      own.add(kept(n, c) ? static_cast<T>(x[n * C + c]) : -infinity<T>(), scale);  // (1)
    const Exponentials<T> row = group_exponentials<GROUP>(own, scale);             // (3) (4)
    const T z = row.z == 0 ? T(1) : row.z;
    const T a = log_ ? log(z) : 1 / z;
    for (int c = group_thread<GROUP>(); c < C; c += GROUP) {
      const T s = ((kept(n, c) ? static_cast<T>(x[n * C + c]) : -infinity<T>()) - row.m) * scale;  // (2)
      y[n * C + c] = static_cast<S>(log_ ? s - a : exp(s) * a);                                    // (6) (5)
    }
  });
}

// dx of one place: from dy and y there, and the sum over the row.
template <typename T>
__device__ __forceinline__ T gradient(T dy, T y, T sum, T scale, bool log_) {
  const T p = log_ ? exp(y) : y;  // (8)
  return log_ ? (dy - p * sum) * scale : p * (dy - sum) * scale;  // (10) (7)
}

template <typename S, int GROUP, int ITEMS, int WIDTH>
__global__ void __launch_bounds__(block_of<GROUP>, resident<S, 2 * ITEMS>) __cluster_dims__(cluster_of<GROUP>)
    softmax_backward(S* __restrict__ dx /* (N, C) */, const S* __restrict__ dy /* (N, C) */,
                     const S* __restrict__ y /* (N, C) */, const bool* keep, int keep_row, int keep_column, long long N,
                     int C, arithmetic<S> scale, bool log_) {
  using T = arithmetic<S>;
  const int t = group_thread<GROUP>();
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

template <typename S, int GROUP>
__global__ void __launch_bounds__(block_of<GROUP>, 1) __cluster_dims__(cluster_of<GROUP>)
    softmax_backward_long(S* __restrict__ dx /* (N, C) */, const S* __restrict__ dy /* (N, C) */,
                          const S* __restrict__ y /* (N, C) */, const bool* keep, int keep_row, int keep_column,
                          long long N, int C, arithmetic<S> scale, bool log_) {
  using T = arithmetic<S>;
  const Mask kept{keep, keep_row, keep_column};
  for_rows<GROUP>(N, [&](long long n) {
    const auto cotangent = [&](int c) { return log_ && !kept(n, c) ? T(0) : static_cast<T>(dy[n * C + c]); };  // (9)
    T sum = 0;
    for (int c = group_thread<GROUP>(); c < C; c += GROUP)
      sum += log_ ? cotangent(c) : cotangent(c) * static_cast<T>(y[n * C + c]);
    sum = group_reduce<Sum, GROUP>(sum);
    for (int c = group_thread<GROUP>(); c < C; c += GROUP)
      dx[n * C + c] = static_cast<S>(gradient(cotangent(c), static_cast<T>(y[n * C + c]), sum, scale, log_));
  });
}
