"""Attention: heads that share keys or do not, every combination of masks, rows without keys, logits up to 1e4."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, layouts, masks, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, B, KH, T, S = draw(generators()), *(draw(sizes(n)) for n in (2, 2, 6, 6))
    H, D, Dv = KH * draw(st.sampled_from([1, 2, 3])), draw(sizes(8)), draw(sizes(8))
    q = draw(floats(rng, (B, H, T, D), dtype, scales=(1.0, 1e-3, 1e4)))
    k, v = (draw(floats(rng, (B, KH, S, d), dtype, offsets=(0.0, 3.0))) for d in (D, Dv))
    shape = draw(st.sampled_from([None, (B, H, T, S), (B, 1, T, S), (B, 1, 1, S), (1, H, T, S), (T, S), (S,), ()]))
    keep = None if shape is None else draw(masks(rng, shape)) if shape else np.array(draw(st.booleans()))
    lengths = draw(layouts(rng.integers(0, S + 1, B, np.int32))) if draw(st.booleans()) else None
    hyper = {
        "causal": draw(st.booleans()),
        "scale": draw(st.sampled_from([None, 0.5])),
        "dropout": draw(st.sampled_from([None, (0.0, 1, 0), (0.3, 7, 0), (0.5, 2**64 - 1, 2**40 + 3)])),
    }
    return Case((q, k, v, keep, lengths), hyper)


HOT_PATH = HotPath(
    "attention",
    inputs=("q", "k", "v", "keep", "key_lengths"),
    differentiable=("q", "k", "v"),
    outputs=("o",),
    cases=cases,
)
