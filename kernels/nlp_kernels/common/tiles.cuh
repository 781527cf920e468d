// Rows at any address by accesses of 16 bytes. Of C = 50257 numbers, one row in four starts at a multiple of that.
//
// A row is vectors of WIDTH numbers, the first of which starts at such a multiple, and fewer than WIDTH numbers before
// and after them, its edges. A tile is what a group of threads has of it at a time: of the vectors, thread t has
// first + t, first + GROUP + t, …, ITEMS numbers in all; of the edges it has at most one, in the first tile.
#pragma once
#include "rows.cuh"

template <typename S>
constexpr int wide = 16 / sizeof(S);  // numbers in a vector

template <int GROUP, int ITEMS, int WIDTH>
struct Tile {
  static constexpr int values = ITEMS + 1;  // that a thread has; the last is of the edges
  static constexpr int vectors = ITEMS / WIDTH * GROUP;
  int C, head, whole, first;  // numbers of the row, those before its vectors, its vectors, those before this tile

  // The k-th tile of a row.
  template <typename S>
  static __device__ __forceinline__ Tile of(const S* row /* (C,) */, int C, int k = 0) {
    const int past = static_cast<int>(reinterpret_cast<unsigned long long>(row) / sizeof(S) % WIDTH);
    const int head = past == 0 ? 0 : WIDTH - past < C ? WIDTH - past : C;
    return {C, head, (C - head) / WIDTH, k * vectors};
  }

  // f(i, column) for each number of the row that this thread has as its value i.
  template <typename F>
  __device__ __forceinline__ void each(F f) const {
    each_vector([&](int i, int k) {
#pragma unroll
      for (int j = 0; j < WIDTH; j++) f(i + j, head + k * WIDTH + j);
    });
    if (const int c = edge(); c >= 0) f(ITEMS, c);
  }

  // The row to registers, `outside` where this thread has nothing of it.
  template <typename T, typename S>
  __device__ __forceinline__ void load(T (&v)[values], const S* row /* (C,) */, T outside) const {
    const auto* at = reinterpret_cast<const Vector<S, WIDTH>*>(row + head);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) v[i] = outside;
    each_vector([&](int i, int k) {
      const Vector<S, WIDTH> vector = at[k];
#pragma unroll
      for (int j = 0; j < WIDTH; j++) v[i + j] = static_cast<T>(vector.v[j]);
    });
    const int c = edge();
    v[ITEMS] = c >= 0 ? static_cast<T>(row[c]) : outside;
  }

  template <typename T, typename S>
  __device__ __forceinline__ void store(S* row /* (C,) */, const T (&v)[values]) const {
    auto* at = reinterpret_cast<Vector<S, WIDTH>*>(row + head);
    each_vector([&](int i, int k) {
      Vector<S, WIDTH> vector;
#pragma unroll
      for (int j = 0; j < WIDTH; j++) vector.v[j] = static_cast<S>(v[i + j]);
      at[k] = vector;
    });
    if (const int c = edge(); c >= 0) row[c] = static_cast<S>(v[ITEMS]);
  }

 private:
  // f(i, k) for each vector k that this thread has as its values from i on.
  template <typename F>
  __device__ __forceinline__ void each_vector(F f) const {
#pragma unroll
    for (int i = 0; i < ITEMS; i += WIDTH)
      if (const int k = first + i / WIDTH * GROUP + group_thread<GROUP>(); k < whole) f(i, k);
  }

  // The column of this thread's number of the edges, -1 where it has none.
  __device__ __forceinline__ int edge() const {
    const int t = group_thread<GROUP>(), edges = C - whole * WIDTH;
    return first > 0 || t >= edges ? -1 : t < head ? t : C - edges + t;
  }
};

// f(tile) for the tiles of a row.
template <typename Tile, typename S, typename F>
__device__ __forceinline__ void for_tiles(const S* row /* (C,) */, int C, F f) {
  Tile tile = Tile::of(row, C);
  do {
    f(tile);
    tile.first += Tile::vectors;
  } while (tile.first < tile.whole);
}
