"""`nn.functional`: every function says its shapes, its errors and an example, and all of it is true."""

from __future__ import annotations

import doctest
import inspect
import re

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
    "softplus": {DtypeError: [(("a",), {}), (("a", 2.0), {})]},
    "normalize": {AxisError: [((X,), {"dim": 2})], DtypeError: [(("a",), {})]},
    "scaled_dot_product_attention": {
        ShapeError: [
            ((X, X, OTHER), {}), ((X[0], X, X), {}),
            ((A, A, A, OTHER > 0), {}), ((A[[0, 0]], A[[0] * 3], A), {}),
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


def prose_of(name):
    return " ".join(inspect.getdoc(getattr(F, name)).partition(">>>")[0].split())


@pytest.mark.parametrize("name", OWN)
def test_shapes_errors_and_example(name):
    assert "->" in prose_of(name)
    told = re.search(r"Raises (.*?)\.(\s|$)", prose_of(name))
    assert set(re.findall(r"\w+Error", told[1])) == {error.__name__ for error in MISTAKES[name]}
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(getattr(F, name)), {"F": F}, name, None, None)
    assert test.examples
    messages: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=messages.append)
    assert not messages, "".join(messages)


@pytest.mark.parametrize(
    ("name", "error", "args", "params"),
    [
        pytest.param(name, error, *call, id=f"{name}-{error.__name__}-{i}")
        for name, errors in MISTAKES.items()
        for error, calls in errors.items()
        for i, call in enumerate(calls)
    ],
)
def test_a_mistake_raises_what_the_docstring_says(name, error, args, params):
    with pytest.raises(error) as caught:
        getattr(F, name)(*args, **params)
    assert caught.type is error
    assert str(caught.value).startswith(name)
