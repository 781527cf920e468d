// Rows of a table by index, and the sums of their cotangents. README.md has the equations.
//
// A group of `lanes` threads, a power of two up to a warp, has a row, or `lanes` accesses of 16 bytes of one; the rest
// of a longer row belongs to the blocks of the next blockIdx.y. Rows follow no pattern, so a thread asks for several
// before it uses the first.
//
// Backward, sorted keys (row of the table, position n) bring the positions of each row together, in the order of n.
// A row of the table has one group, which sums its cotangents in that order and writes it once, zeros where there are
// none. A row with more than `piece` of them (the commonest words) is summed in two steps: the sorted positions are cut
// every `piece`, a group sums what a cut leaves of a long row, and the row's own group adds these sums in order. No
// order is left to chance. Memory moves N D numbers in and V D out, besides 8 N bytes of keys.
#include "../common/rows.cuh"

constexpr int THREADS = 128;
constexpr int AHEAD = 8;  // rows that a thread has asked for
constexpr int FEW = 4;    // and where most sums have a few terms: fewer registers, more groups at work

template <int WIDTH, typename T>
__device__ __forceinline__ Vector<T, WIDTH> load(const T* p) {
  return *reinterpret_cast<const Vector<T, WIDTH>*>(p);
}

template <int WIDTH, typename T>
__device__ __forceinline__ void store(T* p, const Vector<T, WIDTH>& v) {
  *reinterpret_cast<Vector<T, WIDTH>*>(p) = v;
}

// f(item, items from one to the group's next, column): what a group of this grid does of `items` rows of D numbers.
template <int WIDTH, typename F>
__device__ __forceinline__ void for_group(int lanes, int D, F f) {
  const long long groups = blockDim.x / lanes;
  const long long first = blockIdx.x * groups + threadIdx.x / lanes;
  for (int c = (blockIdx.y * lanes + threadIdx.x % lanes) * WIDTH; c < D; c += gridDim.y * lanes * WIDTH)
    f(first, gridDim.x * groups, c);
}

// A row that an index names wrongly is NaN: nobody waits for the GPU to look, and nothing is read out of bounds.
template <typename T, typename I, int WIDTH>
__global__ void __launch_bounds__(THREADS, 4)  // blocks to a processor: told nothing, the compiler spills
    embedding_gather(T* __restrict__ y /* (N, D) */, const T* __restrict__ table /* (V, D) */,
                     const I* __restrict__ indices /* (N,) */, long long N, long long V, int D, int lanes) {
  for_group<WIDTH>(lanes, D, [&](long long first, long long step, int c) {
    for (long long n = first; n < N; n += AHEAD * step) {
      long long j[AHEAD];
      Vector<T, WIDTH> row[AHEAD];
#pragma unroll
      for (int a = 0; a < AHEAD; a++) j[a] = n + a * step < N ? static_cast<long long>(indices[n + a * step]) : V;
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        for (T& x : row[a].v) x = static_cast<T>(__int_as_float(0x7fffffff));
        if (static_cast<unsigned long long>(j[a]) < V) row[a] = load<WIDTH>(table + j[a] * D + c);
      }
#pragma unroll
      for (int a = 0; a < AHEAD; a++)
        if (n + a * step < N) store<WIDTH>(y + (n + a * step) * D + c, row[a]);  // (1)
    }
  });
}

// The row that n counts for, then n; V for what counts for none: padding, and an index that is wrong.
template <typename I>
__global__ void __launch_bounds__(THREADS)
    embedding_keys(long long* __restrict__ keys /* (N,) */, const I* __restrict__ indices /* (N,) */, long long N,
                   long long V, long long ignored, int bits) {
  const long long step = gridDim.x * static_cast<long long>(THREADS);
  for (long long n = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x; n < N; n += step) {
    const long long j = indices[n];
    const bool counts = static_cast<unsigned long long>(j) < V && j != ignored;  // (2)
    keys[n] = (counts ? j : V) << bits | n;
  }
}

// Where each row of the table begins and ends in the sorted keys; bounds are zeros before.
__global__ void __launch_bounds__(THREADS)
    embedding_bounds(int* __restrict__ bounds /* (V, 2) */, const long long* __restrict__ keys /* (N,) */, long long N,
                     long long V, int bits) {
  const long long step = gridDim.x * static_cast<long long>(THREADS);
  for (long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x; i < N; i += step) {
    const long long r = keys[i] >> bits;
    if (r == V) continue;
    if (i == 0 || keys[i - 1] >> bits != r) bounds[2 * r] = static_cast<int>(i);
    if (i == N - 1 || keys[i + 1] >> bits != r) bounds[2 * r + 1] = static_cast<int>(i + 1);
  }
}

// The sum over i = from … to - 1 of row `place(i)` of x, in this order; LOADS of them are under way.
template <int LOADS, int WIDTH, typename T, typename F>
__device__ __forceinline__ Vector<T, WIDTH> sum(const T* x /* (…, D) */, int from, int to, int D, int c, F place) {
  Vector<T, WIDTH> total = {};
  for (int i = from; i < to; i += LOADS) {
    Vector<T, WIDTH> row[LOADS];
#pragma unroll
    for (int a = 0; a < LOADS; a++)
      if (i + a < to) row[a] = load<WIDTH>(x + place(i + a) * D + c);
#pragma unroll
    for (int a = 0; a < LOADS; a++) {
      if (i + a >= to) continue;
#pragma unroll
      for (int w = 0; w < WIDTH; w++) total.v[w] += row[a].v[w];  // (3)
    }
  }
  return total;
}

// Of piece q of the sorted positions, q = p / 2: the sum of the long row that it begins in (p even), and of the one
// that begins in it and goes beyond (p odd). A piece has no part of a third: a long row is longer than a piece.
template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS, 4)
    embedding_pieces(T* __restrict__ partial /* (P, D) */, const T* __restrict__ dy /* (N, D) */,
                     const long long* __restrict__ keys /* (N,) */, const int* __restrict__ bounds /* (V, 2) */,
                     int N, int P, long long V, int D, int lanes, int bits, int piece) {
  const long long mask = (1ll << bits) - 1;
  for_group<WIDTH>(lanes, D, [&](long long first, long long step, int c) {
    for (long long p = first; p < P; p += step) {
      const int start = static_cast<int>(p / 2) * piece, stop = min(start + piece, N);
      const long long r = keys[p % 2 ? stop - 1 : start] >> bits;
      if (r == V) continue;
      const auto [begin, end] = load<2>(bounds + 2 * r).v;
      if (end - begin <= piece || (p % 2 && begin <= start)) continue;
      const int from = max(begin, start), to = min(end, stop);
      const auto total = sum<AHEAD, WIDTH>(dy, from, to, D, c, [&](int i) { return keys[i] & mask; });
      store<WIDTH>(partial + p * D + c, total);
    }
  });
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS, 8)
    embedding_rows(T* __restrict__ dtable /* (V, D) */, const T* __restrict__ dy /* (N, D) */,
                   const T* __restrict__ partial /* (P, D) */, const long long* __restrict__ keys /* (N,) */,
                   const int* __restrict__ bounds /* (V, 2) */, long long V, int D, int lanes, int bits, int piece) {
  const long long mask = (1ll << bits) - 1;
  for_group<WIDTH>(lanes, D, [&](long long first, long long step, int c) {
    for (long long r = first; r < V; r += step) {
      const auto [begin, end] = load<2>(bounds + 2 * r).v;
      Vector<T, WIDTH> total;
      if (end - begin <= piece) {
        total = sum<FEW, WIDTH>(dy, begin, end, D, c, [&](int i) { return keys[i] & mask; });
      } else {
        const int odd = begin % piece ? begin / piece : -1;  // the piece in which it begins, but not at its start
        total = sum<FEW, WIDTH>(partial, begin / piece, (end - 1) / piece + 1, D, c,
                                [&](int q) { return 2ll * q + (q == odd); });
      }
      store<WIDTH>(dtable + r * D + c, total);
    }
  });
}

// dtable is zeros before; the order of the sums, and so their last bits, is left to chance.
template <typename T, typename I, int WIDTH>
__global__ void __launch_bounds__(THREADS)
    embedding_scatter(T* __restrict__ dtable /* (V, D) */, const T* __restrict__ dy /* (N, D) */,
                      const I* __restrict__ indices /* (N,) */, long long N, long long V, long long ignored, int D,
                      int lanes) {
  for_group<WIDTH>(lanes, D, [&](long long first, long long step, int c) {
    for (long long n = first; n < N; n += step) {
      const long long j = indices[n];
      if (static_cast<unsigned long long>(j) >= V || j == ignored) continue;  // (2)
      const auto row = load<WIDTH>(dy + n * D + c);
#pragma unroll
      for (int w = 0; w < WIDTH; w++) atomicAdd(dtable + j * D + c + w, row.v[w]);  // (3)
    }
  });
}
