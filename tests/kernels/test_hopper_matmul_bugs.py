"""Bugs planted in the Hopper matmul: the simulator names them, or the numbers are wrong; in two thread orders."""

import re

import numpy as np
import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.matmul import hopper, reference
from nlp_kernels.simulator import RawModule, SimulatorError, simulate, translate
from planted import shown
from simulated import needs_simulator
from test_tensor_cores import type_of

pytestmark = needs_simulator()
WRONG = "wrong numbers"
FOLDER = ROOT / "matmul"
OWN = ("boxes.cuh", "bands.cuh", "hopper.cu")  # planted in; what they include stands before
HEADERS = '#include "../common/wgmma.cuh"\n#include "passes.cuh"\n'
INSTANCE = "multiply<__nv_bfloat16, 128, true, false>"

LEAVES = "a block that leaves while the other one tells it"  # found where it is the first to leave

# M, K, N, activation, whether there is a residual
BOXES = (200, 330, 264, "none", True)  # two tiles of three, of two boxes each, to a cluster; the ring goes round
KEPT = (200, 72, 136, "relu", True)  # z, too
PLAIN = (200, 72, 264, "none", False)
SUMS = (70, 72, 39, "none", True)  # no boxes
SHARED = (20, 1100, 24, "none", False)  # clusters share K

# name: (shape, what is right, what is planted, the message or WRONG)
PLANTED = {
    # the ring
    "a slot read before it is full": (
        *(BOXES, "    ptx::mbarrier_wait(&full[slot.index], slot.parity);\n", ""),
        r"(unwritten|unfinished copy|unfinished): .*ring\[\d+\]",
    ),
    "a slot filled before it is empty": (
        *(BOXES, "      ptx::mbarrier_wait(&empty[slot.index], slot.parity);\n", ""),
        r"(unfinished: .* writes ring|unfinished copy: .* writes ring|arrival too many)",
    ),
    "the producer's first phase": (
        BOXES, "Slot slot{0, 1}", "Slot slot{0, 0}", r"deadlock: .*parity 0, and empty\[0\]",
    ),
    "the consumers' first phase": (
        BOXES, "Slot slot{0, 0}", "Slot slot{0, 1}", r"(unwritten|unfinished copy|unfinished): .*ring\[\d+\]",
    ),
    "a parity that does not change": (
        BOXES, "index = 0, parity ^= 1", "index = 0", r"(unfinished|unwritten|race|arrival too many|deadlock)",
    ),
    "half the bytes expected": (
        BOXES, "expect_tx(came, slot_bytes<BN>)", "expect_tx(came, slot_bytes<BN> / 2)",
        r"(unfinished copy|unfinished|deadlock|more have come than)",
    ),
    "twice the bytes expected": (
        BOXES, "expect_tx(came, slot_bytes<BN>)", "expect_tx(came, 2 * slot_bytes<BN>)",
        r"deadlock: .* bytes are missing",
    ),
    "a slot released before its products are done": (
        BOXES, "ptx::wgmma_wait<1>();", "", r"unfinished(: .* writes ring| wgmma: .* reads accumulator)",
    ),
    "the step's own slot released": (
        *(BOXES, "if (step > 0) release();\n    before = slot.index;"),
        "before = slot.index;\n    if (step > 0) release();",
        r"(unfinished: .* writes ring|deadlock|arrival too many)",
    ),
    "the last slot of a tile is kept": (
        BOXES, "ptx::wgmma_registers(d);\n  release();", "ptx::wgmma_registers(d);",
        r"deadlock: .*empty\[\d\].* are missing",
    ),
    "sums taken before they are done": (
        BOXES, "ptx::wgmma_wait<0>();\n  ptx::wgmma_registers(d);", "ptx::wgmma_registers(d);",
        r"unfinished(: .* writes ring| wgmma: .* accumulator)",
    ),
    "no fence before the products": (
        BOXES, "    ptx::wgmma_fence();\n", "", r"wgmma at .*: thread .* has not called wgmma_fence",
    ),
    # two blocks
    "half of b for one block alone": (
        BOXES, "(1 << CLUSTER) - 1", "1", r"(deadlock: .* bytes are missing|no mbarrier|more have come than)",
    ),
    "both halves in one place": (
        BOXES, "b = a + BM * ROW + first * ROW", "b = a + BM * ROW", r"(race|unfinished|unwritten)",
    ),
    "both halves the same": (BOXES, "{part.n + first + i, k}", "{part.n + i, k}", WRONG),
    "a slot emptied by one's own consumers": (
        BOXES, "mbarrier_init(&empty[s], CLUSTER * CONSUMERS)", "mbarrier_init(&empty[s], CONSUMERS)",
        r"(unfinished: .* writes ring|unfinished copy: .*ring|arrival too many)",
    ),
    "one's own block told alone": (
        BOXES, "if (thread < CLUSTER) ptx::mbarrier_arrive_remote(&empty[before], thread)",
        "if (thread == 0) ptx::mbarrier_arrive(&empty[before])", r"deadlock: .* 2 of 4 arrivals are missing",
    ),
    "mbarriers that the other block may not see": (
        BOXES, "ptx::cluster_sync();  \n  if", "__syncthreads();\n  if", r"(race|no mbarrier)",
    ),
    LEAVES: (
        SUMS, "  ptx::cluster_sync();  \n}", "}", r"uses the mbarrier empty\[\d\] of a block that has returned",
    ),
    "no fence after the initialisation": (BOXES, "    ptx::fence_barrier_init();\n", "", r"no fence: .* mbarrier"),
    "both blocks the same rows": (BOXES, "(pair * CLUSTER + static_cast<int>(ptx::cluster_rank()))", "(pair * CLUSTER)",
                                  r"(race|unfinished): .* writes map_y\[\d+\]"),
    # where things lie
    "a stride of half a group of rows": (
        BOXES, "16, 8 * ROW);\n    const auto of_b", "16, 4 * ROW);\n    const auto of_b", WRONG,
    ),
    "the next columns of b elsewhere": (BOXES, "B_BY_K ? 16 : BOX, 8 * ROW", "B_BY_K ? 16 : BOX / 2, 8 * ROW", WRONG),
    "the next 16 of k elsewhere": (BOXES, "A_BY_K ? 32 : 16 * ROW", "A_BY_K ? 64 : 16 * ROW", WRONG),
    "one consumer's rows for both": (BOXES, "a + consumer * BOX", "a", WRONG),
    "a sum that is not begun anew": (BOXES, "step + q > 0", "true", WRONG),
    "the shape's corner in another order": (BOXES, "{k, part.m}", "{part.m, k}", WRONG),
    "a part's k forgotten": (SHARED, "const int k = part.k + step * BK", "const int k = step * BK", WRONG),
    "a share that goes on to the end": (SHARED, "min(K - k, share)", "K - k", WRONG),
    "all shares in one place": (
        SHARED, "partial + part.split * (static_cast<long long>(M) * N)", "partial",
        rf"race: .* partial\[\d+\]|{WRONG}",
    ),
    # going out
    "the box written again too soon": (
        PLAIN, "keeps_z ? ptx::bulk_wait_read<0>() : ptx::bulk_wait_read<1>()", "ptx::bulk_wait_read<2>()",
        r"unfinished: .* writes ring\[\d+\] .*\(stmatrix\), which .* \(tma_store\) reads: bulk_wait_read was not",
    ),
    "no barrier before the box is written": (
        PLAIN, "ptx::barrier_sync(consumer, 128);\n        }", "}", r"(race|unfinished): .* writes ring\[\d+\]",
    ),
    "z's box written again too soon": (
        (*KEPT[:4], False), "keeps_z ? ptx::bulk_wait_read<0>()", "keeps_z ? ptx::bulk_wait_read<1>()",
        r"unfinished: .* writes ring\[\d+\] .*\(stmatrix\), which .* \(tma_store\) reads: bulk_wait_read was not",
    ),
    "no fence before the store": (PLAIN, "    ptx::fence_proxy_async();\n", "", r"no fence: .* to .*\(tma_store\)"),
    "no barrier before the store": (
        PLAIN, "ptx::fence_proxy_async();\n    ptx::barrier_sync(consumer, 128);", "ptx::fence_proxy_async();",
        r"(race|unwritten): .*ring\[\d+\]",
    ),
    "a return with stores under way": (
        PLAIN, "    if (first) ptx::bulk_wait_read<0>();\n", "",
        r"unfinished copy: .* returns without waiting for tma_store",
    ),
    "a residual into a box that is still read": (
        KEPT, "        ptx::bulk_wait_read<0>();\n        load_residual", "        load_residual",
        r"unfinished: .* writes ring\[\d+\] .*\(tma_load\), which .* \(tma_store\) reads",
    ),
    "a tile's first residual into such a box": (
        BOXES, "    ptx::bulk_wait_read<0>();  \n", "",
        r"unfinished: .* writes ring\[\d+\] .*\(tma_load\), which .* reads",
    ),
    "a residual that has not come": (
        BOXES, "if (has_residual) ptx::mbarrier_wait(&came[slot.index], slot.parity);", "if (has_residual);",
        r"(unfinished copy|unfinished|unwritten): .*ring\[\d+\]",
    ),
    "y and z in one box": (KEPT, "*z = boxes + BOX", "*z = boxes", r"unwritten: .*ring\[139264\] .*\(tma_store\)"),
    "a second box for y beside z": (KEPT, "return keeps_z ? 1 : 2", "return 2", rf"(unfinished|race|{WRONG})"),
    "the next box's residual": (BOXES, "&came[box], {n + index * 64", "&came[box], {n + index * 64 + 64", WRONG),
    "another swizzle": (BOXES, "(j % 4 * 2 + lane / 16) ^ row % 8", "(j % 4 * 2 + lane / 16) ^ row % 4", WRONG),
    "the bias of the next column": (BOXES, "bias[column + 1]", "bias[column]", WRONG),
    "the bias of other columns": (BOXES, "n + 16 * j + i / 2 * 8 + lane", "n + 16 * j + i % 2 * 8 + lane", WRONG),
    "one number's residual for two": (BOXES, "after[i] & 0xffff0000u", "after[i] << 16", WRONG),
    "rounded before the bias": (KEPT, "if (keeps_z) ptx::stmatrix(z + place, before)",
                                "if (keeps_z) ptx::stmatrix(z + place, after)", WRONG),
    "the wrong sixteen columns": (BOXES, "if (of == j)", "if (of == (j ^ 1))", WRONG),
    "a number past the last row": (SUMS, "m >= M || n >= N", "n >= N", r"out of bounds: .*partial\["),
    "a number past the last column": (SUMS, "m >= M || n >= N", "m >= M", r"(race|out of bounds): .*partial\["),
    "an odd row's number past the end": (SUMS, "if (n + 1 < N) to[1]", "to[1]", r"(race|out of bounds): .*partial\["),
    "rows of the lower half": (SUMS, "i / 2 % 2 * 8", "0", WRONG),
    # registers
    "more registers than there are": (
        BOXES, "setmaxnreg_inc<240>", "setmaxnreg_inc<248>", r"deadlock: .*in setmaxnreg",
    ),
}  # fmt: skip
SHOWN = shown(PLANTED)


def own():
    """The text of the kernel and its own headers, trailing blanks (where comments were) as two."""
    texts = (translate.without_comments((FOLDER / name).read_text()) for name in OWN)
    text = "\n".join(re.sub(r"^#(include|pragma once).*$", "", t, flags=re.MULTILINE) for t in texts)
    text = text.replace("__cluster_dims__(CLUSTER)", "__cluster_dims__(2)")  # which is looked at outside
    return re.sub(r"[ \t]+(?=\n)", "  ", text)


@pytest.fixture(scope="module")
def planted():
    """The kernel, and all mutants, in one source, each in a namespace."""
    text, code = own(), f'#line 1 "{FOLDER / "mutants.cu"}"\n{HEADERS}namespace bug_0 {{\n{own()}\n}}\n'
    for i, (name, (_, right, wrong, _)) in enumerate(PLANTED.items(), 1):
        assert text.count(right) == 1, f"{name}: {text.count(right)} of {right!r}"
        if name not in SHOWN:
            continue
        code += f"namespace bug_{i} {{\n{text.replace(right, wrong)}\n}}\n"
    names = tuple(f"bug_{i}::{INSTANCE}" for i in (0, *(list(PLANTED).index(name) + 1 for name in SHOWN)))
    module = RawModule(code=code, options=("-DNLP_BFLOAT16",), name_expressions=names)
    module.get_function(names[0])
    return module


class Planted:
    """hopper.SOURCE with the kernel of one mutant; what adds up shares is as it is."""

    def __init__(self, module, index):
        self.module, self.index, self.source = module, index, hopper.SOURCE

    def kernel(self, instance, x):
        if not instance.startswith("multiply"):
            return self.source.kernel(instance, x)
        return self.module.get_function(f"bug_{self.index}::{INSTANCE}")


def outcome(source, case, order, monkeypatch):
    """What becomes of y and z: right to bfloat16, wrong, or an error."""
    (M, K, N, activation, with_residual), rng = case, np.random.default_rng(0)
    kind = type_of("bfloat16")
    x, w, b, residual = (rng.normal(size=size).astype(kind) for size in ((M, K), (K, N), (N,), (M, N)))
    residual = residual if with_residual else None
    monkeypatch.setattr(hopper, "SOURCE", source)
    try:
        with simulate(order):
            of = hopper.operand(x), hopper.operand(w)
            y, z, _ = hopper._product(*of, b, residual, activation, keeps_z=activation != "none", tile=(128, 128))
    except SimulatorError as error:
        return str(error)
    right = reference.forward(*(None if o is None else o.astype(np.float64) for o in (x, w, b, residual)),
                              activation=activation)  # fmt: skip
    near = (
        np.allclose(mine.astype(np.float64), his, rtol=2**-7, atol=1e-3)
        for mine, his in zip((y, z), right, strict=True)
        if his is not None
    )
    return "right" if all(near) else WRONG


@pytest.mark.parametrize("case", [BOXES, KEPT, PLAIN, SUMS, SHARED], ids=str)
def test_without_a_bug_it_is_right(planted, case, monkeypatch):
    assert outcome(Planted(planted, 0), case, "random:1", monkeypatch) == "right"


@pytest.mark.parametrize("name", SHOWN)
def test_a_planted_bug_is_caught(planted, name, monkeypatch):
    case, _, _, message = PLANTED[name]
    source = Planted(planted, list(PLANTED).index(name) + 1)
    for order in ("forward", "reverse" if name == LEAVES else "random:1"):
        found = outcome(source, case, order, monkeypatch)
        assert re.search(message, found, re.DOTALL), found
