"""Bugs planted in the matrix products on CUDA cores, in what follows them and in what shares K: each is caught."""

import numpy as np
import pytest
from nlp_kernels.matmul import cuda, reference
from planted import assert_simulator_catches, shown
from simulated import needs_simulator

pytestmark = needs_simulator()
INSTANCES = tuple(name for name in cuda.SOURCE.instances if name.endswith((", 1>", "<T>")))
TILES, SHARED = (70, 67, 9), (5, 200, 7)  # M, K, N: several tiles with ragged edges; one, whose blocks share K
WRONG = "is wrong"

PLANTED = {
    "no barrier of a step": (
        *(TILES, "b_next.store(b_part[now]);\n    __syncthreads();", "b_next.store(b_part[now]);"),
        r"(race|unwritten): .* [ab]_part\[",
    ),
    "one buffer for two": (TILES, "now ^= 1", "now ^= 0", r"race: .* [ab]_part\["),
    "no zeros beyond K": (TILES, "if (row < rows && k < K)", "if (row < rows)", rf"out of bounds|{WRONG}"),
    "no zeros beyond the rows": (TILES, "if (row < rows && k < K)", "if (k < K)", rf"out of bounds|{WRONG}"),
    "a row's own column": (TILES, "of_a[i] * of_b[j]", "of_a[i] * of_b[i]", WRONG),
    "a share goes on to the end": (SHARED, "last = min(K, first + share)", "last = K", WRONG),
    "all shares in one place": (
        *(SHARED, "partial[split * size + to]", "partial[to]"),
        rf"race: .* writes partial\[|{WRONG}",
    ),
    "a share is forgotten": (SHARED, "split < splits", "split < splits - 1", WRONG),
    "sums of the last step alone": (TILES, "part_sum +=", "part_sum =", WRONG),
    "the slope at another place": (TILES, "slope(static_cast<", "slope(2 * static_cast<", WRONG),
    "the residual is not added": (TILES, "after + static_cast<A>(residual[at])", "after", WRONG),
}  # fmt: skip


def run(shape):
    """Forward and backward, equal to the reference's in float64 to float32's digits."""
    (M, K, N), rng = shape, np.random.default_rng(0)
    x, w, b, residual, dy = (rng.normal(size=s).astype(np.float32) for s in ((M, K), (K, N), (N,), (M, N), (M, N)))
    y, z = cuda.forward(x, w, b, residual, activation="gelu")
    ours = y, *cuda.backward(dy, x, w, b, residual, z, activation="gelu")[:3]
    wide = [a.astype(np.float64) for a in (x, w, b, residual)]
    right, saved = reference.forward(*wide, activation="gelu")
    gradients = reference.backward(dy.astype(np.float64), *wide, saved, activation="gelu")
    for name, mine, exact in zip(("y", "dx", "dw", "db"), ours, (right, *gradients), strict=False):
        assert np.abs(mine - exact).max() <= 1e-5 * np.abs(exact).max(), f"{name} is wrong"


@pytest.mark.parametrize("name", shown(PLANTED))
def test_a_planted_bug_is_caught(name, monkeypatch):
    shape, *bug = PLANTED[name]
    assert_simulator_catches(cuda, bug, INSTANCES, lambda: run(shape), monkeypatch)
