"""Bugs planted in small kernels, and what the simulator says of each; the right kernel is run beside it."""

import numpy as np
import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import Pointers, SimulatorError
from simulated import body, needs_simulator, refused, run

pytestmark = needs_simulator()
ORDERS = ("forward", "reverse", "random:1", "random:2")
PTX = (f"-I{ROOT / 'common'}",)

REVERSE = """extern "C" __global__ void kernel(const float* x, float* y, int n) {
  __shared__ float row[64];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  row[t] = i < n ? x[i] : 0.0f;
  __syncthreads();
  float other = row[63 - t];
  if (i < n) y[i] = other;
}"""

SUM = """extern "C" __global__ void kernel(const float* x, float* y) {
  __shared__ float part[4];
  int t = threadIdx.x;
  for (int round = 0; round < 2; round++) {
    float s = x[128 * round + t];
    for (int o = 16; o; o /= 2) s += __shfl_xor_sync(0xffffffffu, s, o);
    if (t % 32 == 0) part[t / 32] = s;
    __syncthreads();
    float all = part[0] + part[1] + part[2] + part[3];
    if (t == 0) y[round] = all;
    __syncthreads();
  }
}"""

VECTORS = """struct alignas(16) Four { float v[4]; };
extern "C" __global__ void kernel(const float* x, float* y, int n) {
  int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) *reinterpret_cast<Four*>(y + i) = *reinterpret_cast<const Four*>(x + i);
}"""

COUNT = """extern "C" __global__ void kernel(const int* x, int* y) {
  __shared__ int counts[8];
  int t = threadIdx.x;
  if (t < 8) counts[t] = 0;
  __syncthreads();
  atomicAdd(&counts[x[blockIdx.x * 64 + t]], 1);
  __syncthreads();
  if (t < 8) atomicAdd(&y[t], counts[t]);
}"""

CLUSTER = """#include "ptx.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) kernel(float* y) {
  __shared__ float mine[32];
  mine[threadIdx.x] = blockIdx.x;
  ptx::cluster_sync();
  y[blockIdx.x * 32 + threadIdx.x] = ptx::map_shared(mine, 1 - ptx::cluster_rank())[threadIdx.x];
  ptx::cluster_sync();
}"""

COPY = """#include "ptx.cuh"
extern "C" __global__ void kernel(const float* x, float* y) {
  __shared__ alignas(16) float ring[2][128];
  int t = threadIdx.x;
  ptx::copy_async<16>(&ring[0][4 * t], &x[4 * t]);
  ptx::copy_commit();
  for (int i = 0; i < 2; i++) {
    if (i == 0) ptx::copy_async<16>(&ring[1][4 * t], &x[128 + 4 * t]);
    ptx::copy_commit();
    ptx::copy_wait<1>();
    __syncthreads();
    for (int j = t; j < 128; j += 32) y[128 * i + j] = ring[i][127 - j];
  }
  ptx::copy_wait<0>();
}"""

GRID = """#include <cooperative_groups.h>
extern "C" __global__ void kernel(float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
  y[i] = i;
  cooperative_groups::this_grid().sync();
  float other = y[n - 1 - i];
  cooperative_groups::this_grid().sync();
  y[i] = other;
}"""


def arguments(code):
    rng = np.random.default_rng(0)
    x = rng.normal(size=256).astype(np.float32)
    if code == REVERSE:
        return (2, 64, x[:100], np.zeros(100, np.float32), np.int32(100))
    if code == SUM:
        return (1, 128, x, np.zeros(2, np.float32))
    if code == VECTORS:
        return (1, 32, x[:128], np.zeros(128, np.float32), np.int32(128))
    if code == COUNT:
        return (2, 64, rng.integers(0, 8, 128).astype(np.int32), np.zeros(8, np.int32))
    if code == CLUSTER:
        return (4, 32, np.zeros(128, np.float32))
    if code == COPY:
        return (1, 32, x, np.zeros(256, np.float32))
    return (3, 32, np.zeros(96, np.float32))


def launch(code):
    return {"options": PTX, "cooperative": code == GRID}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("code", [REVERSE, SUM, VECTORS, COUNT, CLUSTER, COPY, GRID], ids=range(7))
def test_the_kernels_are_right(code, order):
    grid, block, *given = arguments(code)
    run(code, grid, block, *given, order=order, **launch(code))
    x, y = given[0], given[-1] if isinstance(given[-1], np.ndarray) else given[1]
    expected = {
        REVERSE: lambda: np.append(x[:64][::-1], np.append(np.zeros(28, np.float32), x[64:100][::-1])[: 100 - 64]),
        SUM: lambda: x.reshape(2, 128).sum(1),
        VECTORS: lambda: x,
        COUNT: lambda: np.bincount(x, minlength=8),
        CLUSTER: lambda: np.repeat([1, 0, 3, 2], 32),
        COPY: lambda: x.reshape(2, 128)[:, ::-1].ravel(),
        GRID: lambda: np.arange(96)[::-1],
    }[code]()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


THREAD = r"thread \(\d+, 0, 0\) of block \(\d, 0, 0\)"
PLANTED = {
    # global memory
    "one element too far": (
        REVERSE,
        "if (i < n) y",
        "if (i <= n) y",
        r"out of bounds: thread \(36, 0, 0\) of block "
        r"\(1, 0, 0\) writes y\[100\] at kernel.cu:7, but y has 100 elements",
    ),
    "before the first": (REVERSE, "x[i]", "x[i - 1]", r"out of bounds: thread .* reads x\[-1\] at kernel.cu:4"),
    "a row too far": (REVERSE, "y[i] =", "y[i + 1000000] =", r"writes y\[10000\d+\] at kernel.cu:7, but y has 100"),
    "no bound at all": (
        VECTORS,
        "if (i < n)",
        "i += 4;",
        rf"out of bounds: {THREAD} (reads|writes) 4 elements from [xy]\[128\]",
    ),
    "a misaligned vector": (
        VECTORS,
        "(x + i)",
        "(x + i + 1)",
        r"misaligned: .* the address of x\[\d+\] as 'const "
        r"struct Four' at kernel.cu:4, which needs a multiple of 16 bytes",
    ),
    "a null pointer": (SUM, "x[128 * round + t]", "(x + t == y ? x : nullptr)[round]", "bad pointer: .* kernel.cu:5"),
    "every thread writes one element": (
        SUM,
        "if (t == 0) y",
        "y",
        r"race: .* writes y\[0\] at kernel.cu:10, which "
        rf"{THREAD} wrote at kernel.cu:10, and no barrier lies between",
    ),
    "two blocks write one element": (SUM, "y[round] = all", "y[round] += all", None),
    # shared memory
    "past its end": (
        REVERSE,
        "row[63 - t]",
        "row[64 - t]",
        r"out of bounds: thread \(0, 0, 0\) .* reads row\[64\] in "
        r"shared memory at kernel.cu:6, but row has 64 elements of 4 bytes",
    ),
    "an element that is not written": (
        REVERSE,
        "row[t] =",
        "if (t) row[t] =",
        r"unwritten: thread \(63, 0, 0\) .* "
        r"reads row\[0\] in shared memory at kernel.cu:6",
    ),
    "counters that start anywhere": (COUNT, "if (t < 8) counts[t] = 0;", "", r"unwritten: .* reads counts\[\d\]"),
    "more than there is": (SUM, "part[4]", "part[20000]", "part: 80000 bytes of static shared memory"),
    # missing barriers
    "no barrier after the write": (
        SUM,
        "    __syncthreads();\n    float",
        "    float",
        r"(race|unwritten): .* reads "
        r"part\[\d\] in shared memory at kernel.cu:8",
    ),
    "no barrier before the next write": (
        SUM,
        "all;\n    __syncthreads();",
        "all;",
        r"race: .* writes part\[\d\] in "
        r"shared memory at kernel.cu:7, which .* read",
    ),
    "a warp's barrier for the block's": (
        SUM,
        "    __syncthreads();\n    float",
        "    __syncwarp();\n    float",
        r"(race|unwritten): .* reads part",
    ),
    "lanes of a warp without a barrier": (
        REVERSE,
        "__syncthreads();",
        "if (t >= 64) __syncwarp();",
        r"(race|unwritten): .* row\[\d+\] in shared memory",
    ),
    "a counter without atomics": (
        COUNT,
        "atomicAdd(&counts[x[blockIdx.x * 64 + t]], 1);",
        "counts[x[blockIdx.x * 64 + t]]++;",
        r"race: .* (reads|writes) counts\[\d\]",
    ),
    "an atomic beside a plain access": (
        COUNT,
        "if (t < 8) atomicAdd(&y[t], counts[t]);",
        "if (t < 16) { if (t < 8) y[t] = 0; else atomicAdd(&y[t - 8], 1); }",
        "race: ",
    ),
    "no grid barrier": (
        GRID,
        "  cooperative_groups::this_grid().sync();\n  float",
        "  float",
        r"race: .* y\[\d+\] at kernel.cu:[45]",
    ),
    # divergence and deadlocks
    "a barrier in a branch": (
        SUM,
        "    __syncthreads();\n    float",
        "    if (t < 64) __syncthreads();\n    float",
        r"divergent barrier: .* __syncthreads at kernel.cu:8",
    ),
    "another barrier in each branch": (
        SUM,
        "    __syncthreads();\n    float",
        "    if (t < 64) __syncthreads();\n    else __syncthreads();\n    float",
        r"divergent barrier: .* reaches "
        r"__syncthreads at kernel.cu:[89], but \d+ threads of its block wait in",
    ),
    "a return before the barrier": (
        REVERSE,
        "  row[t]",
        "  if (i >= n) return;\n  row[t]",
        "divergent barrier: .*"
        r"(returns, but \d+ threads wait for it|threads of its block have returned)",
    ),
    "a shuffle in a branch": (
        SUM,
        "for (int o",
        "if (t < 16) for (int o",
        r"(?s)(divergent warp|deadlock): .*__shfl_xor_sync at kernel.cu:6",
    ),
    "a mask without the caller": (
        SUM,
        "0xffffffffu, s, o",
        "0x0000ffffu, s, o",
        "mask 0000ffff(, 32 lanes| "
        r"does not name lane \d+, which calls it)",
    ),
    "a lane that takes no part": (
        SUM,
        "__shfl_xor_sync(0xffffffffu, s, o)",
        "(t % 32 < 16 ? __shfl_xor_sync(0x0000ffffu, s, 16) : 0.0f)",
        r"reads the value of lane \d+, which takes no part",
    ),
    "a shuffle beside a vote": (
        SUM,
        "float all",
        "if (t % 2) __any_sync(0xffffffffu, 1); else __syncwarp();\n    float all",
        "divergent warp: .* but lane .* waits for it in",
    ),
    "a spin on what nobody writes": (
        SUM,
        "    if (t == 0) y",
        "    while (x[0] == *(volatile const float*)x) { }\n    if (t == 0) y",
        "livelock: threads wait for a value that nobody writes",
    ),
    "a grid barrier in one block": (
        GRID,
        "  float other",
        "  if (blockIdx.x == 0) cooperative_groups::this_grid().sync();\n  float other",
        r"divergent barrier: .* grid.sync|race: .* reads y",
    ),
    # clusters and copies
    "no cluster barrier after the write": (
        CLUSTER,
        "blockIdx.x;\n  ptx::cluster_sync();",
        "blockIdx.x;",
        r"(unwritten|race): .* reads mine\[\d+\] in shared memory",
    ),
    "a block leaves while it is read": (CLUSTER, "[threadIdx.x];\n  ptx::cluster_sync();", "[threadIdx.x];", None),
    "a rank outside the cluster": (
        CLUSTER,
        "1 - ptx",
        "2 + ptx",
        r"maps shared memory of block [23] of a cluster of 2",
    ),
    "a copy not waited for": (
        COPY,
        "ptx::copy_wait<1>();",
        "",
        r"unfinished copy: .* reads ring\[\d+\] in shared memory at kernel.cu:\d+"
        " before the asynchronous copy to it was waited for",
    ),
    "one group too few waited for": (COPY, "copy_wait<1>", "copy_wait<2>", "unfinished copy: .* reads ring"),
    "copies left open": (
        COPY,
        "  ptx::copy_wait<0>();",
        "  ptx::copy_async<4>(&ring[0][t], x); ptx::copy_commit();",
        r"unfinished copy: .* returns without waiting for 1 asynchronous copies",
    ),
    "a misaligned copy": (COPY, "&x[4 * t]", "&x[4 * t + 1]", "misaligned: .* copies 16 bytes in copy_async at kernel"),
    "a copy that others read too soon": (
        COPY,
        "    __syncthreads();\n",
        "",
        "(race|unfinished copy|unwritten): .* reads ring",
    ),
}


@pytest.mark.parametrize("name", [name for name, bug in PLANTED.items() if bug[3]])
def test_a_planted_bug_is_named_in_every_order(name):
    code, right, wrong, message = PLANTED[name]
    assert code.count(right) >= 1
    grid, block, *given = arguments(code)
    refused(message, code.replace(right, wrong), grid, block, *given, orders=ORDERS, **launch(code))


def test_two_blocks_that_write_one_element():
    """Seen where the blocks are resident at the same time: in random orders."""
    code, right, wrong, _ = PLANTED["two blocks write one element"]
    _, block, x, y = arguments(code)
    refused(r"race: .* y\[0\]", code.replace(right, wrong), 2, block, x, y, orders=("random:1", "random:2"))


def test_a_block_that_leaves_while_another_reads_it():
    """A matter of order: the block must be gone when the other comes."""
    code, right, wrong, _ = PLANTED["a block leaves while it is read"]
    grid, block, y = arguments(code)
    refused(r"reads mine\[\d+\] in shared memory of block \(\d, 0, 0\) of its cluster, which has returned",
            code.replace(right, wrong), grid, block, y, orders=("forward", "random:1"), **launch(code))  # fmt: skip


def test_a_deadlock_says_who_waits_where():
    code = '#include "ptx.cuh"\n' + body("""
      if (t < 32) ptx::barrier_sync(1, 64);
      else ptx::barrier_sync(2, 64);""")
    with pytest.raises(SimulatorError, match="deadlock: no thread can go on") as caught:
        run(code, 1, 64, np.zeros(1, np.int32), options=PTX)
    assert "32 threads in barrier_sync at kernel.cu:5, the first is thread (0, 0, 0) of block (0, 0, 0)" in str(
        caught.value
    )
    assert "32 threads in barrier_sync at kernel.cu:6, the first is thread (32, 0, 0)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ptx::barrier_sync(16, 64);", "barrier 16 does not exist"),
        ("ptx::barrier_sync(1, 33);", "barrier 1 for 33 threads, expected a multiple of 32 up to the block's 64"),
        ("ptx::barrier_sync(1, t < 32 ? 64 : 32);", "barrier 1 for 32 threads, but others wait for 64 there"),
        ("y[0] = __shfl_sync(~0u, t, 0, 12);", "width 12 is not a power of two"),
        ("__trap();", "__trap was called"),
        ("assert(t < 40);", r"assertion failed: t < 40 at kernel.cu:5, in thread \(40, 0, 0\)"),
        ("extern __shared__ int d[]; d[t] = t;", "uses dynamic shared memory at kernel.cu:5, but"),
        ("volatile char big[600000]; for (int i = 599999; i >= 0; i--) big[i] = t;", "KiB of local memory"),
    ],
)  # fmt: skip
def test_other_misuse_is_named(text, message):
    refused(message, '#include "ptx.cuh"\n' + body("\n" + text), 1, 64, np.zeros(1, np.int32), options=PTX)


TABLE = """extern "C" __global__ void kernel(const float* const* x, float* const* y, const int* n) {
  int k = blockIdx.x, t = threadIdx.x;
  if (t < n[k]) y[k][t] = x[k][t];
}"""


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("t < n", "t <= n", r"out of bounds: .* reads (x\[0\]\[5\] .*x\[0\] has 5|x\[1\]\[3\] .*x\[1\] has 3) element"),
        ("y[k][t] =", "y[k][t - 1] =", r"out of bounds: .* writes y\[\d\]\[-1\] at kernel.cu:3"),
        ("x[k][t]", "x[k + 1][t]", r"out of bounds: .* reads x(\[1\]\[[34]\]|\[2\] at kernel.cu:3, but x has 2 ele)"),
        ("y[k][t] =", "y[k][0] =", r"race: .* writes y\[\d\]\[0\] at kernel.cu:3"),
        ("x[k][t]", "*reinterpret_cast<const double*>(x[k] + 1)", r"misaligned: .* the address of x\[\d\]\[1\]"),
    ],
)  # fmt: skip
def test_bugs_through_a_table_of_pointers_name_the_array(right, wrong, message):
    x, y = ([np.zeros(n, np.float32) for n in (5, 3)] for _ in range(2))
    given = (Pointers(x), Pointers(y), np.array([5, 3], np.int32))
    run(TABLE, 2, 32, *given)
    refused(message, TABLE.replace(right, wrong), 2, 32, *given, orders=("forward", "random:1", "random:2"))


def test_a_grid_barrier_needs_a_cooperative_launch():
    refused("was not launched as a cooperative one", GRID, 3, 32, np.zeros(96, np.float32))


def test_an_address_of_a_thread_s_own_memory_is_no_use_to_others():
    code = body("""
      __shared__ int* where;
      volatile int mine[2];
      mine[0] = t;
      if (t == 0) where = const_cast<int*>(mine);
      __syncthreads();
      y[t] = *where;""")
    refused("bad pointer: .* kernel.cu:9", code, 1, 32, np.zeros(32, np.int32))


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_not_seen(order):
    """Fences and bank conflicts: one thread runs at a time, and what it writes is there for the next."""
    code = """extern "C" __global__ void kernel(volatile int* data, int* flag, int* y) {
      if (blockIdx.x == 0) {
        *data = 5;
        atomicExch(flag, 1);  // a GPU may show the flag before the data: __threadfence() is missing
      } else {
        while (atomicAdd(flag, 0) == 0) { }
        *y = *data;
      }
    }"""
    data, flag, y = (np.zeros(1, np.int32) for _ in range(3))
    run(code, 2, 1, data, flag, y, order=order, cooperative=True)
    assert y == 5
