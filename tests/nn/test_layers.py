"""Layers: gradients by finite differences to the second order, dropout, and the mistakes that get an answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import Tensor, nn, no_grad, reshape
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.random import Generator

size = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def test_embedding_from_a_table():
    table = np.random.default_rng(0).normal(size=(4, 3))
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert list(layer.state_dict()) == ["weight"]
    np.testing.assert_array_equal(layer([[1, 3]]).data, table[[[1, 3]]])
    assert nn.Embedding.from_pretrained(Tensor(table, requires_grad=True), freeze=False).weight.requires_grad
    with pytest.raises(IndexError, match="padding_idx is 4, out of range for 4 rows"):
        nn.Embedding(4, 3, padding_idx=4)
    with pytest.raises(IndexError, match="contains 4, out of range for size 4"):
        layer([4])


def test_layer_norm_takes_one_number_and_refuses_other_shapes():
    layer = nn.LayerNorm(3)
    assert nn.LayerNorm(np.int64(3)).weight.shape == layer.weight.shape == (3,)
    assert layer.normalized_shape == (3,)
    with pytest.raises(ValueError, match=r"input \(2, 4\) does not end in normalized_shape \(3,\)"):
        layer(np.ones((2, 4), "f"))
    with pytest.raises(ValueError, match=r"weight \(4,\) must have the shape normalized_shape \(3,\)"):
        F.layer_norm(np.ones((2, 3), "f"), (3,), np.ones(4, "f"))


def test_activations_name_their_options():
    with pytest.raises(ValueError, match='gelu: approximate is "none" or "tanh", not \'exact\''):
        nn.GELU("exact")
    assert [repr(m) for m in (nn.ReLU(), nn.Softmax(1), nn.LogSoftmax(), nn.Softplus(2.0))] == [
        "ReLU()", "Softmax(dim=1)", "LogSoftmax(dim=-1)", "Softplus(beta=2.0)"
    ]  # fmt: skip


def test_normalize_of_zeros_has_no_nan():
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    y = F.normalize(x)
    y.backward(np.random.default_rng(0).normal(size=(2, 3)))
    np.testing.assert_array_equal(y.data, 0)
    assert np.all(np.isfinite(x.grad.data))


def test_one_hot_refuses_a_class_that_is_not_there():
    with pytest.raises(IndexError, match="contains 3, out of range for size 3"):
        F.one_hot([0, 3], 3)


ACTIVATIONS = [
    *(nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Softplus(2.5)),
    *(nn.Softmax(-1), nn.Softmax(0), nn.LogSoftmax(1)),
]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
@given(st.tuples(size, size, size), seeds)
def test_activations(layer, shape, seed):
    rng = np.random.default_rng(seed)
    check_grads(layer, [rng.normal(size=shape) * 2], rng=rng, vacuous=True)


@given(st.tuples(size, size, size), st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.integers(-3, 2), seeds)
def test_normalize(shape, p, dim, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    check_grads(lambda a: F.normalize(a, p, dim), [x + np.sign(x)], rng=rng, vacuous=True)


@given(st.tuples(size, size), size, seeds)
def test_parametrised_layers(shape, m, seed):
    """Finite differences of value and gradient through every parametrised layer, by input and by parameters."""
    rng = np.random.default_rng(seed)
    n = shape[-1]
    indices, x = rng.integers(1, 5, shape), rng.normal(size=shape) * 2  # row 0 is padding: no gradient on purpose
    for layer, inputs in [(nn.Linear(n, m), [x]), (nn.LayerNorm(n, eps=0.1), [x]), (nn.Embedding(5, n, 0), [])]:
        names = list(layer.state_dict())

        def f(*leaves, layer=layer, names=names, inputs=inputs):
            for name, leaf in zip(names, leaves[len(inputs) :], strict=True):
                setattr(layer, name, leaf)
            return layer(leaves[0] if inputs else indices)

        check_grads(f, [*inputs, *(rng.normal(size=p.shape) for p in layer.parameters())], rng=rng, vacuous=True)


@given(st.floats(0.05, 0.95), seeds)
def test_dropout_in_training(p, seed):
    rng, generator = np.random.default_rng(seed), Generator(seed)
    layer = nn.Dropout(p, generator)
    x = rng.normal(size=(40, 50)) + 10
    leaf = Tensor(x, requires_grad=True)
    y = layer(leaf)
    kept = y.data != 0
    np.testing.assert_allclose(y.data[kept], x[kept] / (1 - p), rtol=1e-14)
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / x.size)  # five standard deviations
    g = rng.normal(size=x.shape)
    y.backward(g)
    np.testing.assert_allclose(leaf.grad.data, np.where(kept, g / (1 - p), 0), rtol=1e-14)
    assert np.any((layer(x).data != 0) != kept)  # another mask
    generator.state = (seed, 0)
    np.testing.assert_array_equal(layer(x).data, y.data)  # the same stream, the same mask

    def masked(x):
        generator.state = (seed, 0)
        return layer(x)

    check_grads(masked, [x[:2, :3]], rng=rng, vacuous=True)


def test_dropout_in_evaluation_and_at_its_limits():
    x = np.random.default_rng(0).normal(size=(3, 4))
    layer = nn.Dropout(0.5)
    np.testing.assert_array_equal(layer.eval()(x).data, x)
    np.testing.assert_array_equal(nn.Dropout(0.0)(x).data, x)
    np.testing.assert_array_equal(nn.Dropout(1.0)(x).data, 0)
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match=r"Dropout: p must be in \[0, 1\]"):
            nn.Dropout(p)


def test_float32_stays_float32_and_nothing_is_recorded_when_asked():
    net = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.GELU(), nn.Dropout(), nn.Softmax())
    y = net([[1, 2], [3, 4]])
    assert y.dtype == np.float32
    assert y.requires_grad
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)(reshape(y, (4, 3)), [0, 1, 2, 0])
    assert loss.dtype == np.float32
    with no_grad():
        assert not net([[1, 2]]).requires_grad
