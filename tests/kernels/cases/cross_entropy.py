"""Cross-entropy: ignored rows (some, all, none), smoothing, logits up to 1e30, repeated targets."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, layouts, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, N, C = draw(generators()), draw(sizes(6)), draw(st.integers(1, 40))
    x = draw(floats(rng, (N, C), dtype, scales=(1.0, 30.0, 1e30), offsets=(0.0, 10.0, -1e4)))
    ignore_index = draw(st.sampled_from([-100, 0]))
    target = rng.integers(0, C, N).astype(draw(st.sampled_from([np.int32, np.int64])))
    target[rng.random(N) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = ignore_index
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return Case((x, draw(layouts(target))), {"ignore_index": ignore_index, "label_smoothing": smoothing})


HOT_PATH = HotPath("cross_entropy", inputs=("x", "target"), differentiable=("x",), cases=cases, outputs=("loss",))
