// What a card can do at most, to hold kernels against: bytes copied, bytes read, multiply-adds. And two kernels for the
// clock: one that does nothing, whose time is that of a launch, and one that holds the card up.
//
// An access moves 16 bytes, and a thread has FLIGHT of them under way. A grid of any size goes round; whether it should
// have a block for each tile or as many as the card runs at once is the launcher's to try.
#include "../../kernels/nlp_kernels/common/rows.cuh"

template <typename T, int THREADS, int FLIGHT>
__global__ void __launch_bounds__(THREADS)
    copied(T* __restrict__ y /* (n,) */, const T* __restrict__ x /* (n,) */, long long n) {
  using Piece = Vector<T, 16 / sizeof(T)>;
  const auto* from = reinterpret_cast<const Piece*>(x);
  auto* to = reinterpret_cast<Piece*>(y);
  const long long pieces = n / (16 / static_cast<int>(sizeof(T))), tile = THREADS * FLIGHT;
  for (long long i = blockIdx.x * tile + threadIdx.x; i < pieces; i += gridDim.x * tile) {
    Piece held[FLIGHT];
#pragma unroll
    for (int j = 0; j < FLIGHT; j++)
      if (i + j * THREADS < pieces) held[j] = from[i + j * THREADS];
#pragma unroll
    for (int j = 0; j < FLIGHT; j++)
      if (i + j * THREADS < pieces) to[i + j * THREADS] = held[j];
  }
}

// The sum of what each block read.
template <typename T, int THREADS, int FLIGHT>
__global__ void __launch_bounds__(THREADS)
    summed(T* __restrict__ y /* (blocks,) */, const T* __restrict__ x /* (n,) */, long long n) {
  constexpr int WIDTH = 16 / sizeof(T);
  using Piece = Vector<T, WIDTH>;
  const auto* from = reinterpret_cast<const Piece*>(x);
  const long long pieces = n / WIDTH, tile = THREADS * FLIGHT;
  T sum = 0;
  for (long long i = blockIdx.x * tile + threadIdx.x; i < pieces; i += gridDim.x * tile) {
    Piece held[FLIGHT];
#pragma unroll
    for (int j = 0; j < FLIGHT; j++) held[j] = i + j * THREADS < pieces ? from[i + j * THREADS] : Piece{};
#pragma unroll
    for (int j = 0; j < FLIGHT; j++)
#pragma unroll
      for (int k = 0; k < WIDTH; k++) sum += held[j].v[k];
  }
  sum = group_reduce<Sum, THREADS>(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

// CHAINS independent multiply-adds a thread, `turns` times: latency times throughput, and all of them in registers.
template <typename T, int CHAINS>
__global__ void multiplied(T* __restrict__ y /* (threads,) */, T a, T b, int turns) {
  T v[CHAINS];
#pragma unroll
  for (int j = 0; j < CHAINS; j++) v[j] = static_cast<T>(threadIdx.x + j);
  for (int i = 0; i < turns; i++)
#pragma unroll
    for (int j = 0; j < CHAINS; j++) v[j] = v[j] * a + b;
  T sum = 0;
#pragma unroll
  for (int j = 0; j < CHAINS; j++) sum += v[j];
  y[blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x] = sum;
}

__global__ void nothing() {}

// As long as so many steps take that wait for each other: until the host has queued what is to be timed.
__global__ void held_up(unsigned* __restrict__ y /* (1,) */, long long turns) {
  unsigned v = static_cast<unsigned>(turns);
  for (long long i = 0; i < turns; i++) v = v * 1664525u + 1013904223u;
  *y = v;
}
