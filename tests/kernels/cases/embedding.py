"""Embedding: indices of any shape, many of them equal."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, layouts, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, V, D = draw(generators()), draw(sizes(12)), draw(sizes(6))
    shapes = [(), (0,), (1,), (7,), (2, 3), (3, 0), (2, 2, 3), (300,)]  # 300: of one row, a sum in several parts
    shape = draw(st.sampled_from(shapes) if V else st.just((0,)))
    dtypes = st.sampled_from([np.int32, np.int64])
    rows = rng.integers(0, draw(st.sampled_from([1, V])) or 1, shape)  # one row again and again, or any
    return Case((draw(floats(rng, (V, D), dtype)), draw(layouts(np.asarray(rows, draw(dtypes))))))


HOT_PATH = HotPath("embedding", inputs=("table", "indices"), differentiable=("table",), cases=cases)
