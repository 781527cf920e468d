"""Bugs planted in the real kernels: the simulator names each of them, in the forward order and a random one."""

import numpy as np
import pytest
from nlp_kernels.simulator import RawModule, SimulatorError, simulate, translate
from nlp_kernels.softmax.cuda import SOURCE
from simulated import needs_simulator

pytestmark = needs_simulator()
WARP, BLOCK = "softmax_forward<float, 32, 8, 1>", "softmax_forward<float, 512, 32, 1>"
WIDE, LONG = "softmax_forward<float, 32, 8, 4>", "softmax_forward_long<float, 512>"
BACKWARD = "softmax_backward<float, 512, 16, 1>"
CLUSTER = "softmax_forward<float, 1024, 16, 1>"

# name: (kernel, rows, columns, what is right, what is planted, the message)
PLANTED = {
    "no barrier after the write": (
        *(BLOCK, 2, 700, "__syncthreads();\n  } else", "} else"),
        r"(race|unwritten): .* reads part\[\d+\] in shared memory at common/\w+.cuh:\d+",
    ),
    "no barrier before the next write": (
        *(BACKWARD, 2, 700, "if constexpr (CLUSTER == 1) __syncthreads();", "if constexpr (CLUSTER == 1);"),
        r"race: .* (reads|writes) part\[\d+\] in shared memory at common/rows.cuh:\d+",
    ),
    "a sum over one warp too many": (
        *(BLOCK, 1, 600, "w < WARPS; w += 32", "w <= WARPS; w += 32"),
        r"out of bounds: .* reads part\[16\] in shared memory at common/\w+.cuh:\d+, but part has 16 elements",
    ),
    "half a warp's mask": (
        *(WARP, 2, 9, "all_lanes = 0xffffffffu", "all_lanes = 0xffffu"),
        r"__shfl_xor_sync at common/rows.cuh:\d+: .*mask 0000ffff",
    ),
    "a load past the row": (
        *(WARP, 1, 9, "if (i * GROUP < C - t * WIDTH) vector =", "vector ="),
        r"out of bounds: .* reads x\[\d+\] at common/rows.cuh:\d+, but x has 9 elements",
    ),
    "a store past the row": (
        *(WARP, 1, 9, "if (i * GROUP >= C - t * WIDTH) continue;\n", ""),
        r"out of bounds: .* writes y\[\d+\] at common/rows.cuh:\d+, but y has 9 elements",
    ),
    "a row too many": (
        *(WARP, 5, 9, "n < N; n +=", "n <= N; n +="),
        r"out of bounds: .* reads x\[\d+\] at common/rows.cuh:\d+, but x has 45 elements",
    ),
    "two groups with one row": (
        *(WARP, 5, 9, "groups + threadIdx.x / GROUP; n < N", "groups + threadIdx.x / GROUP / 2; n < N"),
        r"race: .* writes y\[\d+\] at common/rows.cuh:\d+, which .* wrote at common/rows.cuh",
    ),
    "vectors of rows that are not aligned": (
        *(WIDE, 3, 9, "", ""),
        r"misaligned: .* the address of x\[(9|18)\] as 'const struct Vector",
    ),
    "a row's end in the middle of a long loop": (
        *(
            LONG,
            1,
            600,
            "c < C; c += GROUP)\n      own.add",
            "c <= C; c += GROUP)\n      own.add",
        ),
        r"out of bounds: .* x\[600\] at softmax/cuda.cu:\d+",
    ),
    "a group that leaves the others alone": (
        *(
            BLOCK,
            2,
            700,
            "const T m = finite_or_zero(own.m);\n",
            "const T m = finite_or_zero(own.m);\n    if (t >= 256) return;\n",
        ),
        r"divergent barrier: .* (returns, but \d+ threads wait for it in|reaches) __syncthreads at common/rows.cuh",
    ),
    "the whole block where a warp has a row": (
        *(WARP, 3, 9, "group_exponentials<GROUP>(own", "group_exponentials<128>(own"),
        r"divergent barrier: .* __syncthreads at common/rows.cuh:\d+",
    ),
    "no barrier between the blocks of a cluster": (
        *(CLUSTER, 1, 1025, "ptx::cluster_sync();\n  }", "}"),
        r"(race|unwritten): .* reads part\[\d+\] in shared memory at common/\w+.cuh:\d+",
    ),
    "no barrier before the next row of a cluster": (
        *(CLUSTER, 2, 1025, "else ptx::cluster_sync();", "else __syncthreads();"),
        r"race: .* (reads|writes) part\[\d+\] in shared memory at common/\w+.cuh:\d+, which .* of block \(\d, 0, 0\)",
    ),
    "the results of a block to one block too many": (
        *(CLUSTER, 1, 1025, "if (lane < CLUSTER)", "if (lane <= CLUSTER)"),
        r"maps shared memory of block \d of a cluster of 2",
    ),
    "a cluster that goes round by blocks": (
        *(CLUSTER, 2, 1025, "n = blockIdx.x / cluster_of<GROUP>; n < N", "n = blockIdx.x; n < N"),
        r"(divergent|deadlock|race|returns)",
    ),
}


def launch(code, name, N, C, order):
    """The first output: probabilities, or the gradient for y = dy."""
    kernel = RawModule(code=code, name_expressions=(name,)).get_function(name)
    x = np.random.default_rng(0).normal(size=(N, C)).astype(np.float32)
    y = np.full_like(x, np.nan)
    arrays = (y, x, x.copy()) if "backward" in name else (y, x)
    mask = (None, np.int32(0), np.int32(0))
    with simulate(order):
        blocks, threads = (2, 512) if "1024" in name else (1, 512 if "512" in name else 128)
        kernel((blocks,), (threads,), (*arrays, *mask, np.int64(N), np.int32(C), np.float32(1), np.bool_(False)))
    return y


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_named(name):
    kernel, N, C, right, wrong, message = PLANTED[name]
    code = translate.flatten(SOURCE.code, [])
    assert right in code
    if right:
        assert np.isfinite(launch(code, kernel, N, C, "random:1")).all()
    for order in ("forward", "random:1"):
        with pytest.raises(SimulatorError, match=message):
            launch(code.replace(right, wrong), kernel, N, C, order)
