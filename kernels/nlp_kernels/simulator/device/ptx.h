// What common/ptx.cuh does on a GPU by inline PTX.
#pragma once

namespace ptx {

template <int bytes>
inline void copy_async(void* shared, const void* global, bool present = true, SIMULATOR_SITE) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
  simulator::copy_async(shared, global, bytes, present ? bytes : 0, SIMULATOR_HERE("copy_async"));
}
inline void copy_commit() { simulator::copy_commit(); }
template <int newest>
inline void copy_wait() { simulator::copy_wait(newest); }

inline void barrier_sync(int id, int threads, SIMULATOR_SITE) {
  simulator::barrier(id, static_cast<unsigned>(threads), false, SIMULATOR_HERE("barrier_sync"));
}
inline void barrier_arrive(int id, int threads, SIMULATOR_SITE) {
  simulator::barrier_arrive(id, static_cast<unsigned>(threads), SIMULATOR_HERE("barrier_arrive"));
}

template <int count>
inline void ldmatrix(unsigned (&r)[count], const void* row, SIMULATOR_SITE) {
  simulator::load_matrices(r, count, false, row, SIMULATOR_HERE("ldmatrix"));
}
template <int count>
inline void ldmatrix_transposed(unsigned (&r)[count], const void* row, SIMULATOR_SITE) {
  simulator::load_matrices(r, count, true, row, SIMULATOR_HERE("ldmatrix_transposed"));
}
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], SIMULATOR_SITE) {
  simulator::multiply_bf16(d, a, b, SIMULATOR_HERE("mma_bf16"));
}
inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], SIMULATOR_SITE) {
  simulator::multiply_tf32(d, a, b, SIMULATOR_HERE("mma_tf32"));
}
inline unsigned bf16_pair(float low, float high) {
  auto rounded = [](float x) {  // to the nearest, ties to even; a NaN stays one
    unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fffu : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  };
  return rounded(low) | rounded(high) << 16;
}
inline unsigned tf32_of(float x) {  // to the nearest, ties away from zero
  unsigned bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000) & 0xffffe000u;
}

inline unsigned cluster_rank() { return simulator::cluster_rank(); }
inline unsigned cluster_size() { return simulator::cluster_size(); }
inline void cluster_sync(SIMULATOR_SITE) { simulator::cluster_barrier(SIMULATOR_HERE("cluster_sync")); }
template <class T>
inline T* map_shared(T* p, unsigned rank) { return static_cast<T*>(simulator::map_shared(p, rank)); }

}  // namespace ptx
