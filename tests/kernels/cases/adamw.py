"""The AdamW step: first steps and late ones, gradients that are 0 or clipped, both kinds of decay."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, HotPath, floats, generators, sizes


@st.composite
def cases(draw, dtype=np.float64):
    rng, shape = draw(generators()), draw(st.lists(sizes(6), min_size=1, max_size=3).map(tuple))
    t = draw(st.sampled_from([1, 2, 10, 1000, 100_000]))
    theta, g, m = (draw(floats(rng, shape, dtype, scales=(1.0, 1e-4, 1e4))) for _ in range(3))
    v = draw(floats(rng, shape, dtype)) ** 2 + np.asarray(1e-3, dtype)
    if t == 1:  # what an optimiser starts from
        m, v = np.zeros_like(m), np.zeros_like(v)
    elif draw(st.booleans()):
        g = np.zeros_like(g)
    beta1, beta2 = draw(st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.0)]))
    hyper = {"t": t, "lr": 1e-3, "beta1": beta1, "beta2": beta2, "eps": 1e-8}
    hyper |= {"weight_decay": draw(st.sampled_from([0.0, 0.1])), "decoupled": draw(st.booleans())}
    scale = draw(st.sampled_from([None, 1.0, 0.3, 1e-4, 0.0]))
    return Case((theta, g, m, v, None if scale is None else np.asarray(scale, dtype)), hyper)


HOT_PATH = HotPath(
    "adamw",
    inputs=("theta", "g", "m", "v", "grad_scale"),
    differentiable=(),
    outputs=("theta", "m", "v"),
    kind="update",
    cases=cases,
)
