// What common/hopper.cuh does on a GPU by inline PTX.
#pragma once
#include "ptx.h"

namespace ptx {

using mbarrier = unsigned long long;
using simulator::TensorMap;

inline void mbarrier_init(mbarrier* b, unsigned count, SIMULATOR_SITE) {
  simulator::mbarrier_init(b, count, SIMULATOR_HERE("mbarrier_init"));
}
inline void mbarrier_arrive(mbarrier* b, SIMULATOR_SITE) {
  simulator::mbarrier_arrive(b, SIMULATOR_HERE("mbarrier_arrive"));
}
inline void mbarrier_arrive_remote(mbarrier* b, unsigned rank, SIMULATOR_SITE) {
  simulator::mbarrier_arrive(map_shared(b, rank), SIMULATOR_HERE("mbarrier_arrive_remote"));
}
inline void mbarrier_arrive_expect_tx(mbarrier* b, unsigned bytes, SIMULATOR_SITE) {
  simulator::mbarrier_arrive_expect_tx(b, bytes, SIMULATOR_HERE("mbarrier_arrive_expect_tx"));
}
inline bool mbarrier_try_wait(mbarrier* b, unsigned parity, SIMULATOR_SITE) {
  return simulator::mbarrier_try_wait(b, parity, SIMULATOR_HERE("mbarrier_try_wait"));
}
inline void mbarrier_wait(mbarrier* b, unsigned parity, SIMULATOR_SITE) {
  simulator::mbarrier_wait(b, parity, SIMULATOR_HERE("mbarrier_wait"));
}
inline void fence_barrier_init() { simulator::fence_barrier_init(); }
inline void fence_proxy_async() { simulator::fence_proxy_async(); }

inline void bulk_load(void* shared, const void* global, unsigned bytes, mbarrier* b, SIMULATOR_SITE) {
  simulator::bulk_load(shared, global, bytes, b, SIMULATOR_HERE("bulk_load"));
}
inline void bulk_store(void* global, const void* shared, unsigned bytes, SIMULATOR_SITE) {
  simulator::bulk_store(global, shared, bytes, false, SIMULATOR_HERE("bulk_store"));
}
inline void bulk_add(float* global, const float* shared, unsigned bytes, SIMULATOR_SITE) {
  simulator::bulk_store(global, shared, bytes, true, SIMULATOR_HERE("bulk_add"));
}
inline void bulk_commit() { simulator::bulk_commit(); }
template <int newest>
inline void bulk_wait() { simulator::bulk_wait(newest, false); }
template <int newest>
inline void bulk_wait_read() { simulator::bulk_wait(newest, true); }

template <int n>
inline void tma_load(void* tile, const TensorMap* map, mbarrier* b, const int (&at)[n], SIMULATOR_SITE) {
  simulator::tma_load(tile, map, b, at, n, 0, SIMULATOR_HERE("tma_load"));
}
template <int n>
inline void tma_load_multicast(void* tile, const TensorMap* map, mbarrier* b, unsigned short ranks, const int (&at)[n],
                               SIMULATOR_SITE) {
  simulator::tma_load(tile, map, b, at, n, ranks, SIMULATOR_HERE("tma_load_multicast"));
}
template <int n>
inline void tma_store(const TensorMap* map, const void* tile, const int (&at)[n], SIMULATOR_SITE) {
  simulator::tma_store(map, tile, at, n, SIMULATOR_HERE("tma_store"));
}
inline void tma_prefetch(const TensorMap*) {}

template <int count>
inline void stmatrix(void* row, const unsigned (&r)[count], SIMULATOR_SITE) {
  simulator::store_matrices(row, r, count, false, SIMULATOR_HERE("stmatrix"));
}
template <int count>
inline void stmatrix_transposed(void* row, const unsigned (&r)[count], SIMULATOR_SITE) {
  simulator::store_matrices(row, r, count, true, SIMULATOR_HERE("stmatrix_transposed"));
}

template <int count>
inline void setmaxnreg_inc(SIMULATOR_SITE) {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256, "setmaxnreg takes 24, 32, … 256 registers");
  simulator::setmaxnreg(count, true, SIMULATOR_HERE("setmaxnreg_inc"));
}
template <int count>
inline void setmaxnreg_dec(SIMULATOR_SITE) {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256, "setmaxnreg takes 24, 32, … 256 registers");
  simulator::setmaxnreg(count, false, SIMULATOR_HERE("setmaxnreg_dec"));
}

}  // namespace ptx
