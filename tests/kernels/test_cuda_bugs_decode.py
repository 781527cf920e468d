"""Bugs planted in the kernels that decode: shares of the keys, their merge, groups of heads, masks, barriers."""

import numpy as np
import pytest
from nlp_kernels.attention import decode, reference
from planted import assert_simulator_catches, shown
from simulated import needs_simulator

pytestmark = needs_simulator()
INSTANCES = ("attention_split<T, 8, 64>", "attention_merge<T>")
WRONG = "is wrong"
NO_KEY = "highest == -infinity<T>() ? T(0) : highest"

PLANTED = {
    "a merge that does not shrink what was summed": ("* exp(tops[i] - shift);\n      row", ";\n      row", WRONG),
    "nor the sums of exponentials": ("totals[i] * exp(tops[i] - shift)", "totals[i]", WRONG),
    "a merge of half the shares": ("i < splits; i++", "i < splits; i += 2", WRONG),
    "a share that begins a key late": ("s_first = split * share,", "s_first = split * share + (split > 0),", WRONG),
    "a share that ends a key late": ("s_first + share)", "s_first + share + 1)", WRONG),
    "keys that no share has": ("of_keys.length + splits * tile - 1", "of_keys.length", WRONG),
    "heads of another group": ("heads_of_keys * problem.group", "heads_of_keys", rf"race|{WRONG}"),
    "an empty share poisons the merge": ("top == -infinity<T>() ? T(0) : top;", "top;", WRONG),
    "a tile that a query does not see poisons it": (NO_KEY, "highest", WRONG),
    "what was summed before the tile does not shrink": ("sum[r][i] *= shrinks[r]", "sum[r][i] *= 1", WRONG),
    "scores that are not there yet": (
        "    __syncthreads();\n#pragma unroll\n    for (int i", "#pragma unroll\n    for (int i",
        r"(race|unwritten): .* shared",
    ),
    "weights that are not there yet": (
        "    __syncthreads();\n#pragma unroll\n    for (int r = 0", "#pragma unroll\n    for (int r = 0",
        r"(race|unwritten): .* shared",
    ),
    "sums that are not there yet": (
        "  __syncthreads();\n  const long long first_row", "  const long long first_row", r"(race|unwritten): .* shared"
    ),
    "the halves of an exchange turned around": ("sent = upper ? v[i] :", "sent = !upper ? v[i] :", WRONG),
    "queries of the next head": ("first + r >= queries || d", "d", r"race|out of bounds"),
    "dropout in the sum of exponentials": (
        "of_tile += s[j];", "s[j] *= head.dropout(t, s0 + lane + 32 * j), of_tile += s[j];", WRONG
    ),
    "keys beyond the share are read": (
        "r < rows && c < D)\n            x[n][i /", "c < D)\n            x[n][i /", "out of bounds"
    ),
    "pieces beyond the share are read": (
        "r < rows && c < D)\n            x[n][i] =", "c < D)\n            x[n][i] =", "out of bounds"
    ),
}  # fmt: skip


def run():
    """Two blocks of queries and several tiles and shares, rows of 16 bytes and others, equal to the reference's."""
    B, H, KH, T, S, rng = 2, 6, 2, 3, 200, np.random.default_rng(0)
    for D in (10, 12):
        shapes = (B, H, T, D), (B, KH, S, D), (B, KH, S, D)
        q, k, v = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
        k[:, :, 70:] *= 4  # queries that find their maximum in the second tile, and share
        keep = rng.random((B, H, T, S)) < 0.8
        keep[:, 0, 1, :64] = keep[:, 1, 1] = False
        lengths, hyper = np.array([0, 200]), {"causal": True, "dropout": (0.3, 7, 3)}
        ours, (_, lse) = decode.forward(q, k, v, keep, lengths, **hyper)
        right, (_, wanted) = reference.forward(*(x.astype(np.float64) for x in (q, k, v)), keep, lengths, **hyper)
        for name, mine, exact in (("o", ours, right), ("lse", lse, wanted)):
            assert np.abs(mine - exact).max() <= 1e-5 * np.abs(exact).max(), f"{name} is wrong"


@pytest.mark.parametrize("name", shown(PLANTED))
def test_a_planted_bug_is_caught(name, monkeypatch):
    monkeypatch.setattr(decode, "ROWS", {**decode.ROWS, 8: 4})
    monkeypatch.setattr(decode, "MANY", 1)
    assert_simulator_catches(decode, PLANTED[name], INSTANCES, run, monkeypatch)
