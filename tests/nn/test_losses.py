"""Losses: gradients by finite differences to the second order, values by hand, and mistakes that get an answer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import DtypeError, ShapeError, Tensor, nn
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.nn import functional as F

size = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


reductions = st.sampled_from(["mean", "sum", "none"])
positions = st.lists(size, max_size=2).map(tuple)


@given(size, size, positions, reductions, st.booleans(), st.sampled_from([0.0, 0.1, 1.0]), seeds)
def test_cross_entropy(N, C, rest, reduction, weighted, smoothing, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, C, (N, *rest))
    y[rng.random(y.shape) < 0.3] = -100
    y.flat[0] = 0
    w = rng.uniform(0.5, 2, C) if weighted else None
    x = rng.normal(size=(N, C, *rest)) * 3
    loss = nn.CrossEntropyLoss(w, reduction=reduction, label_smoothing=smoothing)
    check_grads(lambda x: loss(x, y), [x], rng=rng, vacuous=True)
    loss = nn.NLLLoss(w, reduction=reduction)
    check_grads(lambda x: loss(F.log_softmax(x, 1), y), [x], rng=rng, vacuous=True)


@given(positions, reductions, st.booleans(), seeds)
def test_of_two_arrays(shape, reduction, weighted, seed):
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(2, *shape)) * 3
    w, p = rng.uniform(0.5, 2, (2, *shape)) if weighted else (None, None)
    for loss in (nn.MSELoss(reduction), nn.L1Loss(reduction), nn.BCEWithLogitsLoss(w, reduction, p)):
        check_grads(loss, [z, y], rng=rng, vacuous=True)


def test_binary_cross_entropy_keeps_its_digits():
    """softplus(z) - y z cancels where the loss is small; this form is exact: ln(1 + e^-100) = e^-100."""
    z = Tensor(np.array([100.0, -100.0, 1e4, 0.0]), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(z, [1.0, 0.0, 0.0, 1.0], reduction="none")
    np.testing.assert_allclose(loss.data, [np.exp(-100.0), np.exp(-100.0), 1e4, np.log(2)], rtol=1e-14)
    g = np.array([1.5, -0.5, 2.0, 3.0])
    loss.backward(g)
    np.testing.assert_allclose(z.grad.data, g * [-np.exp(-100.0), np.exp(-100.0), 1, -0.5], rtol=1e-12, atol=1e-16)


def test_l1_at_its_kink():
    x = Tensor([1.0, 2.0], requires_grad=True)
    nn.L1Loss("sum")(x, [1.0, 5.0]).backward(2.5)
    np.testing.assert_array_equal(x.grad.data, [0, -2.5])


def test_losses_as_numbers():
    """By hand: two classes with logits 0 and ln 3 have probabilities 1/4 and 3/4."""
    x = np.array([[0, math.log(3)], [0, math.log(3)]])
    np.testing.assert_allclose(F.cross_entropy(x, [0, 1], reduction="none").data, [math.log(4), math.log(4 / 3)])
    mean = F.cross_entropy(x, [0, 1], weight=[1.0, 3.0]).item()
    assert mean == pytest.approx((math.log(4) + 3 * math.log(4 / 3)) / 4)
    assert F.cross_entropy(x, [0, -100]).item() == pytest.approx(math.log(4))
    assert F.cross_entropy(x, [1, 1], label_smoothing=1.0).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    assert repr(nn.CrossEntropyLoss(reduction="sum")) == "CrossEntropyLoss(reduction='sum')"


def test_mistakes_get_an_answer():
    x = np.zeros((2, 3, 5), "f")
    with pytest.raises(
        ShapeError, match=r"cross_entropy: logits \(2, 3, 5\) have their classes on axis 1.*\(2, 5\), not"
    ):
        F.cross_entropy(x, np.zeros((2, 3), int))
    with pytest.raises(IndexError, match="contains 3, out of range for size 3"):
        F.cross_entropy(x, np.full((2, 5), 3))
    with pytest.raises(IndexError, match="nll_loss: target contains -1, out of range for size 3"):
        F.nll_loss(x, np.full((2, 5), -1))
    with pytest.raises(DtypeError, match="float32, expected int32 or int64"):
        F.cross_entropy(x, np.zeros((2, 5), "f"))
    with pytest.raises(ShapeError, match=r"weight has shape \(2,\), expected \(3,\)"):
        F.cross_entropy(x, np.zeros((2, 5), int), weight=[1.0, 2.0])
    with pytest.raises(ShapeError, match=r"mse_loss: input \(2, 3, 5\) and target \(3, 5\) must have one shape"):
        F.mse_loss(x, x[0])
    with pytest.raises(ValueError, match='CrossEntropyLoss: reduction is "mean", "sum" or "none", not \'avg\''):
        nn.CrossEntropyLoss(reduction="avg")
    with pytest.raises(ValueError, match="label_smoothing"):
        F.cross_entropy(x, np.zeros((2, 5), int), label_smoothing=1.5)
