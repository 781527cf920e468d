// Barriers of a block, and what counts as one elsewhere.
#pragma once

inline void __syncthreads(SIMULATOR_SITE) { simulator::barrier(0, 0, false, SIMULATOR_HERE("__syncthreads")); }
inline int __syncthreads_count(int p, SIMULATOR_SITE) {
  return simulator::barrier(0, 0, p, SIMULATOR_HERE("__syncthreads_count")).count;
}
inline int __syncthreads_and(int p, SIMULATOR_SITE) {
  return simulator::barrier(0, 0, p, SIMULATOR_HERE("__syncthreads_and")).all;
}
inline int __syncthreads_or(int p, SIMULATOR_SITE) {
  return simulator::barrier(0, 0, p, SIMULATOR_HERE("__syncthreads_or")).any;
}

inline void __nanosleep(unsigned, SIMULATOR_SITE) { simulator::pause(SIMULATOR_HERE("__nanosleep")); }

// One thread runs at a time and sees all that the others wrote: fences have nothing to do, and none is missed.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
