// The AdamW step of many parameters in one launch, and the norm of their gradients. README.md has the equations.
//
// Parameter k is theta[k], g[k], m[k], v[k], each of sizes[k] numbers, found by tables of addresses. It is cut into
// chunks of at most `length` numbers, and block b has chunk b of the list: a hundred biases and one large matrix keep
// all processors busy alike. A thread has ILP accesses of 16 bytes to each of the four arrays in flight; where one of
// the four is not a multiple of 16 bytes, and for what is left at the end, the same code moves one number at a time.
// Each number is read once and written once: 28 bytes a parameter in float32.
//
// What changes from step to step lies in `numbers`, in memory: a captured launch reads what adamw_numbers wrote last.
#include "../common/rows.cuh"

constexpr int THREADS = 256, ILP = 2;

struct Chunk {  // of parameter k: numbers first … first + length - 1, as far as there are any
  long long k, first;
};

template <typename T>
struct Numbers {
  T beta1, rest1, beta2, rest2;  // rest: 1 - beta, rounded once
  T correct1, correct2;          // 1 / (1 - beta^t)
  T lr, eps, decay;
};

template <typename T>
__device__ __forceinline__ void update(T& theta, T g, T& m, T& v, const Numbers<T>& n, T scale, bool decoupled) {
  g *= scale;                                               // (1)
  if (!decoupled) g += n.decay * theta;                     // (2)
  m = n.beta1 * m + n.rest1 * g;                            // (3)
  v = n.beta2 * v + n.rest2 * (g * g);                      // (4)
  T u = (m * n.correct1) / (sqrt(v * n.correct2) + n.eps);  // (5) (6) (7)
  if (decoupled) u += n.decay * theta;                      // (8)
  theta -= n.lr * u;                                        // (9)
}

template <typename V, typename T>
__device__ __forceinline__ bool aligned(const T* p) {
  return reinterpret_cast<unsigned long long>(p) % sizeof(V) == 0;
}

// The block's threads go through `count` vectors of WIDTH numbers.
template <int WIDTH, typename T>
__device__ __forceinline__ void step(T* theta, const T* g, T* m, T* v, int count, const Numbers<T>& n, T scale,
                                     bool decoupled) {
  using V = Vector<T, WIDTH>;
  for (int first = threadIdx.x; first < count; first += ILP * blockDim.x) {
    V vectors[ILP][4];
#pragma unroll
    for (int j = 0; j < ILP; j++) {
      const int i = first + j * blockDim.x;
      if (i >= count) continue;
      vectors[j][0] = reinterpret_cast<const V*>(theta)[i];
      vectors[j][1] = reinterpret_cast<const V*>(g)[i];
      vectors[j][2] = reinterpret_cast<const V*>(m)[i];
      vectors[j][3] = reinterpret_cast<const V*>(v)[i];
    }
#pragma unroll
    for (int j = 0; j < ILP; j++) {
      const int i = first + j * blockDim.x;
      if (i >= count) continue;
      auto& [a, b, c, d] = vectors[j];
#pragma unroll
      for (int w = 0; w < WIDTH; w++) update(a.v[w], b.v[w], c.v[w], d.v[w], n, scale, decoupled);
      reinterpret_cast<V*>(theta)[i] = a;
      reinterpret_cast<V*>(m)[i] = c;
      reinterpret_cast<V*>(v)[i] = d;
    }
  }
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS, 16 / sizeof(T))  // blocks to a processor: what the registers allow
    adamw_step(T* const* theta /* (K,) of (sizes[k],) */, const T* const* g /* (K,) of (sizes[k],) */,
               T* const* m /* (K,) of (sizes[k],) */, T* const* v /* (K,) of (sizes[k],) */,
               const long long* __restrict__ sizes /* (K,) */, const Chunk* __restrict__ chunks /* (gridDim.x,) */,
               int length, const Numbers<T>* __restrict__ numbers, const T* __restrict__ grad_scale /* () or null */,
               bool decoupled) {
  using V = Vector<T, WIDTH>;
  const Chunk chunk = chunks[blockIdx.x];
  const long long left = sizes[chunk.k] - chunk.first;
  const int count = left < length ? static_cast<int>(left) : length;
  T* p = ptx::global(theta[chunk.k]) + chunk.first;
  const T* q = ptx::global(g[chunk.k]) + chunk.first;
  T* r = ptx::global(m[chunk.k]) + chunk.first;
  T* s = ptx::global(v[chunk.k]) + chunk.first;
  const Numbers<T> n = *numbers;
  const T scale = grad_scale ? *grad_scale : T(1);
  const int wide = aligned<V>(p) && aligned<V>(q) && aligned<V>(r) && aligned<V>(s) ? count / WIDTH : 0;
  const int done = wide * WIDTH;
  step<WIDTH>(p, q, r, s, wide, n, scale, decoupled);
  step<1>(p + done, q + done, r + done, s + done, count - done, n, scale, decoupled);
}

template <typename T>
__global__ void adamw_numbers(Numbers<T>* numbers, Numbers<T> values) {
  *numbers = values;
}

// The sum of squares of each chunk, in double precision: the square of a float neither overflows nor vanishes there.
template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS)
    adamw_squares(double* __restrict__ partial /* (gridDim.x,) */, const T* const* g /* (K,) of (sizes[k],) */,
                  const long long* __restrict__ sizes /* (K,) */, const Chunk* __restrict__ chunks /* (gridDim.x,) */,
                  int length) {
  using V = Vector<T, WIDTH>;
  const Chunk chunk = chunks[blockIdx.x];
  const long long left = sizes[chunk.k] - chunk.first;
  const int count = left < length ? static_cast<int>(left) : length;
  const T* p = ptx::global(g[chunk.k]) + chunk.first;
  const int wide = aligned<V>(p) ? count / WIDTH : 0;
  double sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < wide; i += THREADS) {
    const V vector = reinterpret_cast<const V*>(p)[i];
#pragma unroll
    for (int w = 0; w < WIDTH; w++) sum += static_cast<double>(vector.v[w]) * vector.v[w];
  }
  for (int i = wide * WIDTH + threadIdx.x; i < count; i += THREADS) sum += static_cast<double>(p[i]) * p[i];
  sum = group_reduce<Sum, THREADS>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block: the norm of all, in a fixed order, and the factor that makes it max_norm at the most; 1 where it is not
// finite.
template <typename T>
__global__ void __launch_bounds__(THREADS)
    adamw_clip(double* __restrict__ norm /* () */, T* __restrict__ scale /* () */,
               const double* __restrict__ partial /* (B,) */, int B, double max_norm) {
  double sum = 0;
  for (int i = threadIdx.x; i < B; i += THREADS) sum += partial[i];
  sum = sqrt(group_reduce<Sum, THREADS>(sum));
  if (threadIdx.x == 0) {
    *norm = sum;
    *scale = sum > max_norm && sum < infinity<double>() ? static_cast<T>(max_norm / sum) : T(1);
  }
}
