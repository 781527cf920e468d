// The part of cooperative groups that kernels here use: the grid, the cluster, the block.
#pragma once

namespace cooperative_groups {

struct grid_group {
  void sync(SIMULATOR_SITE) const { simulator::grid_barrier(SIMULATOR_HERE("grid.sync")); }
  unsigned size() const { return gridDim.x * gridDim.y * gridDim.z * blockDim.x * blockDim.y * blockDim.z; }
  unsigned num_blocks() const { return gridDim.x * gridDim.y * gridDim.z; }
  unsigned block_rank() const { return (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x; }
};

struct cluster_group {
  void sync(SIMULATOR_SITE) const { simulator::cluster_barrier(SIMULATOR_HERE("cluster.sync")); }
  unsigned block_rank() const { return simulator::cluster_rank(); }
  unsigned num_blocks() const { return simulator::cluster_size(); }
  template <class T>
  T* map_shared_rank(T* p, unsigned rank) const { return static_cast<T*>(simulator::map_shared(p, rank)); }
};

struct thread_block {
  void sync(SIMULATOR_SITE) const { simulator::barrier(0, 0, false, SIMULATOR_HERE("block.sync")); }
  unsigned thread_rank() const { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
  unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
};

inline grid_group this_grid() { return {}; }
inline cluster_group this_cluster() { return {}; }
inline thread_block this_thread_block() { return {}; }

}  // namespace cooperative_groups
