"""Bugs planted in attention for Hopper: the ring, wgmma, turns, the recurrence, masks, gradients; each is found."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels.attention import hopper, reference
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import RawModule, SimulatorError, simulate
from planted import shown
from simulated import needs_simulator
from test_hopper_attention import assert_backward, assert_forward, beyond, drawn, wide

pytestmark = needs_simulator()
FILES = "pipeline.cuh", "hopper_backward.cuh", "hopper.cu"
TEXT = "\n".join(
    re.sub(r"^#(include|pragma).*", "", (ROOT / "attention" / name).read_text(), flags=re.MULTILINE) for name in FILES
)
FORWARD, KEYS, QUERIES = "hopper_forward<128>", "hopper_backward<128, true>", "hopper_backward<128, false>"
ROWS = "hopper_rows<T>"
UNFINISHED = r"(unwritten|unfinished|race|arrival too many|deadlock)"
OTHERS = r"out of bounds|race: .* lse|is wrong"

# name: (kernel, what is right, what is planted, the message, or None where numbers are wrong)
PLANTED = {
    # barriers of the ring
    "no fence after the initialisation": (
        FORWARD, "    ptx::fence_barrier_init();\n", "", r"no fence: tma_load .* and no fence_barrier_init"
    ),
    "a slot that one consumer releases": (FORWARD, "&empty[i], 4 * consumers)", "&empty[i], 4)", UNFINISHED),
    "lanes that have not read what they need": (
        KEYS, "    __syncwarp();\n    if (threadIdx.x %", "    if (threadIdx.x %",
        r"race: .* writes memory\[\d+\] .* \(bulk_load\), which .* read"
    ),
    "a parity that does not change": (FORWARD, "index = 0, parity ^= 1", "index = 0", UNFINISHED),
    "the producer's first phase": (
        FORWARD, "Slot slot{0, 1}", "Slot slot{0, 0}",
        r"deadlock: [\s\S]*waits for parity 0, and barriers\[0\] is in phase 0",
    ),
    "the consumers' first phase": (FORWARD, "  Slot slot{0, 0};\n  Rows", "  Slot slot{0, 1};\n  Rows", UNFINISHED),
    "half the bytes of a tile": (
        FORWARD, "bring(full, Key::bytes,", "bring(full, Key::bytes / 2,",
        rf"{UNFINISHED}|more have come than",
    ),
    "the bytes of the queries twice": (
        FORWARD, "&barriers.stays, Tile<stays, HEAD>::bytes)", "&barriers.stays, 2 * Tile<stays, HEAD>::bytes)",
        r"deadlock: [\s\S]*256 threads in mbarrier_wait [\s\S]*bytes are missing",
    ),
    "keys that are not there yet": (
        FORWARD, "    barriers.wait_for(slot);\n    take_turn();", "    take_turn();", UNFINISHED
    ),
    "values that are not there yet": (FORWARD, "    barriers.wait_for(of_v);\n", "", UNFINISHED),
    "queries that are not there yet": (
        FORWARD, "    ptx::mbarrier_wait(&barriers.stays, 0);\n    begin", "    begin", UNFINISHED
    ),
    "a slot filled before it is empty": (
        FORWARD, "if (threadIdx.x == 0) ptx::mbarrier_wait(&barriers.empty[slot.index], slot.parity);", "", UNFINISHED
    ),
    "values before the keys that are wanted first": (
        FORWARD, "send(map_k, tile), send(map_v, tile - 1)", "send(map_v, tile - 1), send(map_k, tile)", None
    ),
    # wgmma
    "keys released before their product": (
        FORWARD, "ptx::wgmma_wait<1>();\n      ptx::wgmma_registers(s);\n      barriers.release(slot);",
        "barriers.release(slot);\n      ptx::wgmma_wait<1>();\n      ptx::wgmma_registers(s);",
        r"unfinished: .* writes of_q\[\d+\] .*\(tma_load\), which .* \(wgmma\) reads",
    ),
    "values released before their product": (
        FORWARD, "ptx::wgmma_wait<0>();\n      ptx::wgmma_registers(sum);\n      barriers.release(of_v);",
        "barriers.release(of_v);\n      ptx::wgmma_wait<0>();\n      ptx::wgmma_registers(sum);",
        r"unfinished: .* writes of_q\[\d+\] .*\(tma_load\), which .* \(wgmma\) reads",
    ),
    "scores that are not waited for": (FORWARD, "wgmma_wait<1>", "wgmma_wait<2>", r"unfinished"),
    "sums that are not waited for": (
        FORWARD, "      ptx::wgmma_wait<0>();\n      ptx::wgmma_registers(sum);\n", "", r"unfinished"
    ),
    "scores in no group of their own": (
        FORWARD, "tile_in(slot));\n    ptx::wgmma_commit();", "tile_in(slot));", r"unfinished"
    ),
    "values in no group": (FORWARD, "  // (10)\n    ptx::wgmma_commit();", "", r"unfinished"),
    "no fence before the products": (
        FORWARD, "take_turn();\n    ptx::wgmma_fence();", "take_turn();", r"has not called wgmma_fence"
    ),
    "a stride of half a group of rows": (FORWARD, "(a, 16, 1024)", "(a, 16, 512)", None),
    "the second half of a row in the first's place": (
        FORWARD, "d / 64 * Tile<ROWS, HEAD>::part + d", "d", None
    ),
    "values turned around": (FORWARD, "wgmma<ptx::Major::mn>", "wgmma<ptx::Major::k>", None),
    # which block has what
    "heads of a section that is not full": (FORWARD, "min(section, blocks / tiles - before)", "section", OTHERS),
    "two sections' tiles in one": (FORWARD, "block - before * tiles", "block - before", OTHERS),
    # turns
    "the turn to oneself": (FORWARD, "barrier_arrive(2 - number()", "barrier_arrive(1 + number()", r"deadlock|barrier"),
    "nobody has the first turn": (
        FORWARD, "    if (number() == 1) ptx::barrier_arrive(1, 128 * consumers);\n", "",
        r"deadlock: [\s\S]*256 threads in barrier_sync",
    ),
    # the recurrence
    "what was summed does not shrink": (FORWARD, "sum[i] *= rows.shrink[i / 2 % 2]", "sum[i] *= 1", None),
    "nor the sum of exponentials": (FORWARD, "z[r] *= shrink[r]", "z[r] *= 1", None),
    "a maximum of a quarter of a row": (FORWARD, "top = across<Max>(top);", "", None),
    "a sum of a quarter of a row": (FORWARD, "across<Sum>(consumer.rows.z[r])", "consumer.rows.z[r]", None),
    # masks and dropout
    "a key too many": (FORWARD, "column_of(i) >= last", "column_of(i) > last", None),
    "an edge that only the last query has": (FORWARD, "head.seen(first + 1)) {", "head.seen(first + 64)) {", None),
    "keys that a tile sees are left out": (
        FORWARD, "head.seen(min(t0 + stays, problem.rows))", "head.seen(t0 + 1)", None
    ),
    "no dropout": (FORWARD, "if (!head.problem.drop_below) return", "return", None),
    "another weight's dropout": (FORWARD, "head.dropout(first + row_of(i), s0", "head.dropout(row_of(i), s0", None),
    # the way out
    "a row beyond the last is written": (
        FORWARD, "threadIdx.x % 4 == 0 && t < problem.rows", "threadIdx.x % 4 == 0", r"out of bounds"
    ),
    "both consumers write one's rows": (
        FORWARD, "{64 * i, first, h, b});\n    ptx::bulk_c", "{64 * i, first & ~64, h, b});\n    ptx::bulk_c",
        r"unfinished: .* writes o\[\d+\] .*\(tma_store\), which .*\(tma_store\) writes",
    ),
    "no fence before the store": (FORWARD, "fence_proxy_async();\n  ptx::b", "b", r"no fence: .*\(tma_store\)"),
    "no barrier before the store": (FORWARD, "  ptx::barrier_sync(barrier, 128);\n", "", r"(race|unwritten|no fence)"),
    "a return with stores under way": (FORWARD, "    ptx::bulk_wait_read<0>();\n", "", r"unfinished copy: .* returns"),
    "rows turned by half": (FORWARD, "^ row % 8) * 16", "^ row % 4) * 16", None),
    # keys beyond the length, whose memory holds NaN
    "values beyond the length": (FORWARD, ", cut(head, (tiles - 1) * KEYS, KEYS))", ")", None),
    "keys and values beyond it, which pass": (QUERIES, "!OF_KEYS && cut", "false && cut", None),
    "keys and values beyond it, which stay": (KEYS, "OF_KEYS && cut(head, row", "false && cut(head, row", None),
    "a row of them too few": (FORWARD, "there * 128 +", "(there + 1) * 128 +", None),
    "a row too many": (KEYS, "there * 128 +", "(there - 1) * 128 +", None),
    "half their columns": (QUERIES, "*>(tile + i * part + at) = {}", "*>(tile + at) = {}", None),
    "keys alone": (QUERIES, ", Tile<PASSES, HEAD>::clear(y, head.length - first);", ";", None),
    "rows cleared before they come": (
        FORWARD, "    ptx::mbarrier_wait(&cuts, 0);\n", "", r"unfinished|race: .* \(tma_load\)"
    ),
    "the phase before": (
        FORWARD, "mbarrier_wait(&cuts, 0)", "mbarrier_wait(&cuts, 1)", r"unfinished|race: .* \(tma_load\)"
    ),
    "no fence after clearing": (
        QUERIES, "    clear();\n    ptx::fence_proxy_async();\n", "    clear();\n", r"no fence: .* \(wgmma\), which"
    ),
    "lanes that have not cleared": (
        KEYS, "    __syncwarp();\n    if (threadIdx.x ==", "    if (threadIdx.x ==", r"race|no fence"
    ),
    "consumers that nobody tells": (
        KEYS, "    if (threadIdx.x == 0) ptx::mbarrier_arrive(full);\n", "", r"deadlock: [\s\S]*in mbarrier_wait"
    ),
    "consumers told too early": (
        FORWARD, "ptx::mbarrier* first = is_cut ? &cuts : full", "ptx::mbarrier* first = full", r"deadlock"
    ),
    # backward
    "the bytes of what a query needs besides": (
        KEYS, "shared.pair + (OF_KEYS ? shared.of_rows : 0)", "shared.pair", rf"{UNFINISHED}|more have come than"
    ),
    "another slot's queries": (KEYS, "shared.rows_in(slot)[", "shared.rows_in(Slot{0, 0})[", UNFINISHED),
    "a pair released before its products": (
        KEYS, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(dx);\n    if", "    if", r"unfinished"
    ),
    "gradients that are not waited for": (
        KEYS, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(dp);", "    ptx::wgmma_registers(dp);", r"unfinished"
    ),
    "an edge is forgotten": (KEYS, "head.allowed.keep || edge", "head.allowed.keep", None),
    "the edge of another query": (KEYS, "(OF_KEYS ? passing : first) + 1)", "(OF_KEYS ? passing : first) + 64)", None),
    "dropout is not passed to dP": (KEYS, "dp[i] * factor - of", "dp[i] - of", None),
    "the dropped weights in dS": (KEYS, "dp[i] = s[i] * (", "dp[i] = s[i] * factor * (", None),
    "one head's queries for all": (KEYS, "h = OF_KEYS ? head.h + g", "h = OF_KEYS ? head.h", None),
    "one head's dropout for all": (KEYS, "of_tiles(problem, of_all + g,", "of_tiles(problem, of_all,", None),
    "queries that see a tile are left out": (KEYS, "max(0, row - p.keys + p.rows)", "max(0, row)", None),
    "dK without its scale": (KEYS, "own.dx, scaled,", "own.dx, as_is,", None),
    "keys that a query sees are left out": (QUERIES, "head.seen(min(row + stays, p.rows))", "head.seen(row + 1)", None),
    "a query's sums in the other row": (QUERIES, "own[i / 2 % 2]; };", "own[0]; };", None),
    "delta of half a row": (ROWS, "d = 8 * (threadIdx.x % 32)", "d = 16 * (threadIdx.x % 32)", None),
}  # fmt: skip
SHOWN = shown(PLANTED)


@pytest.fixture(scope="module")
def planted():
    """All mutants in one source, each in a namespace; a mutant's other kernels are the right ones."""
    code = '#include "../common/wgmma.cuh"\n#include "problem.cuh"\n' + f"namespace right {{ {TEXT} }}\n"
    right_ones = {name: f"right::{name}" for name in (FORWARD, KEYS, QUERIES, ROWS)}
    kernels = {}
    for i, (name, (kernel, right, wrong, _)) in enumerate(PLANTED.items()):
        assert right in TEXT, f"{name}: there is no {right!r}"
        if name not in SHOWN:
            continue
        code += f"namespace bug_{i} {{ {TEXT.replace(right, wrong)} }}\n"
        kernels[name] = right_ones | {kernel: f"bug_{i}::{kernel}"}
    instances = {
        instance: instance.replace("<T>", "<__nv_bfloat16>") for of in kernels.values() for instance in of.values()
    }
    options = f"-I{ROOT / 'attention'}", "-DNLP_BFLOAT16"
    module = RawModule(code=code, options=options, name_expressions=tuple(instances.values()))

    def source(name):
        of = kernels[name]
        return SimpleNamespace(kernel=lambda instance, x: module.get_function(instances[of[instance]]))

    return source


HYPER = {"causal": True, "dropout": (0.3, 7, 3)}


def sections():
    """Three heads, two in a section."""
    given = drawn(1, 3, 3, 130, 10, 72, 72)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hopper, "CACHED", 6000)
        o, (_, lse) = hopper.forward(*given[:3])
    assert_forward(o, lse, *given, None, None, {})


def forward():
    """Two consumers, four tiles of keys, so that every slot is used twice; rows find their maximum in a later tile."""
    q, k, v, do = drawn(1, 1, 1, 70, 400, 72, 72)
    k[:, :, 200:] *= np.asarray(3, k.dtype)
    lengths = np.array([395])
    o, (_, lse) = hopper.forward(q, *beyond(k, v, lengths, np.nan), None, lengths, **HYPER)
    assert_forward(o, lse, q, *beyond(k, v, lengths, 0), do, None, lengths, HYPER)


def backward():
    """Two tiles of queries and of keys; two heads share the latter."""
    q, k, v, do = drawn(1, 2, 1, 150, 200, 72, 72)
    masks = None, np.array([195])
    given = q, *beyond(k, v, masks[1], 0), do, *masks, HYPER
    o, (_, lse) = reference.forward(*wide(*given[:3]), *masks, **HYPER)
    saved = o.astype(q.dtype), lse.astype(np.float32)
    assert_backward(hopper.backward(do, q, *beyond(k, v, masks[1], np.nan), *masks, saved, **HYPER), *given)


@pytest.mark.parametrize("run", [sections, forward, backward])
def test_without_a_bug_nothing_is_found(run):
    with simulate("random:1"):
        run()


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize("name", SHOWN)
def test_a_planted_bug_is_found(planted, name, order, monkeypatch):
    run = sections if "section" in name else forward if PLANTED[name][0] == FORWARD else backward
    monkeypatch.setattr(hopper, "SOURCE", planted(name))
    with pytest.raises((SimulatorError, AssertionError), match=PLANTED[name][3] or "is wrong"), simulate(order):
        run()
