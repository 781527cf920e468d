"""The Taylor test passes whole models whose gradients are right, and fails on those that are wrong anywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn
from tinygrad_nlp.autograd.check import (
    CheckError,
    GradientError,
    NondeterministicError,
    NonFiniteError,
    NotDifferentiableError,
    VacuousError,
    taylor_test,
)
from tinygrad_nlp.models.gpt import GPT, GPTConfig
from tinygrad_nlp.nn import functional as F

seeds = st.integers(0, 2**32 - 1)


def multilayer(activation, seed, rows=16, width=20):
    """The loss of a classifier of one hidden layer, and its parameters."""
    rng = np.random.default_rng(seed)
    first, second = nn.Linear(5, width), nn.Linear(width, 3)
    for p in (*first.parameters(), *second.parameters()):
        p.data = rng.normal(size=p.shape)
    x, labels = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)
    return lambda: F.cross_entropy(second(activation(first(x))), labels), [*first.parameters(), *second.parameters()]


def through(rule, seed=0):
    """A classifier of which one part, the identity, has a rule of its own."""

    @tn.primitive(broadcasts=True)
    def identity(x):
        return x * 1.0

    identity.vjp("x")(rule)
    return multilayer(lambda x: tn.tanh(identity(x)), seed)


@settings(max_examples=50)
@given(st.sampled_from([tn.tanh, F.gelu, tn.relu]), seeds)
def test_right_gradients_pass(activation, seed):
    report = taylor_test(*multilayer(activation, seed), seed=seed)
    if activation is not tn.relu:
        np.testing.assert_allclose(report.slopes, [1, 2, 3], atol=0.5)


@settings(max_examples=20)
@given(st.sampled_from([tn.tanh, F.gelu]), seeds)
def test_right_gradients_pass_in_float32(activation, seed):
    taylor_test(*multilayer(activation, seed), dtype=np.float32, seed=seed)


def test_a_model_of_relus_in_float32_is_never_accused():
    """Its kinks lie closer together than float32 can step; then there is no verdict."""
    verdicts = set()
    for seed in range(12):
        try:
            taylor_test(*multilayer(tn.relu, seed, 64, 100), dtype=np.float32, seed=seed)
            verdicts.add("right")
        except GradientError:
            raise
        except CheckError as error:
            verdicts.add(type(error).__name__)
    assert "right" in verdicts


def test_gpt():
    rng = np.random.default_rng(0)
    model = GPT(GPTConfig(11, block_size=8, n_layer=2, n_head=2, n_embd=12, dropout=0.0))
    for p in model.parameters():
        p.data[...] += 0.3 * rng.normal(size=p.shape)
    x, y = rng.integers(0, 11, (2, 2, 8))
    before = [p.data for p in model.parameters()]
    np.testing.assert_allclose(
        taylor_test(lambda: model.loss(x, y), list(model.parameters())).slopes, [1, 2, 3], atol=0.1
    )
    assert all(p.data is b for p, b in zip(model.parameters(), before, strict=True))  # put back, in float32


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.5, 1.01, 1 + 1e-4])
@given(seed=seeds)
@settings(max_examples=10)
def test_a_wrong_factor_somewhere_is_caught(factor, seed):
    with pytest.raises(GradientError, match=r"the gradient is wrong: along a random direction the rules give") as error:
        taylor_test(*through(lambda g, x: g * factor, seed), seed=seed)
    assert error.value.order == 1
    if factor <= 0.5:
        assert "h^1.0" in error.value.diagnosis or "h^0.9" in error.value.diagnosis
    assert "after 1" in str(error.value)  # the table of remainders


def test_a_gradient_that_is_right_to_first_order_only():
    def frozen(g, x):
        return g.detach() * 1.0 if isinstance(g, Tensor) else g * 1.0

    loss, parameters = through(frozen)
    taylor_test(loss, parameters, order=1)
    with pytest.raises(GradientError, match="the Hessian-vector product is wrong") as error:
        taylor_test(loss, parameters)
    assert error.value.order == 2


def test_parameters_that_are_frozen_stay_where_they_are():
    loss, parameters = multilayer(tn.tanh, 0)
    parameters[0].requires_grad_(False)
    taylor_test(loss, parameters)
    for p in parameters:
        p.requires_grad_(False)
    with pytest.raises(CheckError, match="none of the parameters requires a gradient"):
        taylor_test(loss, parameters)


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def noisy(w, rng):
    return lambda: tn.sum(w * w) + rng.normal()


@pytest.mark.parametrize(
    ("loss_of", "w", "error", "words"),
    [
        (lambda w: lambda: w * w, leaf(1.0, 2.0), CheckError, r"the loss has shape \(2,\), a scalar is needed"),
        (lambda w: lambda: 3.0, leaf(1.0), CheckError, "the loss is a float, not a Tensor"),
        (lambda w: lambda: tn.sum(w.detach()), leaf(1.0), CheckError, "depends on no parameter"),
        (
            lambda w: noisy(w, np.random.default_rng(0)),
            leaf(1.0),
            NondeterministicError,
            "two calls of the loss differ",
        ),
        (lambda w: lambda: tn.sum(tn.log(w)), leaf(-1.0, 1.0), NonFiniteError, "nan"),
        (lambda w: lambda: tn.sum(tn.exp(400 * w * w)), leaf(1.3), NonFiniteError, "not finite next to it"),
        (lambda w: lambda: tn.sum(tn.softmax(w)), leaf(1.0, 2.0), VacuousError, "the gradient is zero"),
        (lambda w: lambda: tn.sum(tn.abs(w)), leaf(0.0, 0.0), NotDifferentiableError, "it has a kink"),
    ],
    ids=["shape", "no Tensor", "detached", "random", "NaN", "overflow", "vacuous", "kink"],
)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_what_cannot_be_judged_is_refused(loss_of, w, error, words):
    with pytest.raises(CheckError, match=words) as caught:
        taylor_test(loss_of(w), [w])
    assert type(caught.value) is error


def test_an_order_that_is_not_there():
    with pytest.raises(CheckError, match="order=3"):
        taylor_test(*multilayer(tn.tanh, 0), order=3)
