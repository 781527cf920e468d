"""Bugs planted in attention's CUDA kernels: the recurrence over tiles, masks, dropout, gradients, barriers."""

import numpy as np
import pytest
from nlp_kernels.attention import cuda, reference
from planted import assert_simulator_catches, shown
from simulated import needs_simulator

pytestmark = needs_simulator()
INSTANCES = tuple(name for name in cuda.SOURCE.instances if name.endswith((", 32>", "delta<T>")))
WRONG = "is wrong"

PLANTED = {
    "what was summed does not shrink": ("sum[i][j] *= shrink", "sum[i][j] *= 1", WRONG),
    "nor the sum of exponentials": ("z[i] * shrink +", "z[i] +", WRONG),
    "values over keys that are still read": (
        "Tile::keep_scores(weights, s);\n    __syncthreads();", "Tile::keep_scores(weights, s);", r"race: .* shared"
    ),
    "weights that are not there yet": (
        "problem.Dv);\n    __syncthreads();\n    Tile::template times<false>(sum",
        "problem.Dv);\n    Tile::template times<false>(sum", r"(race|unwritten): .* shared",
    ),
    "a query does not see its own key": ("s <= t + problem.keys", "s < t + problem.keys", WRONG),
    "keys beyond the length": ("s < length &&", "s < problem.keys &&", rf"out of bounds|{WRONG}"),
    "no dropout": ("s[i][j] *= head.dropout(", "head.dropout(", WRONG),
    "dropout is not passed to dP": ("dp[i][j] * kept - of_row", "dp[i][j] - of_row", WRONG),
    "the dropped weights in dS": ("dp[i][j] = p * (", "dp[i][j] = p * kept * (", WRONG),
    "the weights turned around": ("times<true>(of_dv", "times<false>(of_dv", WRONG),
    "dQ without its scale": ("of_dq, problem.scale", "of_dq, T(1)", WRONG),
    "queries that see a tile are left out": ("max(0, s0 - problem.keys + problem.rows)", "max(0, s0)", WRONG),
    "keys that a tile sees are left out": ("head.seen(t0 + TILE)", "head.seen(t0)", WRONG),
    "keys of another group": ("h / problem.group * stride[1]", "h % (problem.H / problem.group) * stride[1]", WRONG),
    "gradients of one head of a group": ("g < problem.group; g++", "g < 1; g++", WRONG),
    "delta of half a row": ("d += 32) sum += x[d] * y[d]", "d += 64) sum += x[d] * y[d] * (d < 4)", WRONG),
}  # fmt: skip


def run():
    """Forward and backward over several tiles, equal to the reference's in float64 to float32's digits."""
    B, H, KH, T, S, D, rng = 1, 4, 2, 35, 70, 8, np.random.default_rng(0)
    shapes = ((B, heads, n, D) for heads, n in ((H, T), (KH, S), (KH, S), (H, T)))
    q, k, v, do = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    k[:, :, 64:] *= 4  # rows that find their maximum in the second tile
    lengths, hyper = np.array([66]), {"causal": True, "dropout": (0.3, 7, 3)}
    o, saved = cuda.forward(q, k, v, None, lengths, **hyper)
    ours = o, *cuda.backward(do, q, k, v, None, lengths, saved, **hyper)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    right, kept = reference.forward(*wide, None, lengths, **hyper)
    gradients = reference.backward(do.astype(np.float64), *wide, None, lengths, kept, **hyper)
    for name, mine, exact in zip(("o", "dq", "dk", "dv"), ours, (right, *gradients), strict=True):
        assert np.abs(mine - exact).max() <= 1e-5 * np.abs(exact).max(), f"{name} is wrong"


@pytest.mark.parametrize("name", shown(PLANTED))
def test_a_planted_bug_is_caught(name, monkeypatch):
    assert_simulator_catches(cuda, PLANTED[name], INSTANCES, run, monkeypatch)
