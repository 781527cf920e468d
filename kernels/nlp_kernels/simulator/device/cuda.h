// CUDA C++ for the system's compiler: included before a kernel's source, enough of CUDA for it to compile unchanged.
#pragma once
#include <vector_functions.h>
#include <vector_types.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../interface.h"

#define NLP_SIMULATOR 1  // for the few places where device code must differ: inline PTX

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __align__
#undef __cluster_dims__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __cluster_dims__(...)
#define __grid_constant__

#define threadIdx simulator_thread
#define blockIdx simulator_block
#define blockDim simulator_block_size
#define gridDim simulator_grid_size
constexpr int warpSize = 32;

// A call's own place, as default arguments: where the kernel calls, not where the simulator does.
#define SIMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define SIMULATOR_HERE(what) (simulator::Site{file, line, what})
// Reads and writes memory on the kernel's behalf, after its own check.
#define SIMULATOR_UNCHECKED __attribute__((no_sanitize("thread", "alignment"), noipa))

#include "atomics.h"
#include "barriers.h"
#include "instance.h"
#include "intrinsics.h"
#include "shared.h"
#include "warp.h"
