// The maximum of a row and its sum of exponentials, found together by a group of threads: each thread has both for its
// own columns, relative to its own maximum, and one exchange brings them together. rows.cuh says what a group is.
#pragma once
#include "rows.cuh"

template <typename T>
__device__ __forceinline__ T finite_or_zero(T m) {
  return m == infinity<T>() || m == -infinity<T>() ? T(0) : m;  // a row that keeps nothing has no maximum
}

// m = max s, z = Σ exp((s - finite_or_zero(m)) scale) over some columns; over none of them -∞ and 0.
template <typename T>
struct Exponentials {
  T m = -infinity<T>(), z = 0;

  // One value more, in one pass over the values: what was summed is scaled whenever the maximum grows.
  __device__ __forceinline__ void add(T s, T scale) {
    if (s > m) {
      z = relative_to(s, scale);
      m = s;
    }
    if (s != -infinity<T>()) z += exp((s - finite_or_zero(m)) * scale);  // NaN stays NaN
  }

  __device__ __forceinline__ T relative_to(T top, T scale) const {
    return z == 0 ? T(0) : z * exp((finite_or_zero(m) - finite_or_zero(top)) * scale);
  }
};

template <typename T>
__device__ __forceinline__ Exponentials<T> warp_exponentials(Exponentials<T> own, T scale) {
  const T m = warp_reduce<Max>(own.m);
  return {m, warp_reduce<Sum>(own.relative_to(m, scale))};
}

template <int GROUP, typename T>
__device__ __forceinline__ Exponentials<T> group_exponentials(Exponentials<T> own, T scale) {
  Exponentials<T> all = warp_exponentials(own, scale);
  if constexpr (GROUP > 32) {
    Exponentials<T> some;
    for_warps<GROUP>(all, [&](const Exponentials<T>& of_warp) {
      const T m = Max::of(some.m, of_warp.m);
      some = {m, some.relative_to(m, scale) + of_warp.relative_to(m, scale)};
    });
    all = warp_exponentials(some, scale);
  }
  return {finite_or_zero(all.m), all.z};
}
