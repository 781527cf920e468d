// Dropout's mask (E16): entry i is true where word offset + i of the seed's stream is at least p 2^32. A thread has the
// four words of a block; four entries that lie in the array go out as one store of 4 bytes.
#include "philox.cuh"

__global__ void __launch_bounds__(256)
    keep_mask(bool* keep /* (n,) */, long long n, unsigned long long seed, unsigned long long offset,
              unsigned long long threshold /* p 2^32 */) {
  const unsigned long long first = offset / 4;
  const long long phase = static_cast<long long>(offset % 4), blocks = (phase + n + 3) / 4;
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long b = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; b < blocks; b += stride) {
    const Words words = philox(first + b, seed);
    const long long i = 4 * b - phase;  // the block's first entry
    if (phase == 0 && i + 4 <= n) {
      unsigned four = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) four |= static_cast<unsigned>(words.w[j] >= threshold) << 8 * j;
      *reinterpret_cast<unsigned*>(keep + i) = four;
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (0 <= i + j && i + j < n) keep[i + j] = words.w[j] >= threshold;
    }
  }
}
