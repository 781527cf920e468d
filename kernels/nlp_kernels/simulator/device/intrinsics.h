// Arithmetic and memory intrinsics. Approximate ones are exact here: their last bits are the GPU's own.
#pragma once

using std::abs, std::cos, std::exp, std::exp2, std::fabs, std::fma, std::fmax, std::fmin, std::isfinite, std::isinf;
using std::isnan, std::log, std::log1p, std::log2, std::pow, std::sin, std::sqrt, std::tanh;

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1 / sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

template <class A, class B>
inline A simulator_bits(B b) {
  static_assert(sizeof(A) == sizeof(B));
  A a;
  __builtin_memcpy(&a, &b, sizeof(A));
  return a;
}
inline int __float_as_int(float x) { return simulator_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return simulator_bits<unsigned>(x); }
inline float __int_as_float(int x) { return simulator_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return simulator_bits<float>(x); }
inline long long __double_as_longlong(double x) { return simulator_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return simulator_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>((int64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

template <class T>
inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
inline T max(T a, T b) { return a < b ? b : a; }

// Loads and stores that tell the caches what to keep.
#define SIMULATOR_LOAD(name) template <class T> __forceinline__ T name(const T* p) { return *p; }
#define SIMULATOR_STORE(name) template <class T> __forceinline__ void name(T* p, T v) { *p = v; }
SIMULATOR_LOAD(__ldg) SIMULATOR_LOAD(__ldcs) SIMULATOR_LOAD(__ldcg) SIMULATOR_LOAD(__ldca) SIMULATOR_LOAD(__ldlu)
SIMULATOR_STORE(__stcs) SIMULATOR_STORE(__stcg) SIMULATOR_STORE(__stwb) SIMULATOR_STORE(__stwt)
#undef SIMULATOR_LOAD
#undef SIMULATOR_STORE

inline long long clock64() { return simulator::ticks(); }  // counts how often a thread was given its turn
[[noreturn]] inline void __trap() { simulator::fail("__trap was called"); }
#undef assert
#define assert(condition)                                                                                   \
  ((condition) ? void() : simulator::fail("assertion failed: %s at %s:%d, in thread (%u, %u, %u) of block " \
                                          "(%u, %u, %u)", #condition, __FILE__, __LINE__, threadIdx.x,      \
                                          threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z))
