// Which product of a stack a block has, and where its matrices lie: batches.py fills this in.
#pragma once

// blockIdx.y and .z go along two axes, on which matrices lie …_inner and …_outer numbers apart: 0 where one matrix is
// in all products. A long axis is cut into two, and the last blocks may have none.
struct Batches {
  long long a_outer, a_inner, b_outer, b_inner;
  int count;

  static __device__ __forceinline__ int here() { return blockIdx.z * gridDim.y + blockIdx.y; }
  __device__ __forceinline__ long long of_a() const { return blockIdx.z * a_outer + blockIdx.y * a_inner; }
  __device__ __forceinline__ long long of_b() const { return blockIdx.z * b_outer + blockIdx.y * b_inner; }
};
