"""A pipeline of the copy engine and wgmma is right in every order, and the bugs that such pipelines have are found."""

import re
from pathlib import Path

import numpy as np
import pytest
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import ORDERS, RawModule, SimulatorError, simulate
from simulated import needs_simulator
from test_simulator_matrices import bf16

pytestmark = needs_simulator()
GEMM = (Path(__file__).parent / "pipelines" / "gemm.cu").read_text()
STAGES, SHARED = 2, 2 * 24576 + 2 * 8192
INSTANCES = tuple(f"gemm<{k_first}, {STAGES}>" for k_first in ("false", "true"))


def compiled(code, instances=INSTANCES):
    return RawModule(code=code, options=(f"-I{ROOT / 'common'}",), name_expressions=instances)


def product(module, M, N, K, *, k_first=False, order="forward", blocks=2, swizzle=128, instance=None):
    """(C of the kernel, C of NumPy)."""
    (a, A), (b, B) = bf16((M, K)), bf16((K, N) if k_first else (N, K), 1)
    c = np.full((M, N), 0x7FC0, np.uint16)
    kernel = module.get_function(instance or INSTANCES[k_first])
    kernel.max_dynamic_shared_size_bytes = SHARED
    maps = tensor_map(a, (128, 64)), tensor_map(b, (64, 64), swizzle=swizzle), tensor_map(c, (64, 64))
    with simulate(order):
        kernel((blocks,), (384,), (*maps, np.int32(M), np.int32(N), np.int32(K)), shared_mem=SHARED)
    return (c.astype(np.uint32) << 16).view(np.float32), A @ (B if k_first else B.T)


def agree(C, expected):
    return np.allclose(C, expected, rtol=2**-8, atol=1e-3)


@pytest.fixture(scope="module")
def gemm():
    return compiled(GEMM)


@pytest.mark.parametrize("order", [*ORDERS, "reverse"])
@pytest.mark.parametrize("k_first", [False, True], ids=["NK", "KN"])
@pytest.mark.parametrize(("M", "N", "K"), [(256, 128, 192), (72, 200, 104)], ids=str)
def test_the_pipeline_multiplies(gemm, M, N, K, k_first, order):
    assert agree(*product(gemm, M, N, K, k_first=k_first, order=order))


def test_another_swizzle_than_the_descriptor_says_gives_other_numbers(gemm):
    assert not agree(*product(gemm, 128, 64, 64, swizzle=0))


# name: (what is right, what is planted, the message, or None where the numbers are wrong; each in every order)
PLANTED = {
    # mbarriers
    "no fence after the initialisation": (
        "    ptx::fence_barrier_init();\n",
        "",
        r"no fence: tma_load at gemm.cu:\d+ lets the copy engine use the mbarrier full\[0\], and no fence_barrier_init",
    ),
    "no barrier after the initialisation": (
        "  __syncthreads();\n  const int tiles_n",
        "  const int tiles_n",
        r"(race: .* uses the mbarrier (full|empty)\[\d\] in|is no mbarrier that was initialised)",
    ),
    "a slot released by each thread": (
        "if (thread == 0) ptx::mbarrier_arrive",
        "ptx::mbarrier_arrive",
        r"(mbarrier_arrive at gemm.cu:\d+: an arrival too many of thread .*: empty\[0\] is in phase|unfinished|race)",
    ),
    "a slot that one consumer releases": (
        "mbarrier_init(&empty[s], consumers)",
        "mbarrier_init(&empty[s], 1)",
        r"(unfinished: .* writes ring\[\d+\] .* \(tma_load\), which gemm.cu:\d+ \(wgmma\) reads: wgmma_wait was not|"
        r"unfinished copy: thread \(256, 0, 0\) .* reads ring\[8192\] .*, that of gemm.cu:\d+ \(tma_load\))",
    ),
    "a slot that the producer should release too": (
        "mbarrier_init(&empty[s], consumers)",
        "mbarrier_init(&empty[s], consumers + 1)",
        r"deadlock: .*1 thread in mbarrier_wait at gemm.cu:\d+, .*: it waits for parity 0, and empty\[0\] is in phase "
        r"0, of parity 0: 1 of 3 arrivals are missing",
    ),
    "half the bytes expected": (
        "&full[slot.index], bytes_slot)",
        "&full[slot.index], bytes_slot / 2)",
        r"(unfinished copy|unfinished|deadlock|more have come than)",
    ),
    "twice the bytes expected": (
        "&full[slot.index], bytes_slot)",
        "&full[slot.index], 2 * bytes_slot)",
        r"deadlock: .*256 threads in mbarrier_wait at gemm.cu:\d+, .* full\[0\] is in phase 0, of parity 0: 0 of 1 "
        r"arrivals and 24576 bytes are missing",
    ),
    "a slot filled before it is empty": (
        "      ptx::mbarrier_wait(&empty[slot.index], slot.parity);\n",
        "",
        r"(unfinished: .* writes ring|unfinished copy: .* writes ring|arrival too many)",
    ),
    "a slot read before it is full": (
        "      ptx::mbarrier_wait(&full[slot.index], slot.parity);\n",
        "",
        r"(unwritten: |unfinished copy: |unfinished: ).*ring\[\d+\]",
    ),
    "another slot's barrier": (
        "mbarrier_wait(&full[slot.index], slot.parity)",
        "mbarrier_wait(&full[0], slot.parity)",
        r"(unwritten: |unfinished copy: |unfinished: ).*ring\[\d+\]",
    ),
    "the producer's first phase": (
        "Slot slot{0, 1}",
        "Slot slot{0, 0}",
        r"deadlock: .*waits for parity 0, and empty\[0\]",
    ),
    "the consumers' first phase": (
        "Slot slot{0, 0}",
        "Slot slot{0, 1}",
        r"(unwritten: |unfinished copy: |unfinished: ).*ring\[\d+\]",
    ),
    "a parity that does not change": (
        "index = 0, parity ^= 1",
        "index = 0",
        r"(unfinished|unwritten|race|arrival too many|deadlock)",
    ),
    # wgmma
    "a slot released before the wait": (
        "      ptx::wgmma_wait<0>();\n      if (thread == 0) ptx::mbarrier_arrive(&empty[slot.index]);",
        "      if (thread == 0) ptx::mbarrier_arrive(&empty[slot.index]);\n      ptx::wgmma_wait<0>();",
        r"unfinished: thread \(0, 0, 0\) .* writes ring\[\d+\] in shared memory at gemm.cu:\d+ \(tma_load\), which "
        r"gemm.cu:\d+ \(wgmma\) reads: wgmma_wait was not called since by warps \d to \d",
    ),
    "a wait for all groups but one": (
        "wgmma_wait<0>",
        "wgmma_wait<1>",
        r"unfinished(: .* writes ring| wgmma: .* reads accumulator)",
    ),
    "no wait": ("      ptx::wgmma_wait<0>();\n", "", r"unfinished(: .* writes ring| wgmma: .* reads accumulator)"),
    "no commit": (
        "      ptx::wgmma_commit();\n",
        "",
        r"unfinished(: .* writes ring| wgmma: .* reads accumulator \d+ of wgmma at gemm.cu:\d+ at gemm.cu:\d+ before)",
    ),
    "no fence before the products": (
        "      ptx::wgmma_fence();\n",
        "",
        r"wgmma at gemm.cu:\d+: thread .* has not called wgmma_fence since it started or last waited",
    ),
    "a stride of half a group of rows": ("a + bytes_a, 16, 1024", "a + bytes_a, 16, 512", None),
    "the next 16 of k in the wrong place": (
        "q * 32 >> 4), of_b",
        "q * 64 >> 4), of_b",
        None,
    ),
    "one consumer's rows for both": ("a + consumer * 64 * 128", "a", None),
    "a sum that is not begun anew": ("k + q > 0", "true", None),
    "a warp less than a warpgroup": (
        "  Slot slot{0, 0};",
        "  if (thread >= 96) return;\n  Slot slot{0, 0};",
        r"(deadlock: .*96 of the warpgroup's 128 threads have issued wgmma|divergent)",
    ),
    # the copy engine
    "the other operand's row": ("{k * BK, n}", "{k * BK, m}", None),
    "coordinates the wrong way round": ("{k * BK, m}", "{m, k * BK}", None),
    "no fence before the store": (
        "    ptx::fence_proxy_async();\n",
        "",
        r"no fence: thread .* gives ring\[\d+\] in shared memory to gemm.cu:\d+ \(tma_store\), which .* wrote at "
        r"gemm.cu:\d+ \(stmatrix\) without a fence_proxy_async",
    ),
    "no barrier before the store": (
        "    ptx::fence_proxy_async();\n    ptx::barrier_sync(1 + consumer, 128);\n",
        "    ptx::fence_proxy_async();\n",
        r"(race|unwritten): .* ring\[\d+\]",
    ),
    "the store's memory written again": (
        "    if (thread == 0) ptx::bulk_wait_read<0>();  //",
        "    //",
        r"unfinished: .* writes ring\[\d+\] in shared memory at gemm.cu:\d+ \(stmatrix\), which gemm.cu:\d+ "
        r"\(tma_store\) reads: bulk_wait_read was not called",
    ),
    "a return with stores under way": (
        "  if (thread == 0) ptx::bulk_wait_read<0>();\n",
        "",
        r"unfinished copy: thread .* returns without waiting for tma_store at gemm.cu:\d+",
    ),
    "a store in no group": (
        "      ptx::bulk_commit();\n",
        "",
        r"unfinished(: .* writes ring.*bulk_wait_read was not called| copy: .*bulk_commit was not called)",
    ),
    "a ring that is not aligned": (
        "__align__(1024)",
        "__align__(128)",
        r"misaligned: .* gives the address of ring\[\d+\] in shared memory to (tma_load|wgmma_descriptor) at "
        r"gemm.cu:\d+, a tile of 128-byte swizzle",
    ),
    # registers
    "more registers than there are": (
        "setmaxnreg_inc<240>",
        "setmaxnreg_inc<248>",
        r"deadlock: .*in setmaxnreg_inc at gemm.cu:\d+, .* are free, its warp needs",
    ),
}


@pytest.fixture(scope="module")
def planted():
    """All mutants in one source, each in a namespace."""
    header = '#include "wgmma.cuh"\n'
    mutants = ""
    for i, (name, (right, wrong, _)) in enumerate(PLANTED.items()):
        assert GEMM.count(right) == 1, f"{name}: {GEMM.count(right)} of {right!r}"
        code = GEMM.replace(header, "\n").replace(right, wrong)
        mutants += f'namespace bug_{i} {{\n#line 1 "gemm.cu"\n{code}\n}}\n'
    return compiled(header + mutants, tuple(f"bug_{i}::{INSTANCES[0]}" for i in range(len(PLANTED))))


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(planted, name, order):
    message, i = PLANTED[name][2], list(PLANTED).index(name)
    try:
        C, expected = product(planted, 256, 128, 192, order=order, instance=f"bug_{i}::{INSTANCES[0]}", blocks=1)
    except SimulatorError as error:
        found = str(error)
    else:
        found = "" if agree(C, expected) else "other numbers"
    assert re.search(message or "other numbers", found, re.DOTALL), found or "it was not noticed"
