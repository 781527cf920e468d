// Wgmma: a warpgroup multiplies D (64, N) += A (64, 16) B (16, N) of bfloat16, summed in float (sm_90a). N is a
// multiple of 8 up to 256, twice the length of d.
//
// All 128 threads call, with the same descriptors. Thread t holds in d[i] row 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2),
// column 8 (i / 4) + 2 (t % 4) + i % 2. The order is wgmma_fence, products, wgmma_commit, wgmma_wait; until then nobody
// touches d, changes the registers of A, or writes the shared memory that is read.
#pragma once
#include "hopper.cuh"
#ifdef NLP_SIMULATOR
#include <wgmma.h>
#else
#define PTX __device__ __forceinline__

namespace ptx {

enum class Major { k, mn };  // which index of a matrix runs in memory

// Where a matrix of shared memory is and how it lies: as in a tile of that swizzle (of 32, 64, 128 bytes, or 0), whose
// rows are `swizzle` bytes long (16 for 0), eight rows without gaps. With more k or mn, the descriptor + (bytes >> 4).
//   Major::k   a row has 16 k or more; stride: bytes from 8 rows to the next 8. Swizzle 0: leading, to the next 8 k.
//   Major::mn  a row is one k; stride: bytes from 8 k to the next 8; leading: to the next swizzle / 2 of m or n.
//              Swizzle 0: leading, to the next 8 k; stride, to the next 8 of m or n.
template <int swizzle>
PTX unsigned long long wgmma_descriptor(const void* tile, unsigned leading, unsigned stride) {
  static_assert(swizzle == 0 || swizzle == 32 || swizzle == 64 || swizzle == 128, "a swizzle of 0, 32, 64, 128 bytes");
  constexpr unsigned long long mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
  return (shared_address(tile) & 0x3ffff) >> 4 | static_cast<unsigned long long>(leading >> 4) << 16 |
         static_cast<unsigned long long>(stride >> 4) << 32 | mode << 62;
}

PTX void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
PTX void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int newest>
PTX void wgmma_wait() {  // until at most the `newest` groups are open
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(newest) : "memory");
}

// Registers of products, results or operands: what is done with them before this call is done before it, what comes
// after, after it. Called before wgmma_fence, and after wgmma_wait: to the compiler neither has to do with registers.
template <int n>
PTX void wgmma_registers(float (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int n>
PTX void wgmma_registers(unsigned (&a)[n][4]) {
#pragma unroll
  for (int i = 0; i < 4 * n; i++) asm volatile("" : "+r"(a[i / 4][i % 4])::"memory");
}

// WGMMA_R64, WGMMA_D64: how the instruction names the accumulators of 64 columns, and which registers they are.
#define WGMMA_R8 "%0, %1, %2, %3"
#define WGMMA_R16 WGMMA_R8 ", %4, %5, %6, %7"
#define WGMMA_R24 WGMMA_R16 ", %8, %9, %10, %11"
#define WGMMA_R32 WGMMA_R24 ", %12, %13, %14, %15"
#define WGMMA_R40 WGMMA_R32 ", %16, %17, %18, %19"
#define WGMMA_R48 WGMMA_R40 ", %20, %21, %22, %23"
#define WGMMA_R56 WGMMA_R48 ", %24, %25, %26, %27"
#define WGMMA_R64 WGMMA_R56 ", %28, %29, %30, %31"
#define WGMMA_R72 WGMMA_R64 ", %32, %33, %34, %35"
#define WGMMA_R80 WGMMA_R72 ", %36, %37, %38, %39"
#define WGMMA_R88 WGMMA_R80 ", %40, %41, %42, %43"
#define WGMMA_R96 WGMMA_R88 ", %44, %45, %46, %47"
#define WGMMA_R104 WGMMA_R96 ", %48, %49, %50, %51"
#define WGMMA_R112 WGMMA_R104 ", %52, %53, %54, %55"
#define WGMMA_R120 WGMMA_R112 ", %56, %57, %58, %59"
#define WGMMA_R128 WGMMA_R120 ", %60, %61, %62, %63"
#define WGMMA_R136 WGMMA_R128 ", %64, %65, %66, %67"
#define WGMMA_R144 WGMMA_R136 ", %68, %69, %70, %71"
#define WGMMA_R152 WGMMA_R144 ", %72, %73, %74, %75"
#define WGMMA_R160 WGMMA_R152 ", %76, %77, %78, %79"
#define WGMMA_R168 WGMMA_R160 ", %80, %81, %82, %83"
#define WGMMA_R176 WGMMA_R168 ", %84, %85, %86, %87"
#define WGMMA_R184 WGMMA_R176 ", %88, %89, %90, %91"
#define WGMMA_R192 WGMMA_R184 ", %92, %93, %94, %95"
#define WGMMA_R200 WGMMA_R192 ", %96, %97, %98, %99"
#define WGMMA_R208 WGMMA_R200 ", %100, %101, %102, %103"
#define WGMMA_R216 WGMMA_R208 ", %104, %105, %106, %107"
#define WGMMA_R224 WGMMA_R216 ", %108, %109, %110, %111"
#define WGMMA_R232 WGMMA_R224 ", %112, %113, %114, %115"
#define WGMMA_R240 WGMMA_R232 ", %116, %117, %118, %119"
#define WGMMA_R248 WGMMA_R240 ", %120, %121, %122, %123"
#define WGMMA_R256 WGMMA_R248 ", %124, %125, %126, %127"
#define WGMMA_Q(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_D8 WGMMA_Q(0)
#define WGMMA_D16 WGMMA_D8, WGMMA_Q(4)
#define WGMMA_D24 WGMMA_D16, WGMMA_Q(8)
#define WGMMA_D32 WGMMA_D24, WGMMA_Q(12)
#define WGMMA_D40 WGMMA_D32, WGMMA_Q(16)
#define WGMMA_D48 WGMMA_D40, WGMMA_Q(20)
#define WGMMA_D56 WGMMA_D48, WGMMA_Q(24)
#define WGMMA_D64 WGMMA_D56, WGMMA_Q(28)
#define WGMMA_D72 WGMMA_D64, WGMMA_Q(32)
#define WGMMA_D80 WGMMA_D72, WGMMA_Q(36)
#define WGMMA_D88 WGMMA_D80, WGMMA_Q(40)
#define WGMMA_D96 WGMMA_D88, WGMMA_Q(44)
#define WGMMA_D104 WGMMA_D96, WGMMA_Q(48)
#define WGMMA_D112 WGMMA_D104, WGMMA_Q(52)
#define WGMMA_D120 WGMMA_D112, WGMMA_Q(56)
#define WGMMA_D128 WGMMA_D120, WGMMA_Q(60)
#define WGMMA_D136 WGMMA_D128, WGMMA_Q(64)
#define WGMMA_D144 WGMMA_D136, WGMMA_Q(68)
#define WGMMA_D152 WGMMA_D144, WGMMA_Q(72)
#define WGMMA_D160 WGMMA_D152, WGMMA_Q(76)
#define WGMMA_D168 WGMMA_D160, WGMMA_Q(80)
#define WGMMA_D176 WGMMA_D168, WGMMA_Q(84)
#define WGMMA_D184 WGMMA_D176, WGMMA_Q(88)
#define WGMMA_D192 WGMMA_D184, WGMMA_Q(92)
#define WGMMA_D200 WGMMA_D192, WGMMA_Q(96)
#define WGMMA_D208 WGMMA_D200, WGMMA_Q(100)
#define WGMMA_D216 WGMMA_D208, WGMMA_Q(104)
#define WGMMA_D224 WGMMA_D216, WGMMA_Q(108)
#define WGMMA_D232 WGMMA_D224, WGMMA_Q(112)
#define WGMMA_D240 WGMMA_D232, WGMMA_Q(116)
#define WGMMA_D248 WGMMA_D240, WGMMA_Q(120)
#define WGMMA_D256 WGMMA_D248, WGMMA_Q(124)

// Each size, and the numbers of the six operands that follow its accumulators.
#define WGMMA_SIZES(F) \
  F(8, 4, 5, 6, 7, 8, 9) \
  F(16, 8, 9, 10, 11, 12, 13) \
  F(24, 12, 13, 14, 15, 16, 17) \
  F(32, 16, 17, 18, 19, 20, 21) \
  F(40, 20, 21, 22, 23, 24, 25) \
  F(48, 24, 25, 26, 27, 28, 29) \
  F(56, 28, 29, 30, 31, 32, 33) \
  F(64, 32, 33, 34, 35, 36, 37) \
  F(72, 36, 37, 38, 39, 40, 41) \
  F(80, 40, 41, 42, 43, 44, 45) \
  F(88, 44, 45, 46, 47, 48, 49) \
  F(96, 48, 49, 50, 51, 52, 53) \
  F(104, 52, 53, 54, 55, 56, 57) \
  F(112, 56, 57, 58, 59, 60, 61) \
  F(120, 60, 61, 62, 63, 64, 65) \
  F(128, 64, 65, 66, 67, 68, 69) \
  F(136, 68, 69, 70, 71, 72, 73) \
  F(144, 72, 73, 74, 75, 76, 77) \
  F(152, 76, 77, 78, 79, 80, 81) \
  F(160, 80, 81, 82, 83, 84, 85) \
  F(168, 84, 85, 86, 87, 88, 89) \
  F(176, 88, 89, 90, 91, 92, 93) \
  F(184, 92, 93, 94, 95, 96, 97) \
  F(192, 96, 97, 98, 99, 100, 101) \
  F(200, 100, 101, 102, 103, 104, 105) \
  F(208, 104, 105, 106, 107, 108, 109) \
  F(216, 108, 109, 110, 111, 112, 113) \
  F(224, 112, 113, 114, 115, 116, 117) \
  F(232, 116, 117, 118, 119, 120, 121) \
  F(240, 120, 121, 122, 123, 124, 125) \
  F(248, 124, 125, 126, 127, 128, 129) \
  F(256, 128, 129, 130, 131, 132, 133)

#define FROM_SHARED(N, i0, i1, i2, i3, i4, i5) \
  if constexpr (n == N / 2) \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #i2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N \
                 "k16.f32.bf16.bf16 {" WGMMA_R##N "}, %" #i0 ", %" #i1 ", p, 1, 1, %" #i3 ", %" #i4 ";\n}" \
                 : WGMMA_D##N \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(A)), \
                   "n"(static_cast<int>(B)));
#define FROM_REGISTERS(N, i0, i1, i2, i3, i4, i5) \
  if constexpr (n == N / 2) \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #i5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N \
                 "k16.f32.bf16.bf16 {" WGMMA_R##N "}, {%" #i0 ", %" #i1 ", %" #i2 ", %" #i3 "}, %" #i4 \
                 ", p, 1, 1, " TRANSPOSED ";\n}" \
                 : WGMMA_D##N \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));

// d += A B, or d = A B. A is in shared memory, or in registers: thread t has in a[0] row 16 (t / 32) + t % 32 / 4, k =
// 2 (t % 4) and the next, in a[1] 8 rows further down, in a[2] and a[3] both for k + 8.
template <Major A = Major::k, Major B = Major::k, int n>
PTX void wgmma(float (&d)[n], unsigned long long a, unsigned long long b, bool accumulate = true) {
  static_assert(n % 4 == 0 && n >= 4 && n <= 128, "wgmma has 8, 16, … 256 columns");
  WGMMA_SIZES(FROM_SHARED)
}
template <Major B = Major::k, int n>
PTX void wgmma(float (&d)[n], const unsigned (&a)[4], unsigned long long b, bool accumulate = true) {
  static_assert(n % 4 == 0 && n >= 4 && n <= 128, "wgmma has 8, 16, … 256 columns");
#define TRANSPOSED "0"
  if constexpr (B == Major::k) { WGMMA_SIZES(FROM_REGISTERS) }
#undef TRANSPOSED
#define TRANSPOSED "1"
  if constexpr (B == Major::mn) { WGMMA_SIZES(FROM_REGISTERS) }
#undef TRANSPOSED
}
#undef FROM_REGISTERS
#undef FROM_SHARED
#undef WGMMA_SIZES
#undef WGMMA_Q

}  // namespace ptx

#undef PTX
#endif
