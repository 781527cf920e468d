// What common/wgmma.cuh does on a GPU by inline PTX.
#pragma once
#include "hopper.h"

namespace ptx {

enum class Major { k, mn };

template <int swizzle>
inline unsigned long long wgmma_descriptor(const void* tile, unsigned leading, unsigned stride, SIMULATOR_SITE) {
  static_assert(swizzle == 0 || swizzle == 32 || swizzle == 64 || swizzle == 128, "a swizzle of 0, 32, 64, 128 bytes");
  return simulator::wgmma_descriptor(tile, leading, stride, swizzle, SIMULATOR_HERE("wgmma_descriptor"));
}

template <Major A = Major::k, Major B = Major::k, int n>
inline void wgmma(float (&d)[n], unsigned long long a, unsigned long long b, bool accumulate = true, SIMULATOR_SITE) {
  static_assert(n % 4 == 0 && n >= 4 && n <= 128, "wgmma has 8, 16, … 256 columns");
  simulator::wgmma(d, 2 * n, nullptr, a, b, A == Major::mn, B == Major::mn, accumulate, SIMULATOR_HERE("wgmma"));
}
template <Major B = Major::k, int n>
inline void wgmma(float (&d)[n], const unsigned (&a)[4], unsigned long long b, bool accumulate = true,
                  SIMULATOR_SITE) {
  static_assert(n % 4 == 0 && n >= 4 && n <= 128, "wgmma has 8, 16, … 256 columns");
  simulator::wgmma(d, 2 * n, a, 0, b, false, B == Major::mn, accumulate, SIMULATOR_HERE("wgmma"));
}
inline void wgmma_fence() { simulator::wgmma_fence(); }
inline void wgmma_commit() { simulator::wgmma_commit(); }
template <int n>
inline void wgmma_registers(float (&)[n]) {}
template <int n>
inline void wgmma_registers(unsigned (&)[n][4]) {}
template <int newest>
inline void wgmma_wait(SIMULATOR_SITE) { simulator::wgmma_wait(newest, SIMULATOR_HERE("wgmma_wait")); }

}  // namespace ptx
