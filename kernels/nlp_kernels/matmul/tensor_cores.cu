// y = g(a b + bias) + residual on tensor cores, of bfloat16 and of float in three parts (sm_80). README.md has the
// equations.
//
// A block of 2 TILE threads has a TILE x TILE part of y, a warp TILE / 2 x 32 of that, in registers. It goes along K in
// steps of 32. The parts of a and b that a step needs come by cp.async into the next stage of a ring while the steps
// before are computed: one barrier a step, which also says that the stage about to be written has been read.
//
// tensor cores multiply bfloat16, so `split` writes a float as three planes, x = hi + mid + lo, and a step multiplies
// the six pairs of planes that matter, the small ones first.
//
// Matrices are taken as they lie, along K or across it (BY_K): ldmatrix turns 8 x 8 numbers around on the way to the
// registers. Blocks share K, and products of stacks a grid, as in cuda.cu; `sums` are those of the columns of b, or the
// rows of a.
#include "batches.cuh"
#include "passes.cuh"

using Half = unsigned short;  // the bits of a bfloat16

constexpr int STEP = 32;  // of K at a time
template <typename T>
constexpr int planes_of = sizeof(T) == 4 ? 3 : 1;
template <typename T>
constexpr int stages_of = planes_of<T> == 1 ? 3 : 2;  // six pairs take long enough to wait for one stage only

__device__ __forceinline__ float number(Half bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }

// A matrix's part for one step, TILE rows by 32 of K, in chunks of 16 bytes. Eight lanes at a time go to shared memory,
// and no two of them to the same of its eight 16-byte columns:
//   BY_K, rows of 4 chunks, two rows to 128 bytes: chunk c of row r is at c ^ (r / 2 % 4). ldmatrix takes chunk c of
//     rows r … r + 7: r % 2 says which half of the 128 bytes, r / 2 runs through 0 … 3, and so does c ^ (r / 2 % 4).
//   else, rows of TILE / 8 chunks for each k, a multiple of 128 bytes: chunk c of k is at c ^ (k % 8). ldmatrix takes
//     chunk c of k … k + 7, whose c ^ (k % 8) differ in the lower three bits.
// Copies arrive by whole rows of chunks, or two of them, which a swizzle only permutes.
template <int TILE, bool BY_K>
struct Part {
  static constexpr int SIZE = TILE * STEP, THREADS = 2 * TILE;

  static __device__ __forceinline__ int place(int row, int k) {
    if constexpr (BY_K) return row * STEP + (k / 8 ^ row / 2 % 4) * 8 + k % 8;
    else return k * TILE + (row / 8 ^ k % 8) * 8 + row % 8;
  }

  static __device__ __forceinline__ void load(Half* part, const Half* matrix, long long stride, int first, int rows,
                                              int k0, int K) {
#pragma unroll
    for (int i = 0; i < SIZE / 8 / THREADS; i++) {
      const int at = threadIdx.x + i * THREADS;
      const int row = BY_K ? at / 4 : at % (TILE / 8) * 8, k = BY_K ? at % 4 * 8 : at / (TILE / 8);
      const bool present = first + row < rows && k0 + k < K;  // zeros beyond the edges
      const long long along = BY_K ? k0 + k : first + row, across = BY_K ? first + row : k0 + k;
      ptx::copy_async<16>(part + place(row, k), matrix + (present ? across * stride + along : 0), present);
    }
  }

  // 16 rows by 16 of K as four pieces of 8 x 8: rows < 8 and >= 8 of k < 8, then of k >= 8.
  static __device__ __forceinline__ void pieces(unsigned (&r)[4], const Half* part, int row, int k) {
    const int lane = threadIdx.x % 32, k_half = k + lane / 16 * 8;
    if constexpr (BY_K) ptx::ldmatrix(r, part + place(row + lane % 16, k_half));
    else ptx::ldmatrix_transposed(r, part + place(row + lane / 8 % 2 * 8, k_half + lane % 8));
  }
};

// sum += a b of a stage: what this warp has of it.
template <int PLANES, int TILE, bool A_BY_K, bool B_BY_K>
__device__ __forceinline__ void multiply(float (&sum)[TILE / 32][4][4], const Half* stage) {
  using A = Part<TILE, A_BY_K>;
  using B = Part<TILE, B_BY_K>;
  const int warp = threadIdx.x / 32, row = warp % 2 * (TILE / 2), column = warp / 2 * 32;
#pragma unroll(PLANES == 1 ? 2 : 1)
  for (int k = 0; k < STEP; k += 16) {
    unsigned right[PLANES][2][4];
#pragma unroll
    for (int p = 0; p < PLANES; p++)
#pragma unroll
      for (int j = 0; j < 2; j++) B::pieces(right[p][j], stage + (PLANES + p) * B::SIZE, column + 16 * j, k);
#pragma unroll
    for (int i = 0; i < TILE / 32; i++) {
      unsigned left[PLANES][4];
#pragma unroll
      for (int p = 0; p < PLANES; p++) A::pieces(left[p], stage + p * A::SIZE, row + 16 * i, k);
      // Tensor cores cut off what a sum has no room for. The six products have their own, of 16 numbers each, and the
      // sum over all of K is one of rounded additions.
      float own[4][4] = {};
      auto& to = PLANES == 1 ? sum[i] : own;
#pragma unroll
      for (int order = PLANES - 1; order >= 0; order--)  // hi lo, mid mid, lo hi; hi mid, mid hi; hi hi
#pragma unroll
        for (int p = 0; p <= order; p++)
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const unsigned(&four)[4] = right[order - p][j / 2];
            ptx::mma_bf16(to[j], left[p], {four[j % 2], four[j % 2 + 2]});  // (1) (12) (13)
          }
      if constexpr (PLANES > 1)
#pragma unroll
        for (int j = 0; j < 16; j++) sum[i][j / 4][j % 4] += own[j / 4][j % 4];
    }
  }
}

// Bands of eight rows of tiles, and within a band column by column: blocks that run at once read the same parts.
__device__ __forceinline__ void tile_of(int index, int tiles_m, int tiles_n, int& m, int& n) {
  const int band = index / (8 * tiles_n), in_band = index % (8 * tiles_n), rows = min(8, tiles_m - band * 8);
  m = band * 8 + in_band % rows, n = in_band / rows;
}

// The sum of a row of a, or a column of b, over a step, in float.
template <int PLANES, typename P>
__device__ __forceinline__ float sum_of_step(const Half* part, int row) {
  float sum = 0;
#pragma unroll 4
  for (int k = 0; k < STEP; k++) {
    float all = 0;
#pragma unroll
    for (int p = PLANES - 1; p >= 0; p--) all += number(part[p * P::SIZE + P::place(row, k)]);
    sum += all;
  }
  return sum;
}

// f(number, row, column) for a block's sums. 16 rows of each warp go through shared memory, so that neighbours
// write neighbours; eight more columns to a row, and the numbers of rows r … r + 3 lie in other banks.
template <int TILE, typename F>
__device__ __forceinline__ void write_out(float* rows, const float (&sum)[TILE / 32][4][4], int m0, int n0, int M,
                                          int N, F f) {
  constexpr int PITCH = TILE + 8;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
  for (int i = 0; i < TILE / 32; i++) {
    __syncthreads();  // what was there has been read
#pragma unroll
    for (int j = 0; j < TILE / 2; j += 2)
      if (j / 16 == i) {  // registers have no index
        const float* of = sum[j / 16][j / 4 % 4];
        const int r = warp % 2 * 16 + j % 4 * 4 + lane / 4, column = warp / 2 * 32 + j / 4 % 4 * 8 + lane % 4 * 2;
        *reinterpret_cast<Vector<float, 2>*>(rows + r * PITCH + column) = {of[j % 4], of[j % 4 + 1]};
      }
    __syncthreads();
#pragma unroll 1
    for (int at = threadIdx.x; at < 32 * TILE; at += 2 * TILE) {
      const int r = at / TILE, n = n0 + at % TILE, m = m0 + r / 16 * (TILE / 2) + 16 * i + r % 16;
      if (m < M && n < N) f(rows[r * PITCH + at % TILE], m, n);
    }
  }
}

// `a` and `b` are bits of bfloat16, a number of T in one plane or three, `…_plane` apart.
template <typename T, int TILE, bool A_BY_K, bool B_BY_K>
__global__ void __launch_bounds__(2 * TILE, planes_of<T> == 1 ? 2 : 1)
    product(T* y /* (batch, M, N) */, T* z /* (batch, M, N) */, float* partial /* (splits, size) */,
            float* sums /* (splits, N or M) */, const Half* __restrict__ a /* (planes, batch, M, K) */,
            const Half* __restrict__ b /* (planes, batch, K, N) */, const T* bias /* (N,) */,
            const T* residual /* (batch, M, N) */, Batches batches, long long a_plane, long long b_plane,
            long long a_stride, long long b_stride, long long size, int M, int N, int K, int share, int activation,
            bool sums_of_a) {
  if (batches.here() >= batches.count) return;
  constexpr int PLANES = planes_of<T>, STAGES = stages_of<T>;
  using A = Part<TILE, A_BY_K>;
  using B = Part<TILE, B_BY_K>;
  constexpr int STAGE = PLANES * (A::SIZE + B::SIZE);
  extern __shared__ __align__(128) Half ring[];  // (STAGES, planes of a, planes of b)
  const int tiles_m = (M + TILE - 1) / TILE, tiles_n = (N + TILE - 1) / TILE, tiles = tiles_m * tiles_n;
  int tile_m, tile_n;
  tile_of(blockIdx.x % tiles, tiles_m, tiles_n, tile_m, tile_n);
  a += batches.of_a(), b += batches.of_b();
  const int m0 = tile_m * TILE, n0 = tile_n * TILE, split = blockIdx.x / tiles;
  const int first = split * share, last = min(K, first + share), steps = (last - first + STEP - 1) / STEP;
  const bool sums_here = sums && (sums_of_a ? tile_n : tile_m) == 0 && threadIdx.x < TILE;

  const auto load = [&](int step) {
    Half* stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int p = 0; p < PLANES && step < steps; p++) {
      A::load(stage + p * A::SIZE, a + p * a_plane, a_stride, m0, M, first + step * STEP, last);
      B::load(stage + (PLANES + p) * B::SIZE, b + p * b_plane, b_stride, n0, N, first + step * STEP, last);
    }
    ptx::copy_commit();  // an empty group, too, keeps the count
  };

  float sum[TILE / 32][4][4] = {}, part_sum = 0;
  for (int step = 0; step < STAGES - 1; step++) load(step);
  for (int step = 0; step < steps; step++) {
    ptx::copy_wait<STAGES - 2>();
    __syncthreads();  // this step's stage is there for all, and the one before has been read
    load(step + STAGES - 1);
    const Half* stage = ring + step % STAGES * STAGE;
    multiply<PLANES, TILE, A_BY_K, B_BY_K>(sum, stage);
    if (sums_here)
      part_sum += sums_of_a ? sum_of_step<PLANES, A>(stage, threadIdx.x)
                            : sum_of_step<PLANES, B>(stage + PLANES * A::SIZE, threadIdx.x);
  }

  const int at_sum = (sums_of_a ? m0 : n0) + threadIdx.x, sums_there = sums_of_a ? M : N;
  if (sums_here && at_sum < sums_there) sums[static_cast<long long>(split) * sums_there + at_sum] = part_sum;  // (14)
  const Epilogue<T> epilogue{y, z, bias, residual, activation};
  write_out<TILE>(reinterpret_cast<float*>(ring), sum, m0, n0, M, N, [&](float value, int m, int n) {
    const long long to = (static_cast<long long>(batches.here()) * M + m) * N + n;
    if (partial) partial[split * size + to] = value;
    else epilogue.write(value, to, n);
  });
}

// A matrix as planes of bfloat16, each the nearest to what those before it leave; rows padded with zeros to a multiple
// of 16 bytes. Of bfloat16 it is a copy. WIDTH > 1 is for columns that lie side by side.
template <typename T, int WIDTH>
__global__ void split(Half* __restrict__ planes /* (planes, rows, pitch) */,
                      const T* __restrict__ x /* (rows, columns) */, long long row_stride, long long column_stride,
                      long long rows, int columns, int pitch) {
  const long long eights = rows * (pitch / 8);
  for (long long at = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; at < eights;
       at += static_cast<long long>(gridDim.x) * blockDim.x) {
    const long long row = at / (pitch / 8);
    const int column = static_cast<int>(at % (pitch / 8)) * 8;
    float rest[8] = {};
#pragma unroll
    for (int i = 0; i < 8; i += WIDTH) {
      if (column + i >= columns) continue;
      const long long from = row * row_stride + (WIDTH > 1 ? column + i : (column + i) * column_stride);
      const auto vector = *reinterpret_cast<const Vector<T, WIDTH>*>(x + from);
#pragma unroll
      for (int j = 0; j < WIDTH; j++) rest[i + j] = static_cast<float>(vector.v[j]);
    }
#pragma unroll
    for (int p = 0; p < planes_of<T>; p++) {
      Vector<unsigned, 4> nearest;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        nearest.v[i] = ptx::bf16_pair(rest[2 * i], rest[2 * i + 1]);
        rest[2 * i] -= __uint_as_float(nearest.v[i] << 16);
        rest[2 * i + 1] -= __uint_as_float(nearest.v[i] & 0xffff0000u);
      }
      *reinterpret_cast<Vector<unsigned, 4>*>(planes + p * (rows * pitch) + at * 8) = nearest;
    }
  }
}
