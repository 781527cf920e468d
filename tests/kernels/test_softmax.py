"""Softmax beyond the contract: PyTorch, the Jacobian, hardmax, masks, and planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators, masks
from cases.softmax import HOT_PATH
from hypothesis import given
from nlp_kernels import softmax
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_accuracy_catches, assert_derivative_catches

SHAPES = st.tuples(st.integers(0, 5), st.integers(1, 40))


@given(rng=generators(), shape=SHAPES, temperature=st.sampled_from([1.0, 0.3, 5.0]), log=st.booleans())
def test_equals_pytorch(rng, shape, temperature, log):
    torch = pytest.importorskip("torch")
    x, dy = 5 * rng.normal(size=shape), rng.normal(size=shape)
    X = torch.tensor(x, requires_grad=True)
    Y = (torch.log_softmax if log else torch.softmax)(X / temperature, dim=-1)
    y, saved = softmax.forward(x, temperature=temperature, log=log)
    (dx,) = softmax.backward(dy, x, None, saved, temperature=temperature, log=log)
    np.testing.assert_allclose(y, Y.detach(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(dx, torch.autograd.grad(Y, X, torch.tensor(dy))[0], rtol=1e-11, atol=1e-13)


@given(rng=generators(), shape=SHAPES, temperature=st.sampled_from([1.0, 0.3, 5.0]))
def test_the_jacobian_that_is_never_built(rng, shape, temperature):
    """(diag p - p pᵀ)/τ row by row; and its rows sum to 0, so the gradient does."""
    x, dp = rng.normal(size=shape), rng.normal(size=shape)
    p, saved = softmax.forward(x, temperature=temperature)
    (dx,) = softmax.backward(dp, x, None, saved, temperature=temperature)
    jacobians = (p[:, :, None] * np.eye(shape[1]) - p[:, :, None] * p[:, None, :]) / temperature
    np.testing.assert_allclose(dx, np.einsum("nij,ni->nj", jacobians, dp), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-13 / temperature)


@given(rng=generators(), shape=SHAPES)
def test_it_sees_differences_not_ratios(rng, shape):
    """Where the notes have "the relative scale of each value": a shift changes nothing, a factor does."""
    x = rng.integers(-8, 8, shape).astype(np.float64)
    np.testing.assert_array_equal(softmax.forward(x + 1024)[0], softmax.forward(x)[0])
    p, _ = softmax.forward(np.asarray([[1.0, 2.0]]))
    assert np.abs(softmax.forward(np.asarray([[10.0, 20.0]]))[0] - p).max() > 0.2


@pytest.mark.parametrize("temperature", [1e-2, 1e-6, 1e-30])
def test_a_small_temperature_is_hardmax(temperature):
    x = np.asarray([[1.0, 3.0, 2.0], [3.0, 1.0, 3.0], [-1e4, 1e4, 0.0]])
    p, _ = softmax.forward(x, temperature=temperature)
    np.testing.assert_allclose(p, np.asarray([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]), atol=1e-40)
    p, _ = softmax.forward(x[:2], temperature=1e9)
    np.testing.assert_allclose(p, 1 / 3, rtol=1e-8)


@given(rng=generators(), shape=SHAPES, data=st.data(), log=st.booleans())
def test_masked_places_take_no_part(rng, shape, data, log):
    """Their probability is 0, their gradient is 0, and neither their logit nor their cotangent is ever seen."""
    x, dy, keep = rng.normal(size=shape), rng.normal(size=shape), data.draw(masks(rng, shape))
    y, saved = softmax.forward(x, keep, log=log)
    (dx,) = softmax.backward(dy, x, keep, saved, log=log)
    assert np.all(y[~keep] == (-np.inf if log else 0))
    assert np.all(dx[~keep] == 0)
    other_x, other_dy = np.where(keep, x, 1e300), np.where(keep, dy, 1e300 if log else dy)
    other, saved = softmax.forward(other_x, keep, log=log)
    np.testing.assert_array_equal(other, y)
    np.testing.assert_array_equal(softmax.backward(other_dy, other_x, keep, saved, log=log)[0], dx)
    for n in np.flatnonzero(keep.any(axis=1)):  # a masked row is the row without its masked places
        small, _ = softmax.forward(x[n : n + 1, keep[n]], log=log)
        np.testing.assert_allclose(y[n, keep[n]], small[0], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("log", [False, True])
def test_a_row_that_keeps_nothing(log):
    x, keep = np.ones((2, 3)), np.asarray([[False], [True]])
    y, saved = softmax.forward(x, keep, log=log)
    (dx,) = softmax.backward(np.asarray([[1.0, 2, 3], [1, 2, 4]]), x, keep, saved, log=log)
    np.testing.assert_array_equal(y[0], -np.inf if log else 0)
    np.testing.assert_array_equal(dx[0], 0)
    assert np.all(dx[1] != 0)


def test_log_softmax_where_softmax_underflows():
    y, _ = softmax.forward(np.asarray([[0.0, -1e4]], np.float32), log=True)
    np.testing.assert_array_equal(y, [[0, -1e4]])


def test_a_mask_of_any_broadcastable_shape():
    x, keep = np.random.default_rng(0).normal(size=(3, 4)), np.asarray([True, False, True, True])
    whole, _ = softmax.forward(x, np.tile(keep, (3, 1)))
    for mask in (keep, keep[None]):
        np.testing.assert_array_equal(softmax.forward(x, mask)[0], whole)
    assert softmax.forward(x, np.asarray(False))[0].sum() == 0


def test_nan_stays_nan():
    assert np.isnan(softmax.forward(np.asarray([[1.0, np.nan]]))[0]).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(dy - xp.sum(dy * p, axis=-1, keepdims=True))", "dy"),
        ("xp.sum(dy * p,", "xp.sum(dy,"),
        ("xp.sum(dy * p, axis=-1, keepdims=True)) / temperature", "xp.sum(dy * p, axis=-1, keepdims=True))"),
        ("p * xp.sum(dy, axis=-1, keepdims=True)) / temperature", "p * xp.sum(dy, axis=-1, keepdims=True))"),
        ("(dy - p * xp.sum(dy, axis=-1, keepdims=True))", "(dy - p)"),
        ("p = xp.exp(y)", "p = y"),
        ("dy = dy if keep is None else xp.where(keep, dy, 0.0)", "pass"),
    ],
    ids=["mean", "p-in-mean", "temperature", "temperature-log", "log-sum", "exp", "masked-cotangent"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("(s - row_max(s))", "s"), ("z = xp.where(z == 0, 1.0, z)", "z = z + 1e-6"), ("s - xp.log(z)", "xp.log(e / z)")],
    ids=["max", "epsilon-in-the-sum", "log-of-softmax"],
)
def test_careless_arithmetic_is_caught(right, wrong):
    assert_accuracy_catches(HOT_PATH, right, wrong)


def test_refusals():
    x = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"softmax.forward: x has shape \(3,\), expected \(N, C\)"):
        softmax.forward(x[0])
    with pytest.raises(ShapeError, match=r"softmax.forward: keep \(3, 2\) does not broadcast to x \(2, 3\)"):
        softmax.forward(x, np.ones((3, 2), bool))
    with pytest.raises(ShapeError, match=r"softmax.backward: dy has shape \(3, 2\), expected \(2, 3\)"):
        softmax.backward(x.T, x, None, None)
    with pytest.raises(DtypeError, match=r"softmax.forward: x is int64"):
        softmax.forward(x.astype(np.int64))
    with pytest.raises(DtypeError, match=r"softmax.forward: keep is float64, expected bool"):
        softmax.forward(x, x)
    with pytest.raises(DtypeError, match=r"softmax.backward: dy is float32 but x is float64"):
        softmax.backward(x.astype(np.float32), x, None, None)
    for temperature in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="temperature"):
            softmax.forward(x, temperature=temperature)
