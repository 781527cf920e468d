// The instructions that CUDA C++ has no function for. Kernels call only these: the simulator has the same functions.
#pragma once
#ifdef NLP_SIMULATOR
#include <ptx.h>
#else
#define PTX __device__ __forceinline__

namespace ptx {

// An address that was read from memory, as one of global memory: else each access asks what kind of memory it is of.
template <class T>
PTX T* global(T* p) {
  __builtin_assume(__isGlobal(p));
  return p;
}

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

// What is there comes to the second-level cache; the thread does not wait for it.
PTX void prefetch(const void* global) { asm volatile("prefetch.global.L2 [%0];" ::"l"(global)); }

// Barrier `id` (1 to 15) for some warps of the block: wait for all `threads`, or only count as one of them.
PTX void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
PTX void barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

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
