// Tiles of bfloat16 in shared memory, and products of them by tensor cores (sm_80). README.md has the equations.
//
// A warp has 16 rows of a product, spread over its lanes as mma.sync leaves them: `float x[N / 8][4]` of (16, N). Lane
// l has of the eight columns from 8 j on the columns 2 (l % 4) and the next: x[j][0], x[j][1] in row l / 4, x[j][2] and
// x[j][3] eight rows further down. Rounded and put in pairs these are the left factor of the next product, without a
// trip through shared memory.
#pragma once
#include "problem.cuh"

using Half = unsigned short;  // the bits of a bfloat16

constexpr float log2_e = 1.4426950408889634f;  // exp(x) = exp2(log2_e x), and exp2 is one instruction

__device__ __forceinline__ float number(Half bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }

// Rows of one head in global memory.
template <typename X>
struct Rows {
  X* first;
  long long stride;
  int count, columns;
  bool whole;  // every row begins and ends at a multiple of 16 bytes

  __device__ __forceinline__ Rows(X* x, long long stride, int count, int columns)
      : first(x), stride(stride), count(count), columns(columns),
        whole((reinterpret_cast<unsigned long long>(x) | stride * sizeof(X) | columns * sizeof(X)) % 16 == 0) {}
};

// COUNT rows of HEAD numbers, in chunks of 16 bytes. Chunk c of row r is at c ^ (r % 8): eight rows have one chunk in
// eight different places of the banks, for ldmatrix, and one row its eight chunks, for copies.
template <int COUNT, int HEAD>
struct Tile {
  static constexpr int SIZE = COUNT * HEAD, CHUNKS = HEAD / 8;

  static __device__ __forceinline__ int place(int row, int column) {
    return row * HEAD + (column / 8 ^ row % 8) * 8 + column % 8;
  }

  // Rows first … of `from`, zeros beyond its edges, by THREADS of the block: asynchronously where they are whole.
  template <int THREADS>
  static __device__ __forceinline__ void load(Half* tile, const Rows<const Half>& from, int first) {
    static_assert(SIZE / 8 % THREADS == 0, "every thread has as many chunks");
    if (from.whole) {
#pragma unroll
      for (int i = 0; i < SIZE / 8; i += THREADS) {
        const int row = (threadIdx.x + i) / CHUNKS, column = (threadIdx.x + i) % CHUNKS * 8;
        const bool there = first + row < from.count && column < from.columns;
        const long long at = there ? (first + row) * from.stride + column : 0;
        ptx::copy_async<16>(tile + place(row, column), from.first + at, there);
      }
    } else {
#pragma unroll 1
      for (int i = threadIdx.x; i < SIZE / 8; i += THREADS) {
        const int row = i / CHUNKS, column = i % CHUNKS * 8;
        Vector<Half, 8> eight{};
        const Half* at = from.first + (first + row) * from.stride + column;
#pragma unroll
        for (int j = 0; j < 8; j++)
          if (first + row < from.count && column + j < from.columns) eight.v[j] = at[j];
        *reinterpret_cast<Vector<Half, 8>*>(tile + place(row, column)) = eight;
      }
    }
  }

  // 16 rows and 16 columns as four pieces of 8 x 8, two neighbouring registers to a right factor: of A, or of X, rows
  // < 8 and >= 8 of columns < 8, then of columns >= 8; of B in A Bᵀ columns < 8 and >= 8 of rows < 8, then of rows >= 8.
  static __device__ __forceinline__ void pieces(unsigned (&r)[4], const Half* tile, int row, int column) {
    ptx::ldmatrix(r, tile + place(row + threadIdx.x % 16, column + threadIdx.x % 32 / 16 * 8));
  }
  static __device__ __forceinline__ void pieces_transposed(unsigned (&r)[4], const Half* tile, int row, int column) {
    ptx::ldmatrix_transposed(r, tile + place(row + threadIdx.x % 16, column + threadIdx.x % 32 / 16 * 8));
  }

  static __device__ __forceinline__ void pieces_by_rows(unsigned (&r)[4], const Half* tile, int row, int column) {
    const int lane = threadIdx.x % 32;
    ptx::ldmatrix(r, tile + place(row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8));
  }

  // s += A Bᵀ, (16, HEAD) by the tile's rows; left(r, k) gives the columns k … k + 15 of A.
  template <typename F>
  static __device__ __forceinline__ void times_transposed(float (&s)[COUNT / 8][4], F left, const Half* tile) {
#pragma unroll(HEAD == 128 ? HEAD / 16 : 2)  // of others fewer addresses are in registers
    for (int k = 0; k < HEAD; k += 16) {
      unsigned a[4];
      left(a, k);
#pragma unroll
      for (int n = 0; n < COUNT; n += 16) {
        unsigned b[4];
        pieces_by_rows(b, tile, n, k);
        ptx::mma_bf16(s[n / 8], a, {b[0], b[1]});
        ptx::mma_bf16(s[n / 8 + 1], a, {b[2], b[3]});
      }
    }
  }

  // sum += W X, (16, COUNT) by the tile.
  static __device__ __forceinline__ void times(float (&sum)[HEAD / 8][4], const float (&w)[COUNT / 8][4],
                                               const Half* tile) {
#pragma unroll
    for (int k = 0; k < COUNT; k += 16) {
      unsigned a[4];
#pragma unroll
      for (int i = 0; i < 4; i++) a[i] = ptx::bf16_pair(w[k / 8 + i / 2][i % 2 * 2], w[k / 8 + i / 2][i % 2 * 2 + 1]);
#pragma unroll
      for (int n = 0; n < HEAD; n += 16) {
        unsigned b[4];
        pieces_transposed(b, tile, k, n);
        ptx::mma_bf16(sum[n / 8], a, {b[0], b[1]});
        ptx::mma_bf16(sum[n / 8 + 1], a, {b[2], b[3]});
      }
    }
  }

  // A warp's sums, times a factor for its upper and one for its lower eight rows, to rows first … of `to`: through 16
  // rows of a tile that only this warp has read, so that a thread writes 16 bytes. A lane writes there the numbers that
  // ldmatrix gave to it, so there is nothing to wait for.
  static __device__ __forceinline__ void store(const Rows<Half>& to, int first, const float (&sum)[HEAD / 8][4],
                                               const float (&factor)[2], Half* tile, int row) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < HEAD / 4; i++) {
      const float* two = sum[i / 2] + i % 2 * 2;
      *reinterpret_cast<unsigned*>(tile + place(row + lane / 4 + i % 2 * 8, i / 2 * 8 + lane % 4 * 2)) =
          ptx::bf16_pair(two[0] * factor[i % 2], two[1] * factor[i % 2]);
    }
    __syncwarp();
#pragma unroll 2
    for (int i = lane; i < 16 * CHUNKS; i += 32) {
      const int r = i / CHUNKS, column = i % CHUNKS * 8;
      if (first + r >= to.count || column >= to.columns) continue;
      Half* at = to.first + (first + r) * to.stride + column;
      const auto eight = *reinterpret_cast<const Vector<Half, 8>*>(tile + place(row + r, column));
      if (to.whole) *reinterpret_cast<Vector<Half, 8>*>(at) = eight;
      else
#pragma unroll
        for (int j = 0; j < 8; j++)
          if (column + j < to.columns) at[j] = eight.v[j];
    }
  }
};

// Which tile of which head a block has. Blocks that run at once shall read the same rows from the second-level cache:
// sixteen heads take turns, tile by tile, before the next sixteen begin.
struct Turn {
  int head, tile;

  __device__ __forceinline__ explicit Turn(int tiles) {
    const int first = blockIdx.x / (16 * tiles) * 16, at = blockIdx.x % (16 * tiles);
    const int there = min(16, static_cast<int>(gridDim.x) / tiles - first);
    head = first + at % there, tile = at / there;
  }
};

// Whether any of the queries up to `last`, or all of them from `first` on, see a key, for tiles that need no work or no
// masks: the keys from s on, or up to s.
__device__ __forceinline__ bool some_see(const Head<float>& head, int last, int s) {
  return s < head.length && (!head.problem.causal || s <= last + head.problem.keys - head.problem.rows);
}
__device__ __forceinline__ bool all_see(const Head<float>& head, int first, int s) {
  return !head.allowed.keep && some_see(head, first, s);
}

// Which of a thread's scores of a step a query may see, and which weights are kept, a bit for each.
struct Marks {
  unsigned seen, kept;
};

// at(i) gives the query and the key of score i, `x[i / 4][i % 4]`. A loop that is not unrolled, before there are any
// scores: a step that needs this takes its time, but no registers.
template <int SCORES, typename F>
__device__ __forceinline__ Marks marks(const Head<float>& head, bool all, F at) {
  static_assert(SCORES <= 32, "a bit for each");
  Marks of{~0u, ~0u};
  Dropout<float> dropout = head.dropout;  // a copy, whose words no register holds until the next step
#pragma unroll 1
  for (int i = 0; i < (all && !head.problem.drop_below ? 0 : SCORES); i++) {
    const int2 is = at(i);
    if (!all && !head.allowed(is.x, is.y)) of.seen &= ~(1u << i);
    if (dropout(is.x, is.y) == 0) of.kept &= ~(1u << i);
  }
  return of;
}

// The result for a row of a product over the four lanes that have it.
template <typename Op>
__device__ __forceinline__ float across(float v) {
  v = Op::of(v, __shfl_xor_sync(all_lanes, v, 1));
  return Op::of(v, __shfl_xor_sync(all_lanes, v, 2));
}

// Scores to weights, for the product with V; m, z and the output of a row so far shrink as its maximum grows.
template <int N, int M>
__device__ __forceinline__ void softmax(float (&s)[N][4], float (&m)[2], float (&z)[2], float (&sum)[M][4],
                                        const Problem<float>& problem, const Marks& of) {
  const auto each = [&](auto f) {
#pragma unroll
    for (int i = 0; i < 4 * N; i++) f(s[i / 4][i % 4], i / 2 % 2, 1u << i);
  };
  float top[2] = {m[0], m[1]}, shift[2], of_step[2] = {};
  each([&](float& score, int, unsigned) { score *= problem.scale * log2_e; });
  if (of.seen != ~0u)
    each([&](float& score, int, unsigned bit) {
      if (!(of.seen & bit)) score = -infinity<float>();  // (3)
    });
  each([&](float score, int r, unsigned) { top[r] = fmaxf(top[r], score); });
#pragma unroll
  for (int r = 0; r < 2; r++) {
    top[r] = across<Max>(top[r]);                          // (4)
    shift[r] = top[r] == -infinity<float>() ? 0 : top[r];  // a row that has seen no key
  }
  each([&](float& score, int r, unsigned) {
    score = exp2f(score - shift[r]);  // (5)
    of_step[r] += score;
  });
  if (problem.drop_below)
    each([&](float& weight, int, unsigned bit) { weight = of.kept & bit ? weight * problem.kept_scale : 0; });  // (9)
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float shrink = exp2f(m[r] - shift[r]);  // 0 in the first step
    z[r] = z[r] * shrink + of_step[r];            // (6), of this lane's columns
    m[r] = top[r];
#pragma unroll
    for (int i = 0; i < 2 * M; i++) sum[i / 2][r * 2 + i % 2] *= shrink;
  }
}

// P̃ and dS, in place of scores and of dO Vᵀ; l(i) and delta(i) are those of the query of score i.
template <int N, typename L, typename Delta>
__device__ __forceinline__ void weights_and_gradients(float (&s)[N][4], float (&dp)[N][4],
                                                      const Problem<float>& problem, const Marks& of, L l,
                                                      Delta delta) {
#pragma unroll
  for (int i = 0; i < 4 * N; i++) {
    float& p = s[i / 4][i % 4];
    p = exp2f(p * (problem.scale * log2_e) - l(i) * log2_e);  // (11)
  }
  if (of.seen != ~0u)
#pragma unroll
    for (int i = 0; i < 4 * N; i++)
      if (!(of.seen >> i & 1)) s[i / 4][i % 4] = 0;
  if (problem.drop_below)
#pragma unroll
    for (int i = 0; i < 4 * N; i++) dp[i / 4][i % 4] *= of.kept >> i & 1 ? problem.kept_scale : 0;  // (13)
#pragma unroll
  for (int i = 0; i < 4 * N; i++) {
    float& d = dp[i / 4][i % 4];
    d = s[i / 4][i % 4] * (d - delta(i));  // (15)
  }
  if (problem.drop_below)
#pragma unroll
    for (int i = 0; i < 4 * N; i++) s[i / 4][i % 4] *= of.kept >> i & 1 ? problem.kept_scale : 0;
}
