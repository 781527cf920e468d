"""Matmul: every activation, with and without bias and residual, transposed weights and transposed views."""

import hypothesis.strategies as st
import numpy as np
from nlp_kernels.matmul import ACTIVATIONS

from cases import Case, HotPath, floats, generators, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, M, K, N = draw(generators()), draw(sizes(6)), draw(sizes(40)), draw(sizes(9))
    transpose_w = draw(st.booleans())
    x = draw(floats(rng, (M, K), dtype, scales=(1.0, 1e4), offsets=(0.0, 10.0)))
    w = draw(floats(rng, (N, K) if transpose_w else (K, N), dtype, scales=(0.2, 1.0)))
    b = draw(st.none() | floats(rng, (N,), dtype))
    residual = draw(st.none() | floats(rng, (M, N), dtype))
    hyper = {"activation": draw(st.sampled_from(ACTIVATIONS)), "transpose_w": transpose_w}
    return Case((x, w, b, residual), hyper)


NAMES = ("x", "w", "b", "residual")
HOT_PATH = HotPath("matmul", inputs=NAMES, differentiable=NAMES, cases=cases)
