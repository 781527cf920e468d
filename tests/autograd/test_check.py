"""The gradient check passes what is right and must fail on what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.autograd.functional import grad

rng = np.random.default_rng(0)


def cube_with(rule):
    @tn.primitive(broadcasts=True)
    def cube(x):
        return x * x * x

    cube.vjp("x")(rule)
    return cube


WRONG = {
    "a constant factor": lambda g, x: 1.0001 * g * 3 * x * x,
    "a dropped factor": lambda g, x: g * 3 * x,
    "a lost sign": lambda g, x: g * 3 * x * tn.abs(x) if isinstance(x, tn.Tensor) else g * 3 * x * abs(x),
    "the cotangent forgotten": lambda g, x: 3 * x * x,
    "an input's value in place of the cotangent's sum": lambda g, x: g.sum() * 3 * x * x,
    "an additive constant": lambda g, x: g * (3 * x * x + 1e-3),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_caught(name):
    with pytest.raises(AssertionError, match=r"gradient of order 1 by input 0 \(x\) of shape \(3, 4\)"):
        check_grads(cube_with(WRONG[name]), [rng.normal(size=(3, 4))])


def test_a_rule_that_is_right_only_at_first_order_is_caught():
    """The rule freezes x: its value is right, and its own derivative is missing."""

    def frozen(g, x):
        x = x.detach() if isinstance(x, tn.Tensor) else x
        return g * 3 * x * x

    f = cube_with(frozen)
    check_grads(f, [rng.normal(size=3)], order=1)
    with pytest.raises(AssertionError, match="gradient of order 2 by input 0"):
        check_grads(f, [rng.normal(size=3)], order=2)


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(0, 2**32 - 1))
def test_a_right_rule_passes_everywhere(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    check_grads(cube_with(lambda g, x: g * 3 * x * x), [x], order=3)


@pytest.mark.constant_cotangents("shows what they do not see")
def test_the_sum_of_the_output_would_not_have_seen_it():
    """Why cotangents are random: softmax without its second term has the right gradient of the sum, which is 0."""
    x = rng.normal(size=(3, 4))
    p = tn.softmax(x).data
    ones, random = np.ones((3, 4)), rng.normal(size=(3, 4))

    def wrong(g):  # the mean of g in place of its mean under p
        return p * (g - g.mean(axis=1, keepdims=True))

    def right(g):
        leaf = tn.Tensor(x, requires_grad=True)
        return grad(tn.softmax(leaf), leaf, g)[0].data

    np.testing.assert_allclose(wrong(ones), right(ones), atol=1e-15)
    assert np.abs(wrong(random) - right(random)).max() > 0.01
