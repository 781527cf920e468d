// What becomes of a product before it is written: bias, activation, residual. README.md has the equations.
#pragma once
#include "../common/rows.cuh"

enum Activation { none, relu, gelu, gelu_tanh };  // the order of reference.py's ACTIVATIONS

template <typename T>
constexpr T tanh_scale = T(0.79788456080286535588);  // β of the tanh form
template <typename T>
constexpr T tanh_cubic = T(0.044715);  // α

template <typename T>
__device__ __forceinline__ T normal_cdf(T z) {
  return T(0.5) + T(0.5) * erf(z * T(0.70710678118654752440));
}

// g(z)
template <typename T>
__device__ __forceinline__ T activate(T z, int activation) {
  if (activation == relu) return z < 0 ? T(0) : z;       // (5)
  if (activation == gelu) return z * normal_cdf(z);      // (6)
  if (activation == gelu_tanh)                           // (7)
    return T(0.5) * z * (1 + tanh(tanh_scale<T> * z * (1 + tanh_cubic<T> * z * z)));
  return z;
}

// g'(z)
template <typename T>
__device__ __forceinline__ T slope(T z, int activation) {
  if (activation == relu) return z > 0 ? T(1) : T(0);                                                    // (9)
  if (activation == gelu) return normal_cdf(z) + z * exp(T(-0.5) * z * z) * T(0.39894228040143267794);  // (10)
  if (activation == gelu_tanh) {
    const T z2 = z * z, th = tanh(tanh_scale<T> * z * (1 + tanh_cubic<T> * z2));
    const T du = tanh_scale<T> * (1 + 3 * tanh_cubic<T> * z2);
    return T(0.5) * (1 + th + z * (1 - th * th) * du);  // (11)
  }
  return 1;
}

template <typename T>
struct Epilogue {
  using A = arithmetic<T>;
  T* y;               // (M, N)
  T* z;               // (M, N), kept for the gradient; or null
  const T* bias;      // (N,) or null
  const T* residual;  // (M, N) or null
  int activation;

  __device__ __forceinline__ void write(A sum, long long at, int n) const {
    const A before = bias ? sum + static_cast<A>(bias[n]) : sum;  // (2)
    if (z) z[at] = static_cast<T>(before);
    const A after = activate(before, activation);  // (3)
    y[at] = static_cast<T>(residual ? after + static_cast<A>(residual[at]) : after);  // (4)
  }
};
