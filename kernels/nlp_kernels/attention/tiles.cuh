// Tiles of queries, keys and scores in shared memory and registers. README.md has the equations.
//
// The threads of a block lie in a square of SIDE x SIDE, SIDE = TILE / 4. Thread (a, b) has the scores of the queries
// a + SIDE i and the keys b + SIDE j, i and j < 4, and of a TILE x HEAD result the columns b + SIDE j.
#pragma once
#include "problem.cuh"

template <typename T, int TILE, int HEAD>
struct Tiles {
  static constexpr int SIDE = TILE / 4, threads = SIDE * SIDE, PITCH = HEAD + 4, SCORES = TILE + 4, COLUMNS = HEAD / SIDE;
  using Matrix = T[TILE][PITCH];
  using Scores = T[TILE][SCORES];

  // Rows first … of a (rows, D) matrix, zeros beyond its edges.
  static __device__ __forceinline__ void load(Matrix& to, const T* from, long long stride, int first, int rows, int D) {
    for (int at = threadIdx.x; at < TILE * HEAD; at += threads) {
      const int r = at / HEAD, d = at % HEAD;
      to[r][d] = first + r < rows && d < D ? from[(first + r) * stride + d] : T(0);
    }
  }

  // sum += A Bᵀ, this thread's rows of A and of B.
  static __device__ __forceinline__ void times_transposed(T (&sum)[4][4], const Matrix& A, const Matrix& B) {
    const int a = threadIdx.x / SIDE, b = threadIdx.x % SIDE;
#pragma unroll(sizeof(T) > 4 ? 1 : 4)
    for (int d = 0; d < HEAD; d += 4) {
      Vector<T, 4> of_a[4], of_b[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        of_a[i] = *reinterpret_cast<const Vector<T, 4>*>(&A[a + SIDE * i][d]);
        of_b[i] = *reinterpret_cast<const Vector<T, 4>*>(&B[b + SIDE * i][d]);
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[i][j] += of_a[i].v[e] * of_b[j].v[e];
    }
  }

  // sum += W X, or Wᵀ X: this thread's rows of the result and its columns of X.
  template <bool TRANSPOSED, int N>
  static __device__ __forceinline__ void times(T (&sum)[4][N], const Scores& W, const Matrix& X, int first = 0) {
    const int a = threadIdx.x / SIDE, b = first + threadIdx.x % SIDE;
#pragma unroll(N > 8 ? 1 : 2)
    for (int k = 0; k < TILE; k++) {
      T weight[4];
#pragma unroll
      for (int i = 0; i < 4; i++) weight[i] = TRANSPOSED ? W[k][a + SIDE * i] : W[a + SIDE * i][k];
#pragma unroll
      for (int j = 0; j < N; j++) {
        const T x = X[k][b + SIDE * j];
#pragma unroll
        for (int i = 0; i < 4; i++) sum[i][j] += weight[i] * x;
      }
    }
  }

  // This thread's scores to where others read them.
  static __device__ __forceinline__ void keep_scores(Scores& to, const T (&s)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) to[threadIdx.x / SIDE + SIDE * i][threadIdx.x % SIDE + SIDE * j] = s[i][j];
  }

  // Every thread of a row of the square gets its maximum or sum.
  template <typename Op>
  static __device__ __forceinline__ T across(T v) {
#pragma unroll
    for (int lanes = SIDE / 2; lanes; lanes /= 2) v = Op::of(v, __shfl_xor_sync(all_lanes, v, lanes));
    return v;
  }

  // scale · sum to rows first … of a (rows, D) matrix.
  template <int N>
  static __device__ __forceinline__ void store(T* to, long long stride, int first, int rows, int D, const T (&sum)[4][N],
                                               T scale, int first_column = 0) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int r = first + threadIdx.x / SIDE + SIDE * i;
#pragma unroll
      for (int j = 0; j < N; j++) {
        const int d = first_column + threadIdx.x % SIDE + SIDE * j;
        if (r < rows && d < D) to[r * stride + d] = scale * sum[i][j];
      }
    }
  }
};
