"""`nn.init` and `nn.utils`: every function says its equation, shapes, errors and an example, and all of it is true."""

from __future__ import annotations

import inspect
import math
from functools import partial

import documentation
import numpy as np
import pytest

from tinygrad_nlp import AnomalyError, DtypeError, ShapeError, Tensor, nn
from tinygrad_nlp.nn import init, utils

PUBLIC = {
    **{name: f for name, f in vars(init).items() if inspect.isfunction(f) and f.__module__ == init.__name__},
    **{name: getattr(utils, name) for name in utils.__all__},
}
PUBLIC = {name: f for name, f in PUBLIC.items() if not name.startswith("_") and callable(f)}
W, ROW, WHOLE, EMPTY = (Tensor(x) for x in (np.ones((2, 3)), np.ones(3), np.ones((2, 3), int), np.ones((0, 3))))
FANS = {
    ShapeError: [(ROW,), (EMPTY,)],
    DtypeError: [(W.data,), (WHOLE,), ([1.0],), (W, "a")],
}


def infinite():
    p = nn.Parameter([1.0])
    p.grad = Tensor([math.inf])
    return p


MISTAKES = {
    "uniform_": {ValueError: [(W, 1.0, 0.0)], DtypeError: [(W.data,), (WHOLE,), ([1.0],), (W, "a"), (W, 0.0, "a")]},
    "normal_": {ValueError: [(W, 0.0, -1.0)], DtypeError: [(W.data,), (WHOLE,), ([1.0],), (W, "a"), (W, 0.0, "a")]},
    "constant_": {DtypeError: [(W.data, 1.0), ([1.0], 1.0), (W, "a"), (W, [1.0, 2.0])]},
    "zeros_": {DtypeError: [(W.data,), ([1.0],)]},
    "ones_": {DtypeError: [(W.data,), ([1.0],)]},
    "eye_": {ShapeError: [(ROW,)], DtypeError: [(W.data,), (WHOLE,), ([1.0],)]},
    "xavier_uniform_": {**FANS, ValueError: [(W, -1.0)]},
    "xavier_normal_": {**FANS, ValueError: [(W, -1.0)]},
    "kaiming_uniform_": {**FANS, ValueError: [(W, 0.0, "fan_up"), (W, 0.0, "fan_in", "swish")]},
    "kaiming_normal_": {**FANS, ValueError: [(W, 0.0, "fan_up"), (W, 0.0, "fan_in", "swish")]},
    "orthogonal_": {ShapeError: [(ROW,)], DtypeError: [(W.data,), (WHOLE,), ([1.0],), (W, "a")]},
    "calculate_gain": {ValueError: [("swish",)], DtypeError: [("leaky_relu", "a")]},
    "clip_grad_norm_": {
        ValueError: [(ROW, -1.0), (ROW, math.nan), (ROW, 1.0, 0), (ROW, 1.0, -1.0)],
        DtypeError: [(3, 1.0), ([3], 1.0), ([ROW.data], 1.0), (ROW, "a"), (ROW, 1.0, "a")],
        AnomalyError: [(infinite(), 1.0, 2.0, True)],
    },
    "clip_grad_value_": {
        ValueError: [(ROW, -1.0), (ROW, math.nan)],
        DtypeError: [(3, 1.0), ([3], 1.0), ([ROW.data], 1.0), (ROW, "a")],
    },
}
CALLS = {
    name: {error: [partial(PUBLIC[name], *args) for args in calls] for error, calls in mistakes.items()}
    for name, mistakes in MISTAKES.items()
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    documentation.tells_all(name, PUBLIC[name], CALLS[name], shapes=not name.startswith("clip"))


@documentation.each(CALLS)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    assert documentation.message_of(error, call).startswith(name)
