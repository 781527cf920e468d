"""Layer norm: with and without a residual, rows far from 0, rows of one feature, rows that are constant."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, N, C = draw(generators()), draw(sizes(6)), draw(sizes(64))
    x = draw(floats(rng, (N, C), dtype, scales=(1.0, 1e-3, 1e3), offsets=(0.0, 10.0, 1e4)))
    gamma, beta = (draw(floats(rng, (C,), dtype)) for _ in range(2))
    residual = draw(floats(rng, (N, C), dtype, offsets=(0.0, 100.0))) if draw(st.booleans()) else None
    return Case((x, gamma, beta, residual), {"eps": draw(st.sampled_from([1e-5, 1e-12, 1.0]))})


HOT_PATH = HotPath(
    "layer_norm",
    inputs=("x", "gamma", "beta", "residual"),
    differentiable=("x", "gamma", "beta", "residual"),
    outputs=("y", "h"),
    cases=cases,
)
