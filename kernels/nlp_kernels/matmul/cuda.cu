// y = g(a b + bias) + residual for float and double, on CUDA cores. README.md has the equations.
//
// A block of 256 threads has a TILE x TILE part of y and goes along K in steps of 16, or 8. The parts of a and b that a step
// needs come from global memory to registers while the step before is computed, then to the other of two buffers in
// shared memory: one barrier a step. A thread has PER x PER sums; it reads PER numbers of each part for PER² products.
// Its rows and columns come in groups of four, 16 bytes of shared memory, the warp's next to each other: eight lanes
// lie side by side along N, four along M.
//
// In shared memory both parts lie with K as the slow axis, so a matrix is taken as it comes, transposed or not: BY_K
// says along which axis it is contiguous. Accesses are of WIDTH numbers where the matrix allows it, else of one.
//
// Where y has fewer tiles than the GPU has processors, blocks share K: each writes its sums to `partial`, and `finish`
// adds them up in order. `sums` are those of the columns of b (or the rows of a), taken from the parts on the way.
// The residual's gradient (15) is dy as it is. The grid's y and z are a stack's.
#include "batches.cuh"
#include "passes.cuh"

constexpr int threads = 256;
template <int TILE>
constexpr int step_of = 1024 / TILE;  // a thread carries four numbers of each part

// The part of a matrix for one step, TILE by STEP: what this thread carries of it.
template <typename T, int TILE, bool BY_K, int WIDTH>
struct Part {
  static constexpr int STEP = step_of<TILE>, VALUES = TILE * STEP / threads, PITCH = TILE + 4;
  T value[VALUES];

  // Where the i-th access of this thread is in the part.
  static __device__ __forceinline__ void place(int i, int& row, int& k) {
    const int at = (threadIdx.x + i * threads) * WIDTH;
    row = BY_K ? at / STEP : at % TILE;
    k = BY_K ? at % STEP : at / TILE;
  }

  __device__ __forceinline__ void load(const T* matrix, long long stride, int first, int rows, int k0, int K) {
#pragma unroll
    for (int i = 0; i < VALUES / WIDTH; i++) {
      int row, k;
      place(i, row, k);
      row += first, k += k0;
      Vector<T, WIDTH> vector = {};  // zeros beyond the edges
      if (row < rows && k < K) {
        const T* from = matrix + (BY_K ? row * stride + k : k * stride + row);
        vector = *reinterpret_cast<const Vector<T, WIDTH>*>(from);
      }
#pragma unroll
      for (int j = 0; j < WIDTH; j++) value[i * WIDTH + j] = vector.v[j];
    }
  }

  __device__ __forceinline__ void store(T (&shared)[STEP][PITCH]) const {
#pragma unroll
    for (int i = 0; i < VALUES / WIDTH; i++) {
      int row, k;
      place(i, row, k);
#pragma unroll
      for (int j = 0; j < WIDTH; j++) shared[BY_K ? k + j : k][BY_K ? row : row + j] = value[i * WIDTH + j];
    }
  }
};

// PER numbers of a row of shared memory, in groups of four, `apart` from each other.
template <int PER, typename T>
__device__ __forceinline__ void take(T (&v)[PER], const T* row, int apart) {
#pragma unroll
  for (int i = 0; i < PER; i += 4) {
    const auto four = *reinterpret_cast<const Vector<T, 4>*>(row + i / 4 * apart);
#pragma unroll
    for (int j = 0; j < 4; j++) v[i + j] = four.v[j];
  }
}

template <typename T, int TILE, bool A_BY_K, bool B_BY_K, int WIDTH>
__global__ void __launch_bounds__(threads, WIDTH > 1 ? 2 : 1)
    matmul(T* y /* (batch, M, N) */, T* z /* (batch, M, N) */, T* partial /* (splits, size) */,
           T* sums /* (splits, N or M) */, const T* __restrict__ a /* (batch, M, K) */,
           const T* __restrict__ b /* (batch, K, N) */, const T* bias /* (N,) */,
           const T* residual /* (batch, M, N) */, Batches batches, long long a_stride, long long b_stride,
           long long size, int M, int N, int K, int share, int activation, bool sums_of_a) {
  constexpr int PER = TILE / 16, STEP = step_of<TILE>;
  using A = Part<T, TILE, A_BY_K, WIDTH>;
  using B = Part<T, TILE, B_BY_K, WIDTH>;
  __shared__ alignas(32) T a_part[2][STEP][A::PITCH], b_part[2][STEP][B::PITCH];
  if (batches.here() >= batches.count) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row = warp / 2 * (TILE / 4) + lane / 8 * 4, column = warp % 2 * (TILE / 2) + lane % 8 * 4;
  const int tiles_m = (M + TILE - 1) / TILE, tiles = tiles_m * ((N + TILE - 1) / TILE);
  const int index = blockIdx.x, split = index / tiles;
  const int m0 = index % tiles_m * TILE, n0 = index % tiles / tiles_m * TILE;
  const int first = split * share, last = min(K, first + share);
  const bool sums_here = sums && (sums_of_a ? n0 : m0) == 0 && threadIdx.x < TILE;
  a += batches.of_a(), b += batches.of_b();

  T sum[PER][PER] = {}, part_sum = 0;
  A a_next;
  B b_next;
  a_next.load(a, a_stride, m0, M, first, last);
  b_next.load(b, b_stride, n0, N, first, last);
  for (int k0 = first, now = 0; k0 < last; k0 += STEP, now ^= 1) {
    a_next.store(a_part[now]);
    b_next.store(b_part[now]);
    __syncthreads();  // the other buffer was read before the last one of these
    if (k0 + STEP < last) {
      a_next.load(a, a_stride, m0, M, k0 + STEP, last);
      b_next.load(b, b_stride, n0, N, k0 + STEP, last);
    }
#pragma unroll
    for (int k = 0; k < STEP; k++) {
      T of_a[PER], of_b[PER];
      take(of_a, &a_part[now][k][row], 16);
      take(of_b, &b_part[now][k][column], 32);
#pragma unroll
      for (int i = 0; i < PER; i++)
#pragma unroll
        for (int j = 0; j < PER; j++) sum[i][j] += of_a[i] * of_b[j];  // (1) (12) (13)
    }
    if (sums_here)
      for (int k = 0; k < STEP; k++) part_sum += sums_of_a ? a_part[now][k][threadIdx.x] : b_part[now][k][threadIdx.x];
  }

  const int at_sum = (sums_of_a ? m0 : n0) + threadIdx.x, sums_there = sums_of_a ? M : N;
  if (sums_here && at_sum < sums_there) sums[static_cast<long long>(split) * sums_there + at_sum] = part_sum;  // (14)
  // One row of each lane at a time, 16 in all, goes through shared memory, so that neighbours write neighbours.
  const Epilogue<T> epilogue{y, z, bias, residual, activation};
  T* rows = a_part[0][0];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    __syncthreads();  // what was there has been read
#pragma unroll
    for (int j = 0; j < PER; j++) rows[(warp / 2 * 4 + lane / 8) * TILE + column + j / 4 * 32 + j % 4] = sum[i][j];
    __syncthreads();
#pragma unroll 1
    for (int at = threadIdx.x; at < 16 * TILE; at += threads) {
      const int r = at / TILE, n = n0 + at % TILE, m = m0 + r / 4 * (TILE / 4) + r % 4 * 4 + i / 4 * 16 + i % 4;
      if (m >= M || n >= N) continue;
      const long long to = (static_cast<long long>(batches.here()) * M + m) * N + n;
      if (partial) partial[split * size + to] = rows[at];
      else epilogue.write(rows[at], to, n);
    }
  }
}
