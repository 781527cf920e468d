"""Bugs planted in attention on tensor cores, each caught: pipelines, layouts, masks, recurrence, gradients."""

import re

import numpy as np
import pytest
from attention_in_bfloat16 import drawn, exact, wrong
from nlp_kernels.attention import tensor_cores
from nlp_kernels.common.cuda import Source
from nlp_kernels.simulator import SimulatorError, simulate, translate
from planted import shown
from simulated import needs_simulator

pytestmark = needs_simulator()
SOURCE = tensor_cores.SOURCE
FORWARD, KEYS, QUERIES = (f"attention_{kernel}<64>" for kernel in ("forward", "keys", "queries"))
ORDERS = ("forward", "random:1")
EARLY = r"(race|unfinished copy|unwritten): .* shared"
OUTPUT = "(o|lse) is wrong"
STEP = "ptx::copy_wait<0>();\n    __syncthreads();\n"

# Keys of several steps and two blocks, two heads that share them, two sequences, a diagonal and a length that cut
# tiles where an error of one shows; values in rows of 40 bytes, keys in rows of 32.
SIZES, LENGTHS = (2, 2, 1, 70, 148, 16, 20), np.array([148, 127])
HYPER = {"causal": True, "dropout": (0.3, 7, 3)}

# name: (the instance, what is right, what is planted, the message or the result that is wrong)
PLANTED = {
    "a step is not waited for": (FORWARD, STEP, "__syncthreads();\n", EARLY),
    "nor in a walk over queries": (KEYS, STEP, "__syncthreads();\n", EARLY),
    "no barrier of a step": (FORWARD, STEP, "ptx::copy_wait<0>();\n", EARLY),
    "a half of the ring is written before its readers have met": (
        QUERIES, f"{STEP}    load(s0 + STEP);",
        "ptx::copy_wait<0>();\n    load(s0 + STEP);\n    __syncthreads();", EARLY,
    ),
    "a ring of one half": (KEYS, "ring + step % 2 * 2 * Step::SIZE", "ring", EARLY),
    "statistics of one half": (KEYS, "statistics + step % 2 * 2 * STEP", "statistics", EARLY),
    "the swizzle at one side only": (
        FORWARD, "ptx::ldmatrix(r, tile + place(row + threadIdx.x % 16, column + threadIdx.x % 32 / 16 * 8))",
        "ptx::ldmatrix(r, tile + (row + threadIdx.x % 16) * HEAD + column + threadIdx.x % 32 / 16 * 8)", OUTPUT,
    ),
    "no .trans": (FORWARD, "pieces_transposed(b, tile, k, n)", "pieces(b, tile, k, n)", OUTPUT),
    "pieces of B in the order of A": (FORWARD, "pieces_by_rows(b, tile, n, k)", "pieces(b, tile, n, k)", OUTPUT),
    "weights in the order of B": (FORWARD, "w[k / 8 + i / 2][i % 2 * 2]", "w[k / 8 + i % 2][i / 2 * 2]", OUTPUT),
    "the maximum over half a row": (
        FORWARD, "top[r] = across<Max>(top[r]);",
        "top[r] = Max::of(top[r], __shfl_xor_sync(all_lanes, top[r], 1));", OUTPUT,
    ),
    "the sum over half a row": (
        FORWARD, "z[r] = across<Sum>(z[r]);", "z[r] += __shfl_xor_sync(all_lanes, z[r], 1);", OUTPUT,
    ),
    "the output does not shrink": (FORWARD, "i % 2] *= shrink", "i % 2] *= 1", OUTPUT),
    "nor the sum of exponentials": (FORWARD, "z[r] * shrink +", "z[r] +", OUTPUT),
    "a query does not see its own key": (FORWARD, "s <= t + problem.keys", "s < t + problem.keys", OUTPUT),
    "a tile that the diagonal cuts is wholly visible": (
        FORWARD, "some_see(head, first, s);", "some_see(head, first + 1, s);", OUTPUT,
    ),
    "and for keys": (KEYS, "some_see(head, first, s);", "some_see(head, first + 1, s);", "dk is wrong"),
    "a tile that is seen in part is hidden": (
        FORWARD, "if (!some_see(head, mine + 15, s0))", "if (!some_see(head, mine, s0))", OUTPUT,
    ),
    "one key beyond the length": (FORWARD, "s < length &&", "s <= length &&", OUTPUT),
    "a tile that the length cuts is wholly visible": (
        FORWARD, "return s < head.length &&", "return s <= head.length &&", OUTPUT,
    ),
    "the sum counts dropped weights no more": (
        FORWARD, "of_step[r] += score;", "of_step[r] += of.kept ? score * 0.9f : score;", OUTPUT,
    ),
    "dropout drawn for another score": (FORWARD, "(t) * problem.keys + s", "(t) * problem.keys + s + 1", OUTPUT),
    "dropout of the first head for all": (FORWARD, "(head) * p.rows * p.keys", "(0) * p.rows * p.keys", OUTPUT),
    "dropout is not passed to dP": (
        QUERIES, "dp[i / 4][i % 4] *= of.kept >> i & 1 ? problem.kept_scale : 0;", "{}", "dq is wrong",
    ),
    "dV of all weights": (KEYS, "s[i / 4][i % 4] *= of.kept >> i & 1 ? problem.kept_scale : 0;", "{}", "dv is wrong"),
    "masks turned around": (
        KEYS, "t0 + i / 4 * 8 + lane % 4 * 2 + i % 2, mine + lane / 4 + i / 2 % 2 * 8",
        "t0 + i / 4 * 8 + lane % 4 * 2 + i / 2 % 2, mine + lane / 4 + i % 2 * 8", "dk is wrong",
    ),
    "a head reads keys of its own, which it has not": (
        FORWARD, "h / problem.group * stride[1]", "h * stride[1]", "out of bounds: .* from k",
    ),
    "one head of those that share keys": (KEYS, "steps = tiles * problem.group", "steps = tiles", "dk is wrong"),
    "queries that see a tile are left out": (
        KEYS, "max(0, s0 - problem.keys + problem.rows)", "max(0, s0)", "dk is wrong",
    ),
    "base 2 and base e": (QUERIES, "l(i) * log2_e", "l(i)", "dq is wrong"),
    "dQ without its scale": (
        QUERIES, "sum, {problem.scale, problem.scale}, of_q", "sum, {1, 1}, of_q", "dq is wrong",
    ),
    "delta of half a row": ("attention_delta", "lanes = 4; lanes", "lanes = 2; lanes", "dq is wrong"),
    "rows are sent that are not there yet": (FORWARD, "__syncwarp();\n#pragma unroll 2", "#pragma unroll 2", EARLY),
    "a number past the end of a row": (FORWARD, "if (column + j < to.columns) at[j]", "at[j]", "race|out of bounds"),
    "a chunk past the last row": (FORWARD, "first + r >= to.count ||", "", "race|out of bounds"),
}  # fmt: skip


class Planted(Source):
    """A bug in one kernel; the others are as they are."""

    def __init__(self, instance: str, right: str, wrong: str):
        super().__init__(str(SOURCE.path), instance)
        text = re.sub(r"[ \t]+(?=\n)", "", translate.flatten(SOURCE.code, []))  # what comments leave
        assert right in text, f"there is no {right!r}"
        self.text = text.replace(right, wrong)

    @property
    def code(self) -> str:
        return self.text

    def kernel(self, instance, x):
        return super().kernel(instance, x) if instance in self.instances else SOURCE.kernel(instance, x)


@pytest.fixture(scope="module")
def right():
    """The inputs and what is right; what backward is given of forward is right, too."""
    arrays = drawn(*SIZES)
    of = exact(*arrays, None, LENGTHS, **HYPER)
    saved = of["o"][0].astype(arrays[0].dtype), of["lse"][0].astype(np.float32)
    return arrays, of, saved


def outcome(right, instance, order):
    """ "right", which result is wrong, or an error."""
    (q, k, v, do), of, saved = right
    try:
        with simulate(order):
            if instance == FORWARD:
                o, (_, lse) = tensor_cores.forward(q, k, v, None, LENGTHS, **HYPER)
                ours = {"o": o, "lse": lse}
            else:
                gradients = tensor_cores.backward(do, q, k, v, None, LENGTHS, saved, **HYPER)
                ours = dict(zip(("dq", "dk", "dv"), gradients, strict=True))
    except SimulatorError as error:
        return str(error)
    name = wrong(ours, {name: of[name] for name in ours})
    return f"{name} is wrong" if name else "right"


@pytest.mark.parametrize("instance", [FORWARD, KEYS])
def test_without_a_bug_it_is_right(right, instance):
    for order in ORDERS:
        assert outcome(right, instance, order) == "right"


@pytest.mark.parametrize("name", shown(PLANTED))
def test_a_planted_bug_is_caught(name, right, monkeypatch):
    instance, correct, planted, message = PLANTED[name]
    monkeypatch.setattr(tensor_cores, "SOURCE", Planted(instance, correct, planted))
    for order in ORDERS if message == EARLY else ORDERS[:1]:  # what is computed wrong is so in any order
        assert re.search(message, outcome(right, instance, order))
