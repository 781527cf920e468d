// The instructions that CUDA C++ has no function for. Kernels call only these: the simulator has the same functions.
#pragma once
#ifdef NLP_SIMULATOR
#include <ptx.h>
#else
#define PTX __device__ __forceinline__

namespace ptx {

PTX unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// Copy 4, 8 or 16 bytes from global to shared memory, or write zeros where they are not present; both addresses are
// multiples of the size. Needs copy_commit, and copy_wait before the first read (sm_80).
template <int bytes>
PTX void copy_async(void* shared, const void* global, bool present = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
  const int filled = present ? bytes : 0;
  if constexpr (bytes == 16)  // past the first-level cache
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(filled)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(bytes),
                 "r"(filled)
                 : "memory");
}
PTX void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }  // what was begun is one group
template <int newest>
PTX void copy_wait() {  // until at most the `newest` groups are open
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

// Barrier `id` (1 to 15) for some warps of the block: wait for all `threads`, or only count as one of them.
PTX void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
PTX void barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// Tensor cores. A piece of 8 x 8 numbers of 16 bits is a register in each lane of a warp: lane l has row l / 4, columns
// 2 (l % 4) and the next. All 32 lanes call, with the same arguments but for rows and registers.
//
// 1, 2 or 4 pieces from shared memory: lane 8 i + r gives the address of row r of piece i, a multiple of 16 bytes; or
// each piece transposed: lane l then has column l / 4, rows 2 (l % 4) and the next (sm_75).
#define LDMATRIX(TRANSPOSED)                                                                                 \
  static_assert(count == 1 || count == 2 || count == 4, "ldmatrix loads 1, 2 or 4 matrices");                \
  const unsigned address = shared_address(row);                                                              \
  if constexpr (count == 1)                                                                                  \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" TRANSPOSED ".shared.b16 {%0}, [%1];"                        \
                 : "=r"(r[0]) : "r"(address) : "memory");                                                    \
  if constexpr (count == 2)                                                                                  \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" TRANSPOSED ".shared.b16 {%0, %1}, [%2];"                    \
                 : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");                                        \
  if constexpr (count == 4)                                                                                  \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" TRANSPOSED ".shared.b16 {%0, %1, %2, %3}, [%4];"            \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
template <int count>
PTX void ldmatrix(unsigned (&r)[count], const void* row) { LDMATRIX("") }
template <int count>
PTX void ldmatrix_transposed(unsigned (&r)[count], const void* row) { LDMATRIX(".trans") }
#undef LDMATRIX

// d (16, 8) += a (16, 16) b (16, 8), of bfloat16, summed in float (sm_80). a: the pieces upper left, lower left, upper
// right, lower right. b: the pieces k < 8 and k >= 8, transposed: lane l has column l / 4, k = 2 (l % 4) and the next.
// d[0], d[1]: row l / 4, columns 2 (l % 4) and the next; d[2], d[3]: eight rows further down.
PTX void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// d (16, 8) += a (16, 8) b (8, 8) of tf32 (tf32_of), one number to a register: of a piece of 8 x 4, lane l has row
// l / 4, column l % 4; d as above (sm_80).
PTX void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Two floats as the two bfloat16 of a register, one float as tf32: rounded to the nearest (sm_80).
PTX unsigned bf16_pair(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
PTX unsigned tf32_of(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#undef __cluster_dims__
#define __cluster_dims__(...)  // there are none before sm_90: kernels are asked for with clusters of one block
#endif

// Clusters (sm_90): which block of the cluster this is, a barrier of all, an address in another one's shared memory.
PTX unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
PTX unsigned cluster_size() {
  unsigned size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
PTX void cluster_sync() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}
template <class T>
PTX T* map_shared(T* p, unsigned rank) {
  unsigned long long mapped;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(p), "r"(rank));
  return reinterpret_cast<T*>(mapped);
}

}  // namespace ptx

#undef PTX
#endif
