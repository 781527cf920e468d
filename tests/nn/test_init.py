"""Initialisers: the distribution they promise, the generator they draw from, the tensor they return."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinygrad_nlp import InplaceError, ShapeError, Tensor, manual_seed, nn, random
from tinygrad_nlp.nn import init
from tinygrad_nlp.random import Generator

fans = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
seeds = st.integers(0, 2**32 - 1)
LIKELY = 1e-9  # a p-value below this is no accident in fifty examples


def weight(shape, dtype=np.float64):
    return nn.Parameter(np.full(shape, np.nan, dtype))


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound
    assert stats.kstest(values.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > LIKELY


def assert_normal(values, std, mean=0.0):
    assert stats.kstest(values.ravel(), stats.norm(mean, std).cdf).pvalue > LIKELY


@given(fans, st.floats(0.1, 3), seeds)
def test_scales_by_fans(sizes, gain, seed):
    (m, n, k), generator = sizes, Generator(seed)
    w, fan_in, fan_out = weight((m, n, k, 20)), 20 * n * k, 20 * m * k
    assert init.xavier_uniform_(w, gain, generator) is w
    assert_uniform(w.data, gain * math.sqrt(6 / (fan_in + fan_out)))
    assert_normal(init.xavier_normal_(w, gain, generator).data, gain * math.sqrt(2 / (fan_in + fan_out)))
    assert_uniform(init.kaiming_uniform_(w, generator=generator).data, math.sqrt(6 / fan_in))
    assert_uniform(init.kaiming_uniform_(w, math.sqrt(5), generator=generator).data, 1 / math.sqrt(fan_in))
    assert_normal(init.kaiming_normal_(w, 0, "fan_out", "relu", generator).data, math.sqrt(2 / fan_out))
    assert_normal(init.kaiming_normal_(w, 0, "fan_in", "tanh", generator).data, 5 / 3 / math.sqrt(fan_in))


@given(st.floats(-3, 3), st.floats(0.01, 3), seeds)
def test_plain_distributions_and_constants(a, width, seed):
    w, generator = weight((30, 20)), Generator(seed)
    values = init.uniform_(w, a, a + width, generator).data
    assert a <= values.min() < values.max() <= a + width
    assert_uniform(values - (a + width / 2), width / 2 * (1 + 1e-9))
    assert_normal(init.normal_(w, a, width, generator).data, width, a)
    np.testing.assert_array_equal(init.constant_(w, a).data, a)
    np.testing.assert_array_equal(init.zeros_(w).data, 0)
    np.testing.assert_array_equal(init.ones_(w).data, 1)
    np.testing.assert_array_equal(init.eye_(w).data, np.eye(30, 20))


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.floats(0.5, 2), seeds)
def test_orthogonal(m, n, k, gain, seed):
    w = init.orthogonal_(weight((m, n, k)), gain, Generator(seed)).data.reshape(m, n * k)
    small = w @ w.T if m <= n * k else w.T @ w
    np.testing.assert_allclose(small, gain**2 * np.eye(min(m, n * k)), atol=1e-12)


def test_orthogonal_is_even_over_all_rotations():
    """The first entry of an evenly drawn rotation of the plane is the cosine of an even angle; the sign is free."""
    generator = Generator(1)
    first = [init.orthogonal_(weight((2, 2)), 1.0, generator).data[0, 0] for _ in range(2000)]
    assert stats.kstest(np.arccos(first), stats.uniform(0, math.pi).cdf).pvalue > LIKELY


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    torch_init = pytest.importorskip("torch").nn.init
    for name in ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == pytest.approx(torch_init.calculate_gain(name), rel=1e-15)
    with pytest.raises(ValueError, match="unknown 'swish'; there are leaky_relu, linear"):
        init.calculate_gain("swish")


def test_the_default_generator_and_the_dtype():
    w = weight((3, 4), np.float32)
    manual_seed(3)
    first = init.normal_(w).data.copy()
    assert random.default_generator.counter > 0
    manual_seed(3)
    np.testing.assert_array_equal(init.normal_(w).data, first)
    manual_seed(3)
    np.testing.assert_allclose(init.normal_(weight((3, 4))).data, first, rtol=1e-6)  # the same draw in float64
    assert w.dtype == np.float32
    assert w.requires_grad
    before = random.default_generator.counter
    init.uniform_(w, generator=Generator(1))
    assert random.default_generator.counter == before


def test_a_graph_that_kept_overwritten_values_refuses_its_sweep():
    w = nn.Parameter(np.ones((2, 2)))
    y = w * w
    init.normal_(w)
    with pytest.raises(InplaceError):
        y.backward(np.random.default_rng(0).normal(size=(2, 2)))


def test_mistakes_get_an_answer():
    with pytest.raises(ShapeError, match=r"xavier_uniform_ needs at least two axes \(out, in\), got shape \(3,\)"):
        init.xavier_uniform_(Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match=r"kaiming_normal_: shape \(0, 3\) has no elements"):
        init.kaiming_normal_(Tensor(np.ones((0, 3))))
    with pytest.raises(ShapeError, match="eye_ needs a matrix"):
        init.eye_(Tensor([1.0]))
    with pytest.raises(ShapeError, match="orthogonal_ needs at least two axes"):
        init.orthogonal_(Tensor([1.0]))
    with pytest.raises(ValueError, match="mode is fan_in or fan_out, not 'fan_up'"):
        init.kaiming_uniform_(Tensor(np.ones((2, 2))), mode="fan_up")
    with pytest.raises(ValueError, match="std must not be negative"):
        init.normal_(Tensor([1.0]), std=-1)


def test_layers_begin_as_pytorchs_do():
    layer = nn.Linear(400, 300)
    assert_uniform(layer.weight.data.astype("f8"), 1 / math.sqrt(400) * (1 + 1e-6))
    assert_uniform(layer.bias.data.astype("f8"), 1 / math.sqrt(400) * (1 + 1e-6))
    assert_normal(nn.Embedding(200, 100).weight.data.astype("f8"), 1)
    norm = nn.LayerNorm((3, 4))
    assert np.all(norm.weight.data == 1)
    assert np.all(norm.bias.data == 0)
    assert nn.Linear(0, 3).weight.shape == (3, 0)
