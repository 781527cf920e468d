// Cross-entropy over the rows of (N, C): losses, gradients, or both at once. README.md has the equations.
//
// forward reads the logits once, in tiles of 64 bytes a thread, and writes three numbers a row: each thread keeps the
// maximum of its columns and their sum of exponentials up to date, and its group brings them together in one exchange.
// backward is elementwise: a warp reads a tile of a row and writes it. forward_backward keeps the row in registers in
// between, N C numbers read and N C written; its long version reads the row twice. Ignored rows are not read for dx.
//
// Rows start at any address: tiles.cuh has their first and last vectors. dx may be x, so neither is __restrict__ where
// dx is written: a thread reads its numbers before it writes them, and the target's is read before any is written.
//
// A target that is neither a class nor ignored is not looked up: the loss and the gradient of its row are NaN.
#include "../common/exponentials.cuh"
#include "../common/tiles.cuh"

template <typename S>
constexpr int held = 64 / sizeof(arithmetic<S>);  // numbers of a tile that a thread has, in registers

// Blocks that a processor shall have room for: 1024 threads in float, 512 in double or where they hold twice as much.
template <typename S, int GROUP, int ITEMS = held<S>>
constexpr int at_once = ITEMS > held<S> ? 1 : 4096 / sizeof(arithmetic<S>) / block_of<GROUP>;

template <typename T>
__device__ __forceinline__ T nan() {
  return static_cast<T>(__int_as_float(0x7fffffff));
}

// The truth of a row: q = right + share at the target, share elsewhere.
template <typename T>
struct Truth {
  static constexpr int ignored = -1, wrong = -2;
  int y;  // the target, or one of these
  T right, share;

  __device__ __forceinline__ Truth(const void* target /* (N,) */, bool of_64_bits, long long ignore_index, long long n,
                                   int C, T right, T share)
      : right(right), share(share) {
    const long long i = of_64_bits ? static_cast<const long long*>(target)[n] : static_cast<const int*>(target)[n];
    y = i == ignore_index ? ignored : 0 <= i && i < C ? static_cast<int>(i) : wrong;
  }
  __device__ __forceinline__ bool counts() const { return y != ignored; }
  __device__ __forceinline__ bool smooth() const { return share != 0; }
  __device__ __forceinline__ T q(int c) const { return c == y ? right + share : share; }  // (9)
};

template <typename T>
struct Row {
  T m, log_z, sum;  // the last is Σ (x - m), where the truth is smooth

  __device__ __forceinline__ T loss(T x_y, const Truth<T>& truth) const {
    const T fit = truth.right * (x_y - m) + truth.share * sum;  // (4) (5)
    return truth.counts() ? log_z - fit : T(0);                 // (6) (7)
  }
};

// The same of the columns that a thread has seen.
template <typename T>
struct Columns {
  Exponentials<T> own;
  T sum = 0;  // Σ (x - finite_or_zero(own.m))
  int count = 0;

  template <typename Tile>
  __device__ __forceinline__ void add(const Tile& tile, const T (&x)[Tile::values], bool smooth) {
    T top = own.m, z = 0;
#pragma unroll
    for (int i = 0; i < Tile::values; i++) top = fmax(top, x[i]);  // (1); -∞ outside of the row
    const T m = finite_or_zero(top), before = finite_or_zero(own.m);
    tile.each([&](int i, int) { z += exp(x[i] - m); });  // (2) (3)
    own = {top, own.relative_to(top, T(1)) + z};
    if (!smooth) return;
    sum += count * (before - m);
    tile.each([&](int i, int) {
      sum += x[i] - m;
      count++;
    });
  }

  template <int GROUP>
  __device__ __forceinline__ Row<T> together(bool smooth) const {
    const Exponentials<T> row = group_exponentials<GROUP>(own, T(1));
    Row<T> all{row.m, log(row.z), 0};
    if (smooth) all.sum = group_reduce<Sum, GROUP>(sum + count * (finite_or_zero(own.m) - row.m));
    return all;
  }
};

template <int GROUP, typename T, typename S>
__device__ __forceinline__ Row<T> read_row(const S* x /* (C,) */, int C, bool smooth) {
  using Part = Tile<GROUP, held<S>, wide<S>>;
  Columns<T> columns;
  for_tiles<Part>(x, C, [&](const Part& tile) {
    T v[Part::values];
    tile.load(v, x, -infinity<T>());
    columns.add(tile, v, smooth);
  });
  return columns.template together<GROUP>(smooth);
}

// The logit of the target, for the thread that writes the loss.
template <typename T, int GROUP, typename S>
__device__ __forceinline__ T target_logit(const S* x /* (C,) */, int y) {
  return y >= 0 && group_thread<GROUP>() == 0 ? static_cast<T>(x[y]) : nan<T>();
}

// x to dx, in registers.
template <typename Tile, typename T>
__device__ __forceinline__ void differentiate(const Tile& tile, T (&v)[Tile::values], const Row<T>& row, T dloss,
                                              const Truth<T>& truth) {
  const T g = truth.y == Truth<T>::wrong ? nan<T>() : dloss;
  tile.each([&](int i, int c) {
    const T p = exp((v[i] - row.m) - row.log_z);  // (8)
    v[i] = g * (p - truth.q(c));                  // (11)
  });
}

// A tile of x to one of dx; zeros where the row is ignored.
template <typename Tile, typename T, typename S>
__device__ __forceinline__ void write_tile(const Tile& tile, S* dx /* (C,) */, const S* x /* (C,) */,
                                           const Row<T>& row, T dloss, const Truth<T>& truth) {
  T v[Tile::values] = {};
  if (truth.counts()) {  // (10)
    tile.load(v, x, T(0));
    differentiate(tile, v, row, dloss, truth);
  }
  tile.store(dx, v);
}

template <typename S, int GROUP>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<S, GROUP>) __cluster_dims__(cluster_of<GROUP>)
    cross_entropy_forward(arithmetic<S>* __restrict__ loss /* (N,) */, arithmetic<S>* __restrict__ m /* (N,) */,
                          arithmetic<S>* __restrict__ log_z /* (N,) */, const S* __restrict__ x /* (N, C) */,
                          const void* __restrict__ target /* (N,) */, long long N, int C, bool of_64_bits,
                          long long ignore_index, arithmetic<S> right, arithmetic<S> share) {
  using T = arithmetic<S>;
  for_rows<GROUP>(N, [&](long long n) {
    const Truth<T> truth(target, of_64_bits, ignore_index, n, C, right, share);
    const T x_y = target_logit<T, GROUP>(x + n * C, truth.y);
    const Row<T> row = read_row<GROUP, T>(x + n * C, C, truth.smooth());
    if (group_thread<GROUP>() != 0) return;
    loss[n] = row.loss(x_y, truth);
    m[n] = row.m;
    log_z[n] = row.log_z;
  });
}

// `tiles` are those of a row, however it lies.
template <typename S, int WIDTH>
__global__ void __launch_bounds__(block_of<32>, at_once<S, 32>)
    cross_entropy_backward(S* dx /* (N, C) */, const S* x /* (N, C) */, const void* __restrict__ target /* (N,) */,
                           const arithmetic<S>* __restrict__ dloss /* (N,) */,
                           const arithmetic<S>* __restrict__ m /* (N,) */,
                           const arithmetic<S>* __restrict__ log_z /* (N,) */, long long N, int C, bool of_64_bits,
                           long long ignore_index, arithmetic<S> right, arithmetic<S> share, int tiles) {
  using T = arithmetic<S>;
  using Part = Tile<32, held<S>, WIDTH>;
  for_rows<32>(N * tiles, [&](long long task) {
    const long long n = tiles == 1 ? task : task / tiles;
    const Part tile = Part::of(x + n * C, C, static_cast<int>(task - n * tiles));
    const Truth<T> truth(target, of_64_bits, ignore_index, n, C, right, share);
    write_tile(tile, dx + n * C, x + n * C, Row<T>{m[n], log_z[n], 0}, dloss[n], truth);
  });
}

template <typename S, int GROUP, int ITEMS>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<S, GROUP, ITEMS>) __cluster_dims__(cluster_of<GROUP>)
    cross_entropy_forward_backward(arithmetic<S>* __restrict__ loss /* (N,) */, S* dx /* (N, C) */,
                                   const S* x /* (N, C) */, const void* __restrict__ target /* (N,) */,
                                   const arithmetic<S>* __restrict__ dloss /* (N,) */, long long N, int C,
                                   bool of_64_bits, long long ignore_index, arithmetic<S> right,
                                   arithmetic<S> share) {
  using T = arithmetic<S>;
  using Whole = Tile<GROUP, ITEMS, wide<S>>;
  for_rows<GROUP>(N, [&](long long n) {
    const Truth<T> truth(target, of_64_bits, ignore_index, n, C, right, share);
    const Whole tile = Whole::of(x + n * C, C);
    const T x_y = target_logit<T, GROUP>(x + n * C, truth.y), g = dloss[n];
    T v[Whole::values] = {};
    Row<T> row{};
    if (truth.counts()) {
      Columns<T> columns;
      tile.load(v, x + n * C, -infinity<T>());
      columns.add(tile, v, truth.smooth());
      row = columns.template together<GROUP>(truth.smooth());
      differentiate(tile, v, row, g, truth);
    }
    __syncwarp();  // x_y has been read
    tile.store(dx + n * C, v);
    if (group_thread<GROUP>() == 0) loss[n] = row.loss(x_y, truth);
  });
}

// Rows of any length.
template <typename S, int GROUP>
__global__ void __launch_bounds__(block_of<GROUP>, at_once<S, GROUP>) __cluster_dims__(cluster_of<GROUP>)
    cross_entropy_forward_backward_long(arithmetic<S>* __restrict__ loss /* (N,) */, S* dx /* (N, C) */,
                                        const S* x /* (N, C) */, const void* __restrict__ target /* (N,) */,
                                        const arithmetic<S>* __restrict__ dloss /* (N,) */, long long N, int C,
                                        bool of_64_bits, long long ignore_index, arithmetic<S> right,
                                        arithmetic<S> share) {
  using T = arithmetic<S>;
  using Part = Tile<GROUP, held<S>, wide<S>>;
  for_rows<GROUP>(N, [&](long long n) {
    const Truth<T> truth(target, of_64_bits, ignore_index, n, C, right, share);
    const T x_y = target_logit<T, GROUP>(x + n * C, truth.y), g = dloss[n];
    Row<T> row{};
    if (truth.counts()) row = read_row<GROUP, T>(x + n * C, C, truth.smooth());
    __syncwarp();  // x_y has been read
    for_tiles<Part>(x + n * C, C, [&](const Part& tile) {
      write_tile(tile, dx + n * C, x + n * C, row, g, truth);
    });
    if (group_thread<GROUP>() == 0) loss[n] = row.loss(x_y, truth);
  });
}
