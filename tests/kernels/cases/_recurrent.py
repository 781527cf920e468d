"""Inputs that the recurrent hot paths share."""

import hypothesis.strategies as st
import numpy as np

from cases import Case, floats, generators, layouts, sizes


def recurrent(gates, states=1, **hyper):
    """cases(dtype) for weights of so many gates and so many states; `hyper`: a strategy for each further option."""

    @st.composite
    def cases(draw, dtype=np.float64):
        rng, T, B = draw(generators()), draw(sizes(5)), draw(sizes(4))
        inputs, H = draw(sizes(5)), draw(sizes(6))
        x = draw(floats(rng, (T, B, inputs), dtype, scales=(1.0, 1e-2, 30.0)))
        initial = [draw(floats(rng, (B, H), dtype)) for _ in range(states)]
        w_ih, w_hh = (draw(floats(rng, (gates * H, n), dtype, scales=(0.5, 1.5))) for n in (inputs, H))
        biases = [None, None]
        if draw(st.booleans()):
            biases = [draw(floats(rng, (gates * H,), dtype)) for _ in range(2)]
        lengths = None
        if draw(st.booleans()):
            lengths = rng.integers(0, T + 1, B).astype(draw(st.sampled_from([np.int32, np.int64])))
            lengths = draw(layouts(lengths))
        options = {name: draw(strategy) for name, strategy in hyper.items()}
        return Case((x, *initial, w_ih, w_hh, *biases, lengths), options | {"reverse": draw(st.booleans())})

    return cases
