"""Softmax: any mask, any temperature, logits up to 1e30."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, masks, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, N, C = draw(generators()), draw(sizes(6)), draw(sizes(40))
    x = draw(floats(rng, (N, C), dtype, scales=(1.0, 30.0, 1e30), offsets=(0.0, 10.0, -1e4)))
    shape = draw(st.sampled_from([None, (N, C), (1, C), (N, 1), (C,)]))
    keep = None if shape is None else draw(masks(rng, shape))
    temperature = draw(st.sampled_from([1.0, 0.25, 3.0]))
    return Case((x, keep), {"temperature": temperature, "log": draw(st.booleans())})


HOT_PATH = HotPath("softmax", inputs=("x", "keep"), differentiable=("x",), cases=cases)
