"""Losses equal PyTorch's in every option: values and gradients."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import assert_same_function, torch

from tinygrad_nlp import Tensor, nn
from tinygrad_nlp.nn import functional as F

tF = torch.nn.functional  # noqa: N816
size = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


reductions = st.sampled_from(["mean", "sum", "none"])


positions = st.lists(size, max_size=2).map(tuple)


@given(size, size, positions, reductions, st.booleans(), st.sampled_from([0.0, 0.1, 1.0]), seeds)
def test_cross_entropy(N, C, rest, reduction, weighted, smoothing, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, C, *rest)) * 3
    y = rng.integers(0, C, (N, *rest))
    y[rng.random(y.shape) < 0.3] = -7
    y.flat[0] = 0
    w = rng.uniform(0.5, 2, C) if weighted else None
    options = {"ignore_index": -7, "reduction": reduction, "label_smoothing": smoothing}
    ours = nn.CrossEntropyLoss(weight=w, **options)
    theirs = torch.nn.CrossEntropyLoss(weight=None if w is None else torch.tensor(w), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same_function(lambda x: ours(x, y), lambda x: theirs(x, torch.tensor(y)), [x], rng)


@given(size, size, positions, reductions, st.booleans(), seeds)
def test_nll(N, C, rest, reduction, weighted, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, C, *rest))
    y = rng.integers(0, C, (N, *rest))
    y[rng.random(y.shape) < 0.3] = -100
    y.flat[0] = 0
    w = rng.uniform(0.5, 2, C) if weighted else None
    ours = nn.NLLLoss(w, reduction=reduction)
    theirs = torch.nn.NLLLoss(None if w is None else torch.tensor(w), reduction=reduction)
    assert_same_function(lambda x: ours(x, y), lambda x: theirs(x, torch.tensor(y)), [x], rng)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_one_row_without_a_batch(loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=5), np.asarray(2)
    assert_same_function(lambda x: getattr(F, loss)(x, y), lambda x: getattr(tF, loss)(x, torch.tensor(2)), [x], rng)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("weight", [None, np.ones(4)])
@pytest.mark.filterwarnings("error")
def test_nothing_to_average_is_nan_without_a_gradient(loss, weight):
    x = Tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
    y = np.full(3, -100)
    value = getattr(F, loss)(x, y, weight)
    theirs = getattr(tF, loss)(torch.tensor(x.data), torch.tensor(y), None if weight is None else torch.tensor(weight))
    assert math.isnan(theirs.item())
    assert math.isnan(value.item())
    assert getattr(F, loss)(x, y, weight, reduction="sum").item() == 0
    getattr(F, loss)(x, y, weight, reduction="none").backward(np.array([1.7, -0.3, 0.6]))
    np.testing.assert_array_equal(x.grad.data, 0)


@given(positions, reductions, st.booleans(), st.booleans(), seeds)
def test_binary_cross_entropy_with_logits(shape, reduction, weighted, positive, seed):
    rng = np.random.default_rng(seed)
    shape = (*shape, 3)
    z, y = rng.normal(size=shape) * 3, rng.uniform(size=shape)
    w = rng.uniform(0.5, 2, shape) if weighted else None
    p = rng.uniform(0.5, 3, 3) if positive else None
    ours = nn.BCEWithLogitsLoss(w, reduction, p)
    theirs = torch.nn.BCEWithLogitsLoss(
        None if w is None else torch.tensor(w), reduction=reduction, pos_weight=None if p is None else torch.tensor(p)
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same_function(ours, theirs, [z, y], rng)


@pytest.mark.parametrize(("ours", "theirs"), [("MSELoss", "MSELoss"), ("L1Loss", "L1Loss")])
@given(positions, reductions, seeds)
def test_distances(ours, theirs, shape, reduction, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, *shape))
    ours, theirs = getattr(nn, ours)(reduction), getattr(torch.nn, theirs)(reduction=reduction)
    assert_same_function(ours, theirs, [x, y], rng)
