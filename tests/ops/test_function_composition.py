"""Inputs used twice, inputs made from each other, outputs used in part: gradients to order three."""

from __future__ import annotations

import numpy as np
import pytest
from differences import check
from drawn import generators
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, checkpoint, grad, hessian, hvp
from tinygrad_nlp.random import Generator

RNG = np.random.default_rng(0)
KEEP = RNG.random((1, 2, 3, 3)) < 0.7
ROWS = np.array([2, 0, 2, -1, -3])
MASK = np.array([[True, False, True], [False, False, True], [True, True, True]])


def heads(x):
    """(3, 2) -> (1, 1, 3, 2)"""
    return x[None, None]


COMPOSED = {  # functions of one (3, 3) array
    "attention of one input": lambda x: tn.attention(heads(x), heads(x), heads(x)),
    "masked attention of one input": lambda x: tn.attention(heads(x), heads(x), heads(x), KEEP[:, :1], causal=True),
    "attention of its own weights": lambda x: tn.attention(heads(x), heads(tn.softmax(x)), heads(x * x)),
    "attention with dropout": lambda x: tn.attention(heads(x), heads(x), heads(x), dropout=0.4, generator=Generator(5)),
    "cross-attention": lambda x: tn.attention(heads(x[:2]), heads(x), heads(x), key_lengths=[2]),
    "linear by itself": lambda x: tn.linear(x, x),
    "linear of everything from x": lambda x: tn.linear(x, tn.tanh(x), x[0], x, activation="gelu"),
    "linear twice": lambda x: tn.linear(tn.linear(x, x, activation="gelu_tanh"), x),
    "layer norm scaled by its input": lambda x: tn.layer_norm(x, tn.tanh(x[0]), x[1], eps=0.1),
    "layer norm of twice the same": lambda x: tn.layer_norm(x, x[0], x[1], x, eps=0.1)[0],
    "the sum of a residual layer norm": lambda x: tn.layer_norm(x, x[0], x[1], x * x, eps=0.1)[1],
    "the first of a residual layer norm": lambda x: tn.layer_norm(x, x[0], x[1], x * x, eps=0.1)[0],
    "tied embedding": lambda x: tn.linear(tn.embedding(x, ROWS % 3), x),
    "cross-entropy of its own rows": lambda x: tn.cross_entropy(tn.linear(x, x), [0, 2, -100]),
    "softmax times itself": lambda x: tn.softmax(x, axis=0) * tn.log_softmax(x),
    "x x^T": lambda x: x @ x.T,
    "x^T x by batches": lambda x: tn.matmul(x[None], tn.stack([x, x * x])),
    "x to the x": lambda x: tn.pow(tn.exp(x), x),
    "logaddexp of itself": lambda x: tn.logaddexp(x, x),
    "twice the same": lambda x: tn.concat([x, x * x, x], axis=1),
    "stacked and taken apart": lambda x: tn.unstack(tn.stack([x, x * x], axis=1), axis=2)[1],
    "one of several outputs": lambda x: tn.unstack(x * x)[2] * tn.unstack(x)[0],
    "where of itself": lambda x: tn.where(x > 0, x * x, -x * tn.exp(x)),
    "rows with repeats": lambda x: x[ROWS] * (x * x)[ROWS],
    "repeats, a mask and a step back": lambda x: x[ROWS][:, ::-1][:, None] * x[MASK][1],
    "places by two arrays": lambda x: x[ROWS, [0, 0, 1, 1, 0]] * x[0, ROWS],
    "overlapping windows": lambda x: tn.stack([x[i : i + 2] for i in range(2)]) * x[-1],
    "a mask of itself": lambda x: tn.sum((x * x)[x > 0]) * tn.sum(x[x <= 0]) * x,
    "taken along itself": lambda x: tn.take_along_axis(x * x, tn.argsort(x, axis=1), axis=1) * x,
    "taken twice": lambda x: tn.take(x, ROWS, axis=1) * tn.take(x * x, [[0], [0], [1]], axis=0)[:, 0, :1],
    "scattered and gathered": lambda x: tn.take(tn.scatter_add(x * x, [1, 1, 0], 2), [0, 1, 1], axis=0) * x,
    "divided by its norm": lambda x: x / tn.vector_norm(x, axis=1, keepdims=True),
    "standardised": lambda x: (x - tn.mean(x, axis=0)) / tn.std(x, axis=0),
    "a product of what is left": lambda x: tn.prod(x * x + 1, axis=0) * x,
    "squares of cumulative sums": lambda x: tn.cumulative_sum(x, axis=1) ** 2,
    "a maximum times its place": lambda x: tn.max(x, axis=1) * x[:, 0],
    "recomputed": lambda x: checkpoint(lambda y: tn.tanh(y @ x) * y, x * x),
    "recomputed twice": lambda x: checkpoint(lambda y: checkpoint(tn.tanh, y * y) * x, x),
}


@pytest.mark.parametrize("name", COMPOSED)
@given(rng=generators())
@settings(max_examples=5)
def test_composed_functions_to_order_three(name, rng):
    check(COMPOSED[name], [rng.normal(size=(3, 3))], order=3, rtol=1e-4, atol=1e-6, rng=rng)


@pytest.mark.parametrize("name", COMPOSED)
def test_hessians_are_symmetric_and_agree_with_their_products(name):
    f, x, v = COMPOSED[name], RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))
    weights = RNG.normal(size=f(Tensor(x)).shape)

    def loss(x):
        return tn.sum(f(x) * weights)

    h = hessian(loss, x).data.reshape(9, 9)
    np.testing.assert_allclose(h, h.T, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(h @ v.ravel(), hvp(loss, x, v)[1].data.ravel(), rtol=1e-8, atol=1e-10)


@given(data=st.data(), rng=generators())
@settings(max_examples=10)
def test_gradients_in_a_loss(data, rng):
    """A loss that contains gradients, as a gradient penalty does, whose cotangent depends on the input."""
    name = data.draw(st.sampled_from(sorted(COMPOSED)))

    def penalty(x):
        with tn.enable_grad():
            inner = Tensor(x.data, requires_grad=True) if x.node is None else x
            y = COMPOSED[name](inner)
            (dx,) = grad(y, inner, tn.tanh(y), create_graph=True)
        return tn.sum(dx * dx)

    check(penalty, [rng.normal(size=(3, 3))], order=1, rtol=1e-4, atol=1e-5, rng=rng)


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_some_of_several_outputs(used):
    def f(x):
        parts = tn.unstack(x * x)
        return tuple(parts[i] for i in used)

    check(f, [RNG.normal(size=(3, 2))], order=3, rtol=1e-4, rng=np.random.default_rng(0))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2), (3,), (0, 3)])
@pytest.mark.parametrize("name", ["linear", "layer_norm", "attention"])
def test_any_subset_of_inputs(name, wanted):
    rng = np.random.default_rng(1)
    q, w, c = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    args = {"linear": [q, w, c, q + 1], "layer_norm": [q, c, c + 1, q + 1], "attention": [w[None, None]] * 3}[name]
    wanted = tuple(i for i in wanted if i < len(args))
    if not wanted:
        return

    def f(*xs):
        given = dict(zip(wanted, xs, strict=True))
        return getattr(tn, name)(*(given.get(i, a) for i, a in enumerate(args)))

    check(f, [args[i] for i in wanted], rng=rng)


def test_the_padding_row_of_an_embedding_has_no_gradient():
    table, indices = RNG.normal(size=(4, 2)), np.array([0, 3, 3, 1])
    x, g = Tensor(table, requires_grad=True), RNG.normal(size=(4, 2))
    (dx,) = grad(tn.embedding(x, indices, padding_idx=3), x, g)
    np.testing.assert_array_equal(dx.data, [g[0], g[3], [0, 0], [0, 0]])


def test_the_mask_of_dropout_is_the_generators():
    x = Tensor(np.ones((50, 40)), requires_grad=True)
    a, b = (tn.dropout(x, 0.3, generator=Generator(7)).data for _ in range(2))
    np.testing.assert_array_equal(a, b)
    generator = Generator(7)
    first, second = (tn.dropout(x, 0.3, generator=generator) for _ in range(2))
    np.testing.assert_array_equal(first.data, a)
    assert (second.data != a).any()
    assert set(np.unique(a)) == {0, 1 / 0.7}
    assert abs((a == 0).mean() - 0.3) < 0.05
    g = RNG.normal(size=x.shape)
    np.testing.assert_allclose(grad(first, x, g)[0].data, np.where(a, g / 0.7, 0), rtol=1e-15)
    assert tn.dropout(x, 0.0) is x
    assert not tn.dropout(x, 1.0).data.any()
