"""Plant a bug in every rule of every function and see the finite differences find it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from differences import check
from drawn import generators
from functions import ALL
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor
from tinygrad_nlp.autograd.primitive import Primitive
from tinygrad_nlp.autograd.sweep import Piece

QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": [Phase.generate],
    "max_examples": 1000,
}  # it ends at the first catch
FLAT = {"abs", "copysign", "relu", "maximum", "minimum", "clip", "max", "min", "remainder"}  # no curvature to forget


def primitive_of(function) -> Primitive | None:
    """The function itself, or the one that it hands its checked arguments to: take -> _take."""
    recorded = getattr(sys.modules[function.ours.__module__], "_" + function.name, None)
    return getattr(recorded, "primitive", None) or getattr(function.ours, "primitive", None)


def off_by_a_percent(dx):
    return 1.01 * dx


def at_the_wrong_place(dx):
    """Blind to an all-ones cotangent: the sum of the gradient stays right."""
    return tn.flip(dx) if type(dx) is Tensor else np.flip(dx)


def mutant(rule, spoil):
    def wrong(g, *asked):
        dx = rule(g, *asked)
        return Piece(dx.index, spoil(dx.value), dx.put) if type(dx) is Piece else spoil(dx)

    return wrong


def forgetful(rule):
    """Takes what it kept for constants: the first gradient is right, the second is not."""

    def wrong(g, *asked):
        return rule(g, *(x.detach() if type(x) is Tensor else x for x in asked))

    return wrong


def caught(function, message):
    @given(data=st.data(), rng=generators())
    @settings(**QUIET)
    def differences(data, rng):
        case = data.draw(function.cases)
        check(function.of(case), case.floats, order=2, rng=rng)

    with pytest.raises(AssertionError, match=message):
        differences()


RULES = [(f, i) for f in ALL if (p := primitive_of(f)) for i in range(len(p.rules))]


def name(value):
    return f"{value.name}" if hasattr(value, "cases") else str(value)


@pytest.mark.parametrize("spoil", [off_by_a_percent, at_the_wrong_place], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("function", "i"), RULES, ids=name)
def test_a_wrong_gradient_is_caught(function, i, spoil):
    rules = primitive_of(function).rules
    original = rules[i]
    rules[i] = mutant(original, spoil)
    try:
        caught(function, "gradient of order [12]")  # order 2 where rules use the function themselves
    finally:
        rules[i] = original


CURVED = [(f, i) for f, i in RULES if primitive_of(f).lifts[i] and f.name not in FLAT]


@pytest.mark.parametrize(("function", "i"), CURVED, ids=name)
def test_a_forgotten_dependence_is_caught_at_order_two(function, i):
    rules = primitive_of(function).rules
    original = rules[i]
    rules[i] = forgetful(original)
    try:
        caught(function, "gradient of order 2")
    finally:
        rules[i] = original


def test_what_is_mutated():
    """Most functions are primitives; these are made of them, or of the kernels, whose rules are mutated elsewhere."""
    made = """asarray attention broadcast_arrays concat conj cross_entropy diagonal diff dropout einsum embedding
        layer_norm linear log_sigmoid log_softmax matrix_norm meshgrid outer real repeat softmax sort stack std
        tensordot tile trace var vector_norm"""
    assert {f.name for f in ALL if primitive_of(f) is None} == set(made.split())
