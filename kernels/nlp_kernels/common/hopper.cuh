// Hopper's asynchronous machinery: mbarriers, the copy engine (TMA), and small instructions (sm_90; setmaxnreg sm_90a).
// simulator/README.md explains what it does; wgmma is in wgmma.cuh. `newest` is always of compile time.
#pragma once
#include "ptx.cuh"
#ifdef NLP_SIMULATOR
#include <hopper.h>
#else
#define PTX __device__ __forceinline__

namespace ptx {

// A barrier in shared memory, a multiple of 8 bytes, at which threads arrive without waiting, and copies with the bytes
// they bring. A phase is complete when `count` threads have arrived and all bytes expected have come; then the next
// begins. Phases 0, 2, 4, … have parity 0, and the first wait is for it; a wait for parity 1 before that passes at once.
using mbarrier = unsigned long long;

PTX void mbarrier_init(mbarrier* b, unsigned count) {  // then fence_barrier_init, and a barrier of the block or cluster
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count) : "memory");
}
PTX void mbarrier_arrive(mbarrier* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// At the same place in that block of the cluster. It publishes nothing that this thread has written: what it has read
// may be overwritten. With .release.cluster the compiler puts a fence of the whole GPU before each arrival.
PTX void mbarrier_arrive_remote(mbarrier* b, unsigned rank) {
  asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(b)),
               "r"(rank) : "memory");
}
PTX void mbarrier_arrive_expect_tx(mbarrier* b, unsigned bytes) {  // arrive; and so many bytes more will come
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
               : "memory");
}
PTX bool mbarrier_try_wait(mbarrier* b, unsigned parity) {  // whether the phase is complete; may wait a while
  unsigned complete;
  asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
               : "=r"(complete) : "r"(shared_address(b)), "r"(parity) : "memory");
  return complete;
}
PTX void mbarrier_wait(mbarrier* b, unsigned parity) {
  while (!mbarrier_try_wait(b, parity)) {
  }
}
// What this thread has initialised is there for the copy engine and for the cluster, once they have met.
PTX void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// What this thread has written to shared memory is there for the copy engine and wgmma, once they have met: each thread
// that wrote calls it, then comes the barrier, then the copy or product.
PTX void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Copies of `bytes`, a multiple of 16, from and to multiples of 16. One thread begins one; a load arrives at `b`.
PTX void bulk_load(void* shared, const void* global, unsigned bytes, mbarrier* b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)), "l"(global), "r"(bytes), "r"(shared_address(b)) : "memory");
}
PTX void bulk_store(void* global, const void* shared, unsigned bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global),
               "r"(shared_address(shared)), "r"(bytes) : "memory");
}
PTX void bulk_add(float* global, const float* shared, unsigned bytes) {  // global += shared, each number atomically
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(global),
               "r"(shared_address(shared)), "r"(bytes) : "memory");
}
// Stores are put into groups by the thread that began them; it waits until at most the `newest` groups are not done, or
// have not yet read shared memory. A thread with stores waits for their reads before it returns.
PTX void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int newest>
PTX void bulk_wait() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(newest) : "memory"); }
template <int newest>
PTX void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(newest) : "memory"); }

// A tensor of 1 to 5 axes and the tile that a copy moves, from common/tensor_map.py; a kernel's parameter
// `const __grid_constant__ ptx::TensorMap`. A tile begins at a multiple of 128 bytes, with a swizzle at one of 8 spans.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};
PTX void tma_prefetch(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

#define TMA_LOAD(AXES, COORDINATES, ...) \
  asm volatile("cp.async.bulk.tensor." AXES ".shared::cluster.global.mbarrier::complete_tx::bytes " \
               "[%0], [%1, {" COORDINATES "}], [%2];" ::"r"(shared_address(tile)), "l"(map), \
               "r"(shared_address(b)), __VA_ARGS__ : "memory")
#define TMA_MULTICAST(AXES, COORDINATES, ...) \
  asm volatile("cp.async.bulk.tensor." AXES ".shared::cluster.global.mbarrier::complete_tx::bytes" \
               ".multicast::cluster [%0], [%1, {" COORDINATES "}], [%2], %3;" ::"r"(shared_address(tile)), \
               "l"(map), "r"(shared_address(b)), "h"(ranks), __VA_ARGS__ : "memory")
#define TMA_STORE(AXES, COORDINATES, ...) \
  asm volatile("cp.async.bulk.tensor." AXES ".global.shared::cta.bulk_group [%1, {" COORDINATES "}], [%0];" :: \
                   "r"(shared_address(tile)), "l"(map), __VA_ARGS__ : "memory")
#define TMA(INSTRUCTION, C0, C1, C2, C3, C4) \
  static_assert(n >= 1 && n <= 5, "a tensor has 1 to 5 axes"); \
  if constexpr (n == 1) INSTRUCTION("1d", C0, "r"(at[0])); \
  if constexpr (n == 2) INSTRUCTION("2d", C0 ", " C1, "r"(at[0]), "r"(at[1])); \
  if constexpr (n == 3) INSTRUCTION("3d", C0 ", " C1 ", " C2, "r"(at[0]), "r"(at[1]), "r"(at[2])); \
  if constexpr (n == 4) \
    INSTRUCTION("4d", C0 ", " C1 ", " C2 ", " C3, "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])); \
  if constexpr (n == 5) \
    INSTRUCTION("5d", C0 ", " C1 ", " C2 ", " C3 ", " C4, "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), \
                "r"(at[4]))

// The tile whose first number is `at`, the innermost coordinate first; zeros outside the tensor, which count as bytes.
template <int n>
PTX void tma_load(void* tile, const TensorMap* map, mbarrier* b, const int (&at)[n]) {
  TMA(TMA_LOAD, "%3", "%4", "%5", "%6", "%7");
}
// To each block of the cluster in the bits `ranks`, at the same place, arriving at its mbarrier of the same place.
template <int n>
PTX void tma_load_multicast(void* tile, const TensorMap* map, mbarrier* b, unsigned short ranks, const int (&at)[n]) {
  TMA(TMA_MULTICAST, "%4", "%5", "%6", "%7", "%8");
}
// In the group of bulk_commit; what is outside the tensor is not written.
template <int n>
PTX void tma_store(const TensorMap* map, const void* tile, const int (&at)[n]) {
  TMA(TMA_STORE, "%2", "%3", "%4", "%5", "%6");
}
#undef TMA
#undef TMA_STORE
#undef TMA_MULTICAST
#undef TMA_LOAD

// The counterparts of ldmatrix: 1, 2 or 4 pieces of 8 x 8 numbers of 16 bits to shared memory.
#define STMATRIX(TRANSPOSED) \
  static_assert(count == 1 || count == 2 || count == 4, "stmatrix stores 1, 2 or 4 matrices"); \
  const unsigned address = shared_address(row); \
  if constexpr (count == 1) \
    asm volatile("stmatrix.sync.aligned.m8n8.x1" TRANSPOSED ".shared.b16 [%0], {%1};" ::"r"(address), "r"(r[0]) \
                 : "memory"); \
  if constexpr (count == 2) \
    asm volatile("stmatrix.sync.aligned.m8n8.x2" TRANSPOSED ".shared.b16 [%0], {%1, %2};" ::"r"(address), \
                 "r"(r[0]), "r"(r[1]) : "memory"); \
  if constexpr (count == 4) \
    asm volatile("stmatrix.sync.aligned.m8n8.x4" TRANSPOSED ".shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), \
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
template <int count>
PTX void stmatrix(void* row, const unsigned (&r)[count]) { STMATRIX("") }
template <int count>
PTX void stmatrix_transposed(void* row, const unsigned (&r)[count]) { STMATRIX(".trans") }
#undef STMATRIX

// From here on this warp has so many registers a thread, more or fewer than before; more come from warps that gave up
// theirs, and are waited for. The kernel needs __launch_bounds__(threads, 1), the warps of a warpgroup the same.
template <int count>
PTX void setmaxnreg_inc() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256, "setmaxnreg takes 24, 32, … 256 registers");
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
PTX void setmaxnreg_dec() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256, "setmaxnreg takes 24, 32, … 256 registers");
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace ptx

#undef PTX
#endif
