"""assert_gradients catches what is wrong, passes what is right, and refuses to pass what shows nothing."""

import inspect

import numpy as np
import pytest
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor
from tinygrad_nlp.autograd.check import (
    GradientError,
    MutationError,
    NonFiniteError,
    NotDifferentiableError,
    VacuousError,
)
from tinygrad_nlp.testing import arrays, assert_gradients, broadcastable_shapes, shapes


def multiplied(rule_x, rule_w=lambda g, x: g * x):
    @tn.primitive(broadcasts=True)
    def product(x, w):
        return x * w

    product.vjp("x")(rule_x)
    product.vjp("w")(rule_w)
    return product


@tn.primitive()
def frozen_square(x):
    return x * x


frozen_square.vjp("x")(lambda g, x: (2 * g * x).detach() if isinstance(g, Tensor) else 2 * g * x)
pairs = broadcastable_shapes(2).flatmap(lambda two: st.tuples(*(arrays(shape, layout=None) for shape in two)))


def test_right_code_passes_with_one_strategy_for_each_argument():
    assert_gradients(tn.tanh, arrays(shapes()), order=3, max_examples=20)
    assert_gradients(lambda x, i: x[i], arrays((4, 2)), st.lists(st.integers(0, 3), min_size=1).map(np.array))


def test_right_code_passes_with_one_strategy_for_several_arguments():
    assert_gradients(multiplied(lambda g, w: g * w), pairs)


def test_a_kernel_that_is_right_in_every_layout_and_size():
    assert_gradients(tn.softmax, arrays(shapes(min_dims=1, min_side=1), values=("ordinary", "tiny", "ties")))


@pytest.mark.parametrize(
    ("f", "strategies", "diagnosis"),
    [
        (multiplied(lambda g, w: -g * w), [pairs], "the sign is flipped"),
        (multiplied(lambda g, w: g * w, lambda g, x: g), [pairs], ""),
        (frozen_square, [arrays(shapes())], "the first gradient is taken as a constant"),
    ],
    ids=["sign", "the second input", "second order"],
)
def test_planted_bugs_are_caught(f, strategies, diagnosis):
    with pytest.raises(GradientError) as caught:
        assert_gradients(f, *strategies, order=2)
    assert caught.value.diagnosis.startswith(diagnosis)
    assert "a small case: " in str(caught.value)


def test_a_bug_in_one_case_of_many():
    """Wrong only where a row has at least 4 entries."""

    @tn.primitive()
    def f(x):
        return x * x

    f.vjp("x")(lambda g, x: 2 * g * x * (1 if x.shape[-1] < 4 else 2))
    assert_gradients(f, arrays(shapes(min_dims=1, max_side=3)))
    with pytest.raises(GradientError, match="constant factor 2"):
        assert_gradients(f, arrays(shapes(min_dims=1, max_side=4)))


def test_vacuous_draws_are_checked_for_being_so():
    """softmax over one place has no gradient; over more it has. A rule that gives one there is wrong."""
    assert_gradients(lambda x: tn.softmax(x, axis=-1), arrays(shapes(min_dims=1, min_side=1, max_side=2)))

    @tn.primitive()
    def wrong(x):
        return 0.0 * x + 1.0 if x.shape[-1] == 1 else x

    wrong.vjp("x")(lambda g: g)
    with pytest.raises(GradientError):
        assert_gradients(wrong, arrays(shapes(min_dims=1, min_side=1, max_side=2)))


@pytest.mark.parametrize(
    ("f", "strategy", "words"),
    [
        (
            lambda x: tn.sum(tn.softmax(x)),
            arrays((3,)),
            r"none of \d+ draws has a gradient that is not zero \(0 were empty",
        ),
        (
            tn.tanh,
            arrays((0, 3)),
            r"tanh: none of (\d+) draws .* \(\1 were empty\): draw larger shapes or other values",
        ),
        (tn.floor, arrays((3,), values="ordinary"), "floor: none of"),
    ],
    ids=["constant", "empty", "flat"],
)
def test_nothing_but_zero_gradients_is_refused(f, strategy, words):
    with pytest.raises(VacuousError, match=words):
        assert_gradients(f, strategy, max_examples=10)


def test_zero_gradients_that_are_declared_pass():
    assert_gradients(lambda x: tn.sum(tn.softmax(x)), arrays((3,)), vacuous=True, max_examples=5)


def test_options_reach_the_check():
    with pytest.raises(NotDifferentiableError):
        assert_gradients(tn.relu, arrays((4,), values="kinks"))
    assert_gradients(tn.relu, arrays((4,), values="kinks"), kinks="zero", max_examples=10)
    assert_gradients(lambda x, w: x * tn.abs(w), arrays((4,)), arrays((4,), values="kinks"), wrt=[0], max_examples=10)
    with pytest.raises(NonFiniteError):
        assert_gradients(tn.log, arrays((4,)))
    assert_gradients(tn.log, arrays((4,), values="positive"), dtype=np.float32, order=1)


def test_what_is_drawn_is_not_changed_by_the_check_nor_may_the_function():
    def doubles(x):
        x.data[...] *= 2
        return x * 1.0

    with pytest.raises(MutationError):
        assert_gradients(doubles, arrays((3,)))


def test_as_many_draws_as_the_profile_says_or_as_asked_for():
    shapes_seen = []

    def f(x):
        shapes_seen.append(x.shape)
        return x * x

    assert_gradients(f, arrays((2,)), max_examples=2, order=1)
    few = len(shapes_seen)
    shapes_seen.clear()
    assert_gradients(f, arrays((2,)), order=1)
    assert len(shapes_seen) > 5 * few


def test_its_signature_is_the_documented_one():
    parameters = inspect.signature(assert_gradients).parameters
    assert list(parameters) == ["f", "strategies", "order", "max_examples", "options"]
    assert parameters["order"].default == 2
