"""Layers and functions equal PyTorch's with the same weights: values and all gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import assert_same_function, assert_same_layer, torch

from tinygrad_nlp import nn
from tinygrad_nlp.nn import functional as F

tF = torch.nn.functional  # noqa: N816
size = st.integers(1, 5)
leads = st.lists(st.integers(0, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)


@given(leads, size, size, st.booleans(), seeds)
def test_linear(lead, n, m, bias, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*lead, n))
    assert_same_layer(nn.Linear(n, m, bias), torch.nn.Linear(n, m, bias), [x], rng)


@given(leads, size, size, st.booleans(), seeds)
def test_embedding(lead, vocabulary, width, padded, seed):
    rng = np.random.default_rng(seed)
    row = int(rng.integers(-vocabulary, vocabulary)) if padded else None
    ours, theirs = (lib.Embedding(vocabulary, width, row) for lib in (nn, torch.nn))
    if padded:
        assert ours.padding_idx == theirs.padding_idx
        np.testing.assert_array_equal(ours.weight.data[row], 0)
    x = rng.integers(0, vocabulary, lead)
    assert_same_layer(ours, theirs, [x], rng)


@given(leads, st.lists(size, min_size=1, max_size=3), st.sampled_from(["affine", "no bias", "plain"]), seeds)
def test_layer_norm(lead, shape, kind, seed):
    rng = np.random.default_rng(seed)
    options = {"eps": float(10 ** -rng.uniform(1, 8)), "elementwise_affine": kind != "plain", "bias": kind == "affine"}
    ours, theirs = nn.LayerNorm(shape, **options), torch.nn.LayerNorm(shape, **options)
    with torch.no_grad():
        for p in theirs.parameters():
            p.uniform_(-1, 1)
    assert_same_layer(ours, theirs, [rng.normal(size=(*lead, *shape)) * 3 + 1], rng, {"rtol": 1e-9, "atol": 1e-9})


ACTIVATIONS = [
    (nn.ReLU(), torch.nn.ReLU()),
    (nn.GELU(), torch.nn.GELU()),
    (nn.GELU("tanh"), torch.nn.GELU("tanh")),
    (nn.Sigmoid(), torch.nn.Sigmoid()),
    (nn.Tanh(), torch.nn.Tanh()),
    (nn.Softplus(), torch.nn.Softplus()),
    (nn.Softplus(2.5), torch.nn.Softplus(2.5)),
    (nn.Softmax(-1), torch.nn.Softmax(-1)),
    (nn.Softmax(0), torch.nn.Softmax(0)),
    (nn.LogSoftmax(1), torch.nn.LogSoftmax(1)),
    (F.logsigmoid, tF.logsigmoid),
]


@pytest.mark.parametrize(("ours", "theirs"), ACTIVATIONS, ids=lambda f: repr(f)[:24])
@given(st.tuples(size, size, size), seeds)
def test_activations(ours, theirs, shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 2
    assert_same_function(ours, theirs, [x], rng)


@given(st.tuples(size, size, size), st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.integers(-3, 2), seeds)
def test_normalize(shape, p, dim, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    assert_same_function(lambda a: F.normalize(a, p, dim), lambda a: tF.normalize(a, p, dim), [x], rng)


@given(leads, st.integers(1, 6), seeds)
def test_one_hot(lead, classes, seed):
    x = np.random.default_rng(seed).integers(0, classes, (*lead, 1))
    np.testing.assert_array_equal(F.one_hot(x, classes).data, tF.one_hot(torch.tensor(x), classes).numpy())
    if x.size:
        np.testing.assert_array_equal(F.one_hot(x).data, tF.one_hot(torch.tensor(x)).numpy())
    assert F.one_hot(x, classes).dtype == np.int64
