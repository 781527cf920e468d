"""`nn.functional`: every function says its shapes, its errors and an example, and all of it is true."""

from __future__ import annotations

from functools import partial

import documentation
import numpy as np
import pytest

from tinygrad_nlp import AxisError, DtypeError, ShapeError
from tinygrad_nlp.nn import functional as F

X, OTHER, WHOLE, A = np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 3), int), np.ones((1, 2, 3))
OWN = [name for name in F.__all__ if F.__dict__[name].__module__.startswith("tinygrad_nlp.nn")]

LOSSES = {
    name: {
        ShapeError: [((X, OTHER), {})],
        ValueError: [((X, X), {"reduction": "average"})],
        DtypeError: [(("a", X), {}), ((X, object()), {})],
    }
    for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
}
CLASSES = {
    ShapeError: [((X, [0]), {}), ((X, [0, 1]), {"weight": [1.0]}), ((1.0, 0), {})],
    IndexError: [((X, [0, 3]), {})],
    DtypeError: [((X, [0.0, 1.0]), {})],
    ValueError: [((X, [0, 1]), {"reduction": "average"})],
}
MISTAKES = {
    "linear": {ShapeError: [((X, OTHER), {}), ((X, X, X), {})], DtypeError: [((WHOLE, WHOLE), {}), ((X, None), {})]},
    "embedding": {
        IndexError: [(([2], X), {}), (([0], X, 2), {})],
        ShapeError: [(([0], X[0]), {}), (([0], 1.0), {})],
        DtypeError: [(([0.5], X), {}), (([0], WHOLE), {})],
    },
    "one_hot": {IndexError: [(([3], 3), {}), (([-1],), {})], DtypeError: [(([0.5],), {}), (("a",), {})]},
    "layer_norm": {
        ShapeError: [((X, 4), {}), ((X, (2,)), {}), ((X, 3, [1.0]), {}), ((X, 3, None, [1.0]), {})],
        DtypeError: [((WHOLE, 3), {}), (("a", 3), {})],
    },
    "dropout": {ValueError: [((X, 2.0), {})], DtypeError: [(("a",), {}), ((X, "a"), {})]},
    "softmax": {AxisError: [((X, 2), {})], DtypeError: [((WHOLE,), {}), ((X, "a"), {})]},
    "log_softmax": {AxisError: [((X, 2), {})], DtypeError: [((WHOLE,), {}), ((X, "a"), {})]},
    "gelu": {ValueError: [((X, "exact"), {})], DtypeError: [(("a",), {})]},
    "softplus": {ValueError: [((X, 0.0), {})], DtypeError: [(("a",), {}), (("a", 2.0), {})]},
    "normalize": {AxisError: [((X,), {"dim": 2})], DtypeError: [(("a",), {})]},
    "scaled_dot_product_attention": {
        ShapeError: [
            ((X, X, OTHER), {}), ((X[0], X, X), {}),
            ((A, A, A, OTHER > 0), {}), ((A[[0, 0]], A[[0] * 3], A), {}),
            ((A[[0] * 3], A[[0, 0]], A[[0, 0]]), {"enable_gqa": True}), ((X, X, X), {"enable_gqa": True}),
        ],
        DtypeError: [((WHOLE, WHOLE, WHOLE), {}), ((A, A, A, np.ones((2, 2))), {}), ((A, A, A, WHOLE), {})],
        ValueError: [((A, A, A), {"dropout_p": 1.0})],
    },
    "cross_entropy": CLASSES
    | {
        DtypeError: [*CLASSES[DtypeError], ((WHOLE, [0, 1]), {})],
        ValueError: [*CLASSES[ValueError], ((X, [0, 1]), {"label_smoothing": 2.0})],
    },
    "nll_loss": CLASSES,
    **LOSSES,
}  # fmt: skip


CALLS = {
    name: {error: [partial(getattr(F, name), *args, **params) for args, params in calls] for error, calls in m.items()}
    for name, m in MISTAKES.items()
}


@pytest.mark.parametrize("name", OWN)
def test_a_docstring_tells_all(name):
    documentation.tells_all(name, getattr(F, name), CALLS[name])


@documentation.each(CALLS)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    assert documentation.message_of(error, call).startswith(name)
