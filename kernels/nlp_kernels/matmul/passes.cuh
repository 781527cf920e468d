// The passes over all of y that follow a product, or go before its gradient. README.md has the equations.
#pragma once
#include "epilogue.cuh"

// The sums of blocks that have shared K, in order, and what follows them.
template <typename T>
__global__ void finish(T* y /* (M, N) */, T* z /* (M, N) */,
                       const arithmetic<T>* __restrict__ partial /* (splits, size) */, const T* bias /* (N,) */,
                       const T* residual /* (M, N) */, long long size, int N, int splits, int activation) {
  const Epilogue<T> epilogue{y, z, bias, residual, activation};
  for (long long at = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; at < size;
       at += static_cast<long long>(gridDim.x) * blockDim.x) {
    arithmetic<T> sum = 0;
    for (int split = 0; split < splits; split++) sum += partial[split * size + at];
    epilogue.write(sum, at, static_cast<int>(at % N));
  }
}

// dz; the gradient of the residual is dy itself (15)
template <typename T>
__global__ void slopes(T* __restrict__ dz /* (size,) */, const T* __restrict__ dy /* (size,) */,
                       const T* __restrict__ z /* (size,) */, long long size, int activation) {
  using A = arithmetic<T>;
  for (long long at = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; at < size;
       at += static_cast<long long>(gridDim.x) * blockDim.x)
    dz[at] = static_cast<T>(static_cast<A>(dy[at]) * slope(static_cast<A>(z[at]), activation));  // (8)
}
