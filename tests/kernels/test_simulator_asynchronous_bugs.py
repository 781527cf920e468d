"""Misuse of mbarriers, the copy engine and wgmma in small kernels, and what the simulator says of it."""

import numpy as np
import pytest
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import RawModule, SimulatorError, simulate
from simulated import needs_simulator, run

pytestmark = needs_simulator()
HOPPER = {"options": (f"-I{ROOT / 'common'}",)}
ORDERS = ("forward", "reverse", "random:1")

# A block of 128 threads; the middle is what a case adds. y may be written by its last line.
FRAME = """#include "wgmma.cuh"
__global__ void __cluster_dims__(CLUSTER) NAME(const float* x, float* y,
                                               const __grid_constant__ ptx::TensorMap map) {
  __shared__ alignas(1024) float tile[32][32];
  __shared__ ptx::mbarrier full[2];
  const int t = threadIdx.x;
  if (t == 0) {
    ptx::mbarrier_init(&full[0], 1);
    ptx::fence_barrier_init();
  }
  ptx::cluster_sync();
  MIDDLE
}"""
LOAD = "if (t == 0) { ptx::mbarrier_arrive_expect_tx(full, 4096); ptx::tma_load(tile, &map, full, {0, 0}); }"
FILL = "for (int i = 0; i < 8; i++) tile[i * 4 + t / 32][t % 32] = 0; ptx::fence_proxy_async(); __syncthreads();"
PRODUCT = """float d[32] = {};
  const auto p = ptx::wgmma_descriptor<0>(tile, 128, 256);
  ptx::wgmma_fence();
  ptx::wgmma(d, p, p);"""
END = " ptx::wgmma_commit(); ptx::wgmma_wait<0>(); y[t] = d[0];"
FRAGMENT = (
    FILL
    + """
  float d[32] = {};
  unsigned a[4] = {};
  const auto p = ptx::wgmma_descriptor<0>(tile, 128, 256);
  ptx::wgmma_fence();
  ptx::wgmma(d, a, p); WRONG"""
)

# (what the kernel does, the message)
MISUSE = {
    "an mbarrier that was not initialised": (
        "ptx::mbarrier_wait(&full[1], 0);",
        r"mbarrier_wait at kernel.cu:12: the address of full\[1\] in shared memory is no mbarrier that was initialised",
    ),
    "an mbarrier elsewhere": (
        "ptx::mbarrier_arrive(reinterpret_cast<ptx::mbarrier*>(y));",
        r"the address of y\[0\] is not in shared memory, where mbarriers are",
    ),
    "a misaligned mbarrier": (
        "ptx::mbarrier_init(reinterpret_cast<ptx::mbarrier*>(&tile[0][1]), 1);",
        r"misaligned: .* gives the address of tile\[1\] in shared memory to mbarrier_init at .*, an mbarrier needs",
    ),
    "an mbarrier for nobody": (
        "if (t == 0) ptx::mbarrier_init(&full[1], 0);",
        "mbarrier_init at kernel.cu:12: an mbarrier for 0 arrivals, expected 1",
    ),
    "a second initialisation": (
        "if (t == 0) ptx::mbarrier_init(&full[0], 1);",
        r"the mbarrier the address of full\[0\] in shared memory is initialised a second time",
    ),
    "an mbarrier as a number": (
        "y[t] = full[0];",
        r"reads full\[0\] in shared memory at kernel.cu:12, which is an mbarrier",
    ),
    "an arrival too many": (
        "if (t < 2) ptx::mbarrier_arrive_expect_tx(full, 64);",
        r"mbarrier_arrive_expect_tx at kernel.cu:12: an arrival too many of thread \(\d, 0, 0\) of block \(0, 0, 0\): "
        r"full\[0\] is in phase 0, of parity 0: 0 of 1 arrivals and 128 bytes are missing",
    ),
    "more bytes than a phase can have": (
        "if (t == 0) ptx::mbarrier_arrive_expect_tx(full, 1 << 20);",
        r"full\[0\] expects 1048576 bytes in one phase, at most 1048575",
    ),
    "a phase that never completes": (
        "ptx::mbarrier_wait(full, 0);",
        r"(?s)deadlock: no thread can go on\n  128 threads in mbarrier_wait at kernel.cu:12, the first is thread "
        r"\(0, 0, 0\) .*: it waits for parity 0, and full\[0\] is in phase 0, of parity 0: 1 of 1 arrivals are missing",
    ),
    "a loop of tries that never ends": (
        "while (!ptx::mbarrier_try_wait(full, 0)) { }",
        r"(?s)deadlock: .*128 threads in mbarrier_try_wait at kernel.cu:12",
    ),
    "a wait for the parity after": (
        LOAD + "ptx::mbarrier_wait(full, 0); ptx::mbarrier_wait(full, 1);",
        r"(?s)deadlock: .* it waits for parity 1, and full\[0\] is in phase 1, of parity 1: 1 of 1 arrivals",
    ),
    "a wait that passes at once": (
        LOAD + "ptx::mbarrier_wait(full, 1); y[t] = tile[0][t % 32];",
        r"(unfinished copy: .* reads tile\[\d+\] .* was waited for, that of kernel.cu:12 \(tma_load\)|unwritten|"
        r"unfinished: .* reads tile\[\d+\] .*, which kernel.cu:12 \(tma_load\) writes: full\[0\] was not waited for)",
    ),
    "another barrier than the one waited for": (
        LOAD + "__syncthreads(); y[t] = tile[0][t % 32];",
        r"unfinished copy: .* reads tile\[\d+\]|unfinished: .*full\[0\] was not waited for",
    ),
    "a copy that nobody waits for": (
        LOAD,
        r"unfinished copy: thread .* is the last of its block to return, and nobody has waited for kernel.cu:12",
    ),
    "too few coordinates": (
        "if (t == 0) ptx::tma_load(tile, &map, full, {0});",
        "tma_load at kernel.cu:12: 1 coordinates for a tensor of 2 axes",
    ),
    "a tile beyond the memory": (
        "if (t == 0) ptx::tma_load(tile[8], &map, full, {0, 0});",
        r"out of bounds: .* writes tile\[1024\] in shared memory at kernel.cu:12 \(tma_load\), but tile has 1024",
    ),
    "a tile that is not aligned": (
        "if (t == 0) ptx::tma_load(tile[1], &map, full, {0, 0});",
        r"misaligned: .* gives the address of tile\[32\] .* to tma_load at .*, a tile of 128-byte swizzle needs a "
        "multiple of 1024 bytes",
    ),
    "a misaligned bulk copy": (
        "if (t == 0) ptx::bulk_load(&tile[0][2], x, 64, full);",
        r"misaligned: .* gives the address of tile\[2\] .* to bulk_load at .*, a bulk copy needs a multiple of 16",
    ),
    "a misaligned array": (
        "if (t == 0) ptx::bulk_load(tile, x + 3, 64, full);",
        r"misaligned: .* gives the address of x=map\[3\] to bulk_load",
    ),
    "a bulk copy of some bytes": (
        "if (t == 0) ptx::bulk_load(tile, x, 24, full);",
        "bulk_load at kernel.cu:12: 24 bytes, expected a multiple of 16",
    ),
    "a bulk copy past the array": (
        "if (t == 0) ptx::bulk_load(tile, x + 1020, 32, full);",
        r"out of bounds: .* reads 8 elements from x=map\[1020\] at kernel.cu:12 \(bulk_load\), but x=map has 1024",
    ),
    "a bulk copy from shared to shared memory": (
        "if (t == 0) ptx::bulk_load(y, x, 32, full);",
        "bulk_load at kernel.cu:12: the address in shared memory is elsewhere",
    ),
    "a store of what is not written": (
        "if (t == 0) { ptx::bulk_store(y, tile, 64); ptx::bulk_commit(); ptx::bulk_wait<0>(); }",
        r"unwritten: .* reads tile\[0\] in shared memory at kernel.cu:12 \(bulk_store\)",
    ),
    "an array read before its store was waited for": (
        FILL + "if (t == 0) { ptx::bulk_store(y, tile, 64); ptx::bulk_commit(); ptx::bulk_wait_read<0>(); *y = y[3]; }",
        r"unfinished: .* reads y\[3\] at kernel.cu:12, which kernel.cu:12 \(bulk_store\) writes: bulk_wait was not",
    ),
    "blocks beyond the cluster": (
        "if (t == 0) { ptx::mbarrier_arrive_expect_tx(full, 4096);"
        "ptx::tma_load_multicast(tile, &map, full, 5, {0, 0}); }",
        "the mask 5 names blocks beyond the cluster's 1",
    ),
    # wgmma
    "a descriptor of an array": (
        "y[t] = ptx::wgmma_descriptor<128>(x, 16, 1024);",
        r"wgmma_descriptor at kernel.cu:12: the address of x=map\[0\] is not in the block's shared memory",
    ),
    "a descriptor in the middle of a swizzle": (
        "y[t] = ptx::wgmma_descriptor<128>(tile[1], 16, 1024);",
        r"misaligned: .* address of tile\[32\] .*, a tile of 128-byte swizzle begins at a multiple of 1024 bytes",
    ),
    "a stride that does not fit": (
        "y[t] = ptx::wgmma_descriptor<128>(tile, 16, 1 << 18);",
        "steps of 16 and 262144 bytes, expected multiples of 16 below 262144",
    ),
    "a matrix beyond the memory": (
        FILL + PRODUCT.replace("128, 256", "128, 1024") + END,
        r"out of bounds: .* reads \w+\[\d+\] in shared memory at kernel.cu:1\d \(wgmma\), but",
    ),
    "operands without a fence": (
        FILL.replace("ptx::fence_proxy_async();", "") + PRODUCT + END,
        r"no fence: .* gives tile\[\d+\] .* to kernel.cu:1\d \(wgmma\), which .* without a fence_proxy_async after it",
    ),
    "a fence before the write": (
        "ptx::fence_proxy_async(); " + FILL.replace("ptx::fence_proxy_async();", "") + PRODUCT + END,
        r"no fence: .* gives tile\[\d+\]",
    ),
    "results too early": (
        FILL + PRODUCT + " ptx::wgmma_commit(); y[t] = d[3];" + END,
        r"unfinished wgmma: .* reads accumulator 3 of wgmma at kernel.cu:1\d at kernel.cu:1\d before wgmma_wait",
    ),
    "accumulators set while they are in use": (
        FILL + PRODUCT + " d[5] = 1;" + END,
        r"unfinished wgmma: .* writes accumulator 5 of wgmma at kernel.cu:1\d",
    ),
    "operands in registers, changed while in use": (
        FRAGMENT.replace("WRONG", "a[2] = t;") + END + " y[t] += a[2];",
        r"unfinished wgmma: .* writes register of A 2 of wgmma",
    ),
    "operands in shared memory, changed while in use": (
        FILL + PRODUCT + " tile[0][t] = 1;" + END,
        r"unfinished: .* writes tile\[\d+\] in shared memory at kernel.cu:1\d, which kernel.cu:1\d \(wgmma\) reads: "
        r"wgmma_wait was not called since by warps 0 to 3",
    ),
    "another descriptor in each warp": (
        FILL + PRODUCT.replace("(tile, ", "(tile[t / 32 * 4], ") + END,
        r"divergent warpgroup: .* issues wgmma at kernel.cu:1\d, .* with other operands or in another group",
    ),
    "accumulators of another size": (
        FILL + PRODUCT + " ptx::wgmma(reinterpret_cast<float(&)[16]>(d), p, p);" + END,
        r"wgmma at .* uses registers of wgmma at .* in another way",
    ),
    "a return without a wait": (
        FILL + PRODUCT + " ptx::wgmma_commit();",
        r"unfinished wgmma: thread .* returns without waiting for wgmma at kernel.cu:1\d",
    ),
    "a warp without the others": (
        FILL + "if (t < 32) {" + PRODUCT + END + "}",
        r"(?s)deadlock: .*32 threads in wgmma_wait at .*: 32 of the warpgroup's 128 threads have issued wgmma",
    ),
    "more registers by giving up": (
        "ptx::setmaxnreg_inc<24>();",
        r"setmaxnreg_inc at kernel.cu:12: .* has 256 registers and asks for more, 24",
    ),
}  # fmt: skip


# in a cluster of two blocks
CLUSTER = {
    "a wait for another block's mbarrier": (
        "if (t == 0) ptx::mbarrier_wait(ptx::map_shared(full, 1 - ptx::cluster_rank()), 0);",
        r"waits for the mbarrier full\[0\] of another block, it may only arrive there",
    ),
    "an mbarrier that another block has not initialised": (
        "if (t == 0) ptx::mbarrier_arrive_remote(&full[1], 1);",
        r"full\[1\] in shared memory is no mbarrier",
    ),
    "an initialisation for another block": (
        "if (t == 0 && ptx::cluster_rank() == 1) ptx::mbarrier_init(ptx::map_shared(&full[1], 0), 1);",
        "initialises an mbarrier of another block",
    ),
    "no fence before another block arrives": (
        "if (t == 0) ptx::mbarrier_init(&full[1], 2); ptx::cluster_sync();"
        "if (t == 0) ptx::mbarrier_arrive_remote(&full[1], 0); ptx::cluster_sync();",
        r"no fence: mbarrier_arrive_remote at kernel.cu:12 lets another block use the mbarrier full\[1\]",
    ),
}

# (what the kernel does, y of x)
RIGHT = {
    "a copy": (LOAD + "ptx::mbarrier_wait(full, 0); y[t] = tile[0][t % 32];", lambda x: np.tile(x[:32], 4)),
    "a product": (FILL + PRODUCT + END, lambda x: np.zeros(128)),
    "a product of registers": (FRAGMENT.replace("WRONG", "") + END, lambda x: np.zeros(128)),
}


NAMES = {1: "kernel", 2: "kernel_of_a_cluster"}


def frame(size, middle):
    return FRAME.replace("CLUSTER", str(size)).replace("NAME", NAMES[size]).replace("MIDDLE", middle)


@pytest.fixture(scope="module")
def kernels():
    """Kernel by name: all that a block or a cluster of two does, compiled as one source."""
    middles = {name: (1, middle) for name, (middle, _) in (MISUSE | RIGHT).items()}
    middles |= {name: (2, middle) for name, (middle, _) in CLUSTER.items()}
    code, header = '#include "wgmma.cuh"\n', FRAME.partition("\n")[0]
    for i, (size, middle) in enumerate(middles.values()):
        kernel = frame(size, middle).replace(header, "")
        code += f'namespace n{i} {{\n#line 1 "kernel.cu"\n{kernel}\n}}\n'
    names = [f"n{i}::{NAMES[size]}" for i, (size, _) in enumerate(middles.values())]
    module = RawModule(code=code, name_expressions=names, **HOPPER)
    return {name: module.get_function(names[i]) for i, name in enumerate(middles)}


def launch(kernel, order):
    x, y = np.arange(1024, dtype=np.float32), np.zeros(256, np.float32)
    with simulate(order):
        kernel((kernel.cluster,), (128,), (x, y, tensor_map(x.reshape(32, 32), (32, 32))))
    return x, y


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", [*MISUSE, *CLUSTER])
def test_misuse_is_named(kernels, name, order):
    with pytest.raises(SimulatorError, match=(MISUSE | CLUSTER)[name][1]):
        launch(kernels[name], order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(kernels, name, order):
    x, y = launch(kernels[name], order)
    np.testing.assert_array_equal(y[:128], RIGHT[name][1](x))


def test_a_tensor_map_is_a_constant_of_the_grid():
    code = frame(1, "").replace("__global__ void", 'extern "C" __global__ void')
    x, y = np.zeros(1024, np.float32), np.zeros(256, np.float32)
    described = tensor_map(x.reshape(32, 32), (32, 32))
    with pytest.raises(SimulatorError, match="kernel: a tensor map is taken as `const __grid_constant__ "):
        run(code.replace("__grid_constant__ ", ""), 1, 128, x, y, described, **HOPPER)
    with pytest.raises(SimulatorError, match=r"kernel: map is .*3.*, expected what tensor_map\(\) returns"):
        run(code, 1, 128, x, y, np.int32(3), **HOPPER)


def test_dynamic_memory_has_the_alignment_that_was_asked_for():
    code = """extern "C" __global__ void kernel(int* y) {
      extern __shared__ ALIGNED int d[];
      *y = reinterpret_cast<unsigned long long>(d) % 1024;
    }"""
    for aligned, expected in (("", 16), ("__align__(128)", 128), ("alignas(1024)", 0)):
        y = np.zeros(1, np.int32)
        run(code.replace("ALIGNED", aligned), 1, 1, y, shared_mem=64)
        assert y == expected
