"""Bugs planted in attention for Hopper: the ring, wgmma, turns, the recurrence, masks, gradients; each is found."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels.attention import hopper
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import RawModule, SimulatorError, simulate
from simulated import needs_simulator
from test_hopper_attention import assert_right, drawn, results

pytestmark = needs_simulator()
FILES = "pipeline.cuh", "hopper_backward.cuh", "hopper.cu"
TEXT = "\n".join(
    re.sub(r"^#(include|pragma).*", "", (ROOT / "attention" / name).read_text(), flags=re.MULTILINE) for name in FILES
)
FORWARD, KEYS, QUERIES = "attention_forward<128>", "attention_backward<128, true>", "attention_backward<128, false>"
UNFINISHED = r"(unwritten|unfinished|race|arrival too many|deadlock)"

# name: (kernel, what is right, what is planted, the message, or None where numbers are wrong)
PLANTED = {
    # barriers of the ring
    "no fence after the initialisation": (
        FORWARD, "    ptx::fence_barrier_init();\n", "", r"no fence: tma_load .* and no fence_barrier_init"
    ),
    "a slot that one consumer releases": (FORWARD, "&empty[i], 4 * consumers)", "&empty[i], 4)", UNFINISHED),
    "lanes that have not read what they need": (
        KEYS, "    __syncwarp();\n", "", r"race: .* writes shared\[\d+\] .* \(bulk_load\), which .* read"
    ),
    "a parity that does not change": (FORWARD, "index = 0, parity ^= 1", "index = 0", UNFINISHED),
    "the producer's first phase": (FORWARD, "Slot slot{0, 1}", "Slot slot{0, 0}", r"deadlock: .*empty\[0\]"),
    "the consumers' first phase": (FORWARD, "  Slot slot{0, 0};\n\n", "  Slot slot{0, 1};\n\n", UNFINISHED),
    "half the bytes of a tile": (
        FORWARD, "barriers.full[slot.index], Key::bytes)", "barriers.full[slot.index], Key::bytes / 2)",
        rf"{UNFINISHED}|more have come than",
    ),
    "the bytes of the queries twice": (
        FORWARD, "&barriers.stays, Tile<stays, HEAD>::bytes)", "&barriers.stays, 2 * Tile<stays, HEAD>::bytes)",
        r"deadlock: .*barriers.*bytes are missing",
    ),
    "keys that are not there yet": (
        FORWARD, "    wait_for(slot);\n    take_turn();", "    take_turn();", UNFINISHED
    ),
    "values that are not there yet": (FORWARD, "    wait_for(of_v);\n", "", UNFINISHED),
    "queries that are not there yet": (FORWARD, "  ptx::mbarrier_wait(&barriers.stays, 0);\n  wait", "  wait", UNFINISHED),
    "a slot filled before it is empty": (
        FORWARD, "    ptx::mbarrier_wait(&barriers.empty[slot.index], slot.parity);\n    ptx::mbarrier_arrive_expect_tx(&b",
        "    ptx::mbarrier_arrive_expect_tx(&b", UNFINISHED,
    ),
    "values before the keys that are wanted first": (
        FORWARD, "send(map_k, tile), send(map_v, tile - 1)", "send(map_v, tile - 1), send(map_k, tile)", None
    ),
    # wgmma
    "keys released before their product": (
        FORWARD, "    ptx::wgmma_wait<1>();\n    ptx::wgmma_registers(s);\n    barriers.release(slot);",
        "    barriers.release(slot);\n    ptx::wgmma_wait<1>();\n    ptx::wgmma_registers(s);",
        r"unfinished: .* writes of_q\[\d+\] .*\(tma_load\), which .* \(wgmma\) reads",
    ),
    "values released before their product": (
        FORWARD, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(sum);\n    barriers.release(of_v);",
        "    barriers.release(of_v);\n    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(sum);",
        r"unfinished: .* writes of_q\[\d+\] .*\(tma_load\), which .* \(wgmma\) reads",
    ),
    "scores that are not waited for": (FORWARD, "wgmma_wait<1>", "wgmma_wait<2>", r"unfinished"),
    "sums that are not waited for": (
        FORWARD, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(sum);\n", "", r"unfinished"
    ),
    "scores in no group of their own": (
        FORWARD, "    ptx::wgmma_commit();\n    wait_for(of_v);", "    wait_for(of_v);", r"unfinished"
    ),
    "the last values in no group": (
        FORWARD, "  add_weighted<KEYS, HEAD>(sum, weights, tile_in(slot));\n  ptx::wgmma_commit();",
        "  add_weighted<KEYS, HEAD>(sum, weights, tile_in(slot));", r"unfinished",
    ),
    "no fence before the products": (
        FORWARD, "  take_turn();\n  ptx::wgmma_fence();", "  take_turn();", r"has not called wgmma_fence"
    ),
    "a stride of half a group of rows": (FORWARD, "(a, 16, 1024)", "(a, 16, 512)", None),
    "the second half of a row in the first's place": (
        FORWARD, "part * Tile<ROWS, HEAD>::part + within", "within", None
    ),
    "values turned around": (FORWARD, "wgmma<ptx::Major::mn>", "wgmma<ptx::Major::k>", None),
    # turns
    "the turn to oneself": (FORWARD, "barrier_arrive(2 - consumer,", "barrier_arrive(1 + consumer,", r"deadlock|barrier"),
    "nobody has the first turn": (
        FORWARD, "  if (consumer == 1) ptx::barrier_arrive(1, 128 * consumers);\n", "", r"deadlock: .*barrier_sync"
    ),
    # the recurrence
    "what was summed does not shrink": (FORWARD, "sum[i] *= rows.shrink[i / 2 % 2]", "sum[i] *= 1", None),
    "nor the sum of exponentials": (FORWARD, "z[r] *= shrink[r]", "z[r] *= 1", None),
    "a maximum of half a row": (FORWARD, "      top = Max::of(top, __shfl_xor_sync(all_lanes, top, 2));", "", None),
    "a sum of half a row": (FORWARD, "    z += __shfl_xor_sync(all_lanes, z, 2);\n", "", None),
    # masks and dropout
    "a key too many": (FORWARD, "column_of(i) >= last", "column_of(i) > last", None),
    "an edge that only the last query has": (FORWARD, "head.seen(first + 1)) {", "head.seen(first + 64)) {", None),
    "keys that a tile sees are left out": (FORWARD, "head.seen(min(t0 + stays, problem.rows))", "head.seen(t0 + 1)", None),
    "no dropout": (FORWARD, "if (!head.problem.drop_below) return", "return", None),
    "another weight's dropout": (FORWARD, "head.dropout(first + row_of(i), s0", "head.dropout(row_of(i), s0", None),
    # the way out
    "a row beyond the last is written": (FORWARD, "threadIdx.x % 4 == 0 && t < problem.rows", "threadIdx.x % 4 == 0",
                                         r"out of bounds"),
    "both consumers write one's rows": (FORWARD, "{64 * i, first, h, b});\n    ptx::bulk_commit",
                                        "{64 * i, first & ~64, h, b});\n    ptx::bulk_commit", None),
    "no fence before the store": (FORWARD, "  ptx::fence_proxy_async();\n", "", r"no fence: .*\(tma_store\)"),
    "no barrier before the store": (FORWARD, "  ptx::barrier_sync(barrier, 128);\n", "", r"(race|unwritten|no fence)"),
    "a return with stores under way": (FORWARD, "    ptx::bulk_wait_read<0>();\n", "", r"unfinished copy: .* returns"),
    "rows turned by half": (FORWARD, "^ row % 8) * 16", "^ row % 4) * 16", None),
    # backward
    "the bytes of what a query needs besides": (
        KEYS, "2 * Passes::bytes + (OF_KEYS ? of_rows : 0)", "2 * Passes::bytes", rf"{UNFINISHED}|more have come than"
    ),
    "another slot's queries": (KEYS, "block.rows + slot.index * PASSES", "block.rows", UNFINISHED),
    "a pair released before its products": (
        KEYS, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(dx);\n    if", "    if", r"unfinished"
    ),
    "gradients that are not waited for": (
        KEYS, "    ptx::wgmma_wait<0>();\n    ptx::wgmma_registers(dp);", "    ptx::wgmma_registers(dp);", r"unfinished"
    ),
    "an edge is forgotten": (KEYS, "head.allowed.keep || edge", "head.allowed.keep", None),
    "the edge of another query": (KEYS, "(OF_KEYS ? passing : first) + 1)", "(OF_KEYS ? passing : first) + 64)", None),
    "dropout is not passed to dP": (KEYS, "dp[i] * factor(i) - of", "dp[i] - of", None),
    "the dropped weights in dS": (
        KEYS, "      dp[i] = s[i] * (dp[i] * factor(i)", "      dp[i] = s[i] * factor(i) * (dp[i] * factor(i)", None
    ),
    "one head's queries for all": (KEYS, "pass_x, full, first, OF_KEYS ? head.h + g : kv", "pass_x, full, first, OF_KEYS ? head.h : kv",
                                   None),
    "one head's dropout for all": (KEYS, "of_tiles(problem, of_all + g,", "of_tiles(problem, of_all,", None),
    "queries that see a tile are left out": (KEYS, "max(0, row - p.keys + p.rows)", "max(0, row)", None),
    "dK without its scale": (KEYS, "own_x, of_dx, scaled,", "own_x, of_dx, as_is,", None),
    "keys that a query sees are left out": (QUERIES, "head.seen(min(row + stays, p.rows))", "head.seen(row + 1)", None),
    "a query's sums in the other row": (QUERIES, "own[i / 2 % 2]; });", "own[0]; });", None),
    "delta of half a row": (KEYS, "d = 8 * (threadIdx.x % 32)", "d = 16 * (threadIdx.x % 32)", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def planted():
    """The kernels of all mutants in one source, each in a namespace; those that a mutant does not touch are the right ones."""
    code, instances = '#include "../common/wgmma.cuh"\n#include "problem.cuh"\n' + f"namespace right {{ {TEXT} }}\n", []
    of = {name: f"right::{name}" for name in (FORWARD, KEYS, QUERIES)}
    for i, (name, (kernel, right, wrong, _)) in enumerate(PLANTED.items()):
        assert right in TEXT, f"{name}: there is no {right!r}"
        code += f"namespace bug_{i} {{ {TEXT.replace(right, wrong)} }}\n"
        instances += [f"bug_{i}::{kernel}", f"bug_{i}::attention_rows<__nv_bfloat16>"]
    instances += of.values()
    options = f"-I{ROOT / 'attention'}", "-DNLP_BFLOAT16"
    module = RawModule(code=code, options=options, name_expressions=tuple(instances))

    def source(name):
        i, kernel = list(PLANTED).index(name), PLANTED[name][0]
        mutated = of | {kernel: f"bug_{i}::{kernel}", "attention_rows<T>": f"bug_{i}::attention_rows<__nv_bfloat16>"}
        return SimpleNamespace(kernel=lambda instance, x: module.get_function(mutated[instance]))

    return source


def run():
    """Rows that find their maximum in a later tile, causal, with lengths and dropout; all slots are used twice."""
    q, k, v, do = drawn(1, 2, 1, 150, 330, 72, 72)
    k[:, :, 200:] *= np.asarray(3, k.dtype)
    given = q, k, v, do, None, np.array([325]), {"causal": True, "dropout": (0.3, 7, 3)}
    assert_right(results(*given), *given)


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(planted, name, order, monkeypatch):
    monkeypatch.setattr(hopper, "SOURCE", planted(name))
    with pytest.raises((SimulatorError, AssertionError), match=PLANTED[name][3] or "is wrong"), simulate(order):
        run()
