"""Where a derivative does not exist or is infinite: the conventions at kinks, and what `where` did not choose."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.special
from drawn import shapes
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad, hessian, jacobian, jvp, vjp


def slope(f, *xs, g=None):
    """The gradients of f at xs for the cotangent g, as arrays."""
    leaves = [Tensor(np.asarray(x, np.float64), requires_grad=True) for x in xs]
    y = f(*leaves)
    g = np.random.default_rng(0).normal(size=y.shape) if g is None else g
    return [dx.data for dx in grad(y, leaves, g, allow_unused=True)]


# Kinks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        tn.relu,
        tn.abs,
        tn.sign,
        lambda x: tn.hypot(x, x),
        lambda x: tn.hypot(x, 0.0),
        lambda x: tn.vector_norm(x, axis=-1),
        lambda x: tn.vector_norm(x, ord=1, axis=-1),
        lambda x: tn.vector_norm(x, ord=3, axis=-1),
        lambda x: tn.vector_norm(x, ord=float("inf"), axis=-1),
        lambda x: tn.std(x, axis=-1),
        lambda x: tn.linear(x, np.eye(3), activation="relu"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_the_derivative_at_0_is_0_to_any_order(f, scale):
    zeros = np.zeros((2, 3))
    assert not slope(f, zeros)[0].any()
    x = Tensor(zeros, requires_grad=True)
    y = f(x)
    rng = np.random.default_rng(0)
    (dx,) = grad(y, x, scale * rng.normal(size=y.shape), create_graph=True, allow_unused=True)
    if dx.requires_grad:
        assert not grad(dx, x, scale * rng.normal(size=dx.shape), allow_unused=True)[0].data.any()


def test_the_norm_of_equal_elements_other_than_0_is_smooth():
    x = np.full(4, 2.0)
    np.testing.assert_allclose(slope(tn.vector_norm, x, g=1.0)[0], 0.5)
    assert not slope(tn.std, x, g=1.0)[0].any()  # its kink is wherever all are equal


@given(data=st.data(), which=st.sampled_from(["max", "min"]))
def test_ties_of_a_maximum_share_equally(data, which):
    shape = data.draw(shapes(min_dims=1, min_side=1))
    x = np.asarray(data.draw(st.lists(st.integers(-1, 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))))
    x = x.reshape(shape).astype(np.float64)
    axis = data.draw(st.sampled_from([None, *range(len(shape)), tuple(range(len(shape)))]))
    f = getattr(tn, which)
    g = np.random.default_rng(0).normal(size=f(x, axis=axis).shape)
    chosen = x == getattr(np, which)(x, axis=axis, keepdims=True)
    expected = chosen * np.reshape(g, getattr(np, which)(x, axis=axis, keepdims=True).shape)
    np.testing.assert_allclose(
        slope(lambda x: f(x, axis=axis), x, g=g)[0], expected / chosen.sum(axis=axis, keepdims=True), rtol=1e-14
    )


@pytest.mark.parametrize("f", [tn.maximum, tn.minimum])
def test_ties_of_two_arrays_share_equally(f):
    a, b, g = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]), np.array([1.0, 10.0, 100.0])
    da, db = slope(f, a, b, g=g)
    np.testing.assert_array_equal(da + db, g)
    assert da[1] == db[1] == 5.0
    larger, smaller = (da, db) if f is tn.maximum else (db, da)
    assert (larger[2], larger[0]) == (100.0, 0.0)
    assert (smaller[2], smaller[0]) == (0.0, 1.0)
    np.testing.assert_array_equal(slope(lambda x: f(x, x), a, g=g)[0], g)
    np.testing.assert_array_equal(slope(lambda x: f(x, 2.0), b, g=g)[0], g / 2)


def test_clip_passes_gradients_at_its_bounds():
    x, g = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([3.0, -1.0, 2.0, 5.0, -4.0])
    inside, below, above = np.array([[0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(slope(lambda x: tn.clip(x, -1.0, 1.0), x, g=g)[0], g * inside)
    dx, low, high = slope(tn.clip, x, np.full(5, -1.0), np.full(5, 1.0), g=g)
    np.testing.assert_array_equal([dx, low, high], [g * inside, g * below, g * above])
    dx, low, high = slope(tn.clip, x, np.full(5, 1.0), np.full(5, -1.0), g=g)  # crossed: the maximum wins
    np.testing.assert_array_equal([dx, low, high], [np.zeros(5), np.zeros(5), g])
    np.testing.assert_array_equal(tn.clip(x, 1.0, -1.0).data, np.full(5, -1.0))


@pytest.mark.parametrize("name", ["amax", "amin", "maximum", "minimum", "relu", "abs", "clip", "std", "hypot"])
def test_torch_has_the_same_conventions(name):
    torch = pytest.importorskip("torch")
    x, z = np.array([0.0, 2.0, 2.0, 0.0, -1.0]), np.array([0.0, 2.0, 1.0, 0.0, -1.0])
    ours, theirs = {
        "amax": (tn.max, torch.amax),
        "amin": (tn.min, torch.amin),
        "maximum": (lambda x: tn.maximum(x, z), lambda x: torch.maximum(x, torch.tensor(z))),
        "minimum": (lambda x: tn.minimum(x, z), lambda x: torch.minimum(x, torch.tensor(z))),
        "relu": (tn.relu, torch.relu),
        "abs": (tn.abs, torch.abs),
        "clip": (lambda x: tn.clip(x, 0.0, 2.0), lambda x: torch.clip(x, 0.0, 2.0)),
        "std": (lambda x: tn.std(0 * x, correction=1), lambda x: torch.std(0 * x)),
        "hypot": (lambda x: tn.hypot(x, 1.0), lambda x: torch.hypot(x, torch.ones(5, dtype=torch.float64))),
    }[name]
    t = torch.tensor(x, requires_grad=True)
    y = theirs(t)
    g = np.random.default_rng(0).normal(size=tuple(y.shape))
    y.backward(torch.tensor(g))
    np.testing.assert_allclose(slope(ours, x, g=g)[0], t.grad.numpy(), rtol=1e-14)


# Powers --------------------------------------------------------------------------------------------------------------

CORNERS = [(a, b) for a in (0.0, -2.0, 2.0, 1.0) for b in (0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5)]


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(("a", "b"), CORNERS)
def test_corners_of_pow_are_as_torch_has_them(a, b):
    """0^0 = 1, 0^b, negative numbers to whole powers: values and both gradients, NaN and infinities included."""
    torch = pytest.importorskip("torch")
    ta, tb = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (a, b))
    ty = torch.pow(ta, tb)
    ty.backward(torch.ones(1, dtype=torch.float64))
    np.testing.assert_array_equal(tn.pow(np.array([a]), np.array([b])).data, ty.detach().numpy())
    da, db = slope(tn.pow, [a], [b], g=np.ones(1))
    np.testing.assert_allclose(da, ta.grad.numpy(), rtol=1e-15)
    np.testing.assert_allclose(db, tb.grad.numpy(), rtol=1e-15)
    np.testing.assert_array_equal(slope(lambda x: x**b, [a], g=np.ones(1))[0], da)
    np.testing.assert_array_equal(slope(lambda x: a**x, [b], g=np.ones(1))[0], db)


@pytest.mark.parametrize("b", [0, 1, 2, 3])
def test_whole_powers_have_all_derivatives_everywhere(b):
    x = np.array([-2.0, 0.0, 2.0])
    for f in (lambda x: x**b, lambda x: x**b * np.ones(3), lambda x: tn.pow(x, np.full(3, float(b)))):
        h = hessian(lambda x, f=f: tn.sum(f(x)), x).data
        np.testing.assert_allclose(np.diag(h), b * (b - 1) * x ** max(b - 2, 0))


def test_the_mixed_derivative_of_a_power_at_exponent_0():
    """d²(a^b)/da db = a^(b-1) (1 + b ln a), 1/a at b = 0"""
    a, b = (Tensor(np.array(v), requires_grad=True) for v in (2.0, 0.0))
    (da,) = grad(tn.pow(a, b), a, create_graph=True)
    np.testing.assert_allclose(grad(da, b)[0].data, 0.5)


# Poles ---------------------------------------------------------------------------------------------------------------

POLES = {  # a function, where it is fine, where its value or derivative is infinite or undefined, its derivative
    "log": (tn.log, 2.0, [0.0, -1.0], lambda x: 1 / x),
    "log2": (tn.log2, 2.0, [0.0, -1.0], lambda x: 1 / (x * np.log(2))),
    "log10": (tn.log10, 2.0, [0.0, -1.0], lambda x: 1 / (x * np.log(10))),
    "log1p": (tn.log1p, 1.0, [-1.0, -2.0], lambda x: 1 / (1 + x)),
    "sqrt": (tn.sqrt, 4.0, [0.0, -1.0], lambda x: 0.5 / np.sqrt(x)),
    "reciprocal": (tn.reciprocal, 2.0, [0.0], lambda x: -1 / x**2),
    "1 / x": (lambda x: 1.0 / x, 2.0, [0.0], lambda x: -1 / x**2),
    "x / x": (lambda x: (x + 1) / x, 2.0, [0.0], lambda x: -1 / x**2),
    "x ** 0.5": (lambda x: x**0.5, 4.0, [0.0, -1.0], lambda x: 0.5 / np.sqrt(x)),
    "x ** -1": (lambda x: x**-1, 4.0, [0.0], lambda x: -1 / x**2),
    "pow by an array": (lambda x: tn.pow(x, np.full(x.shape, 0.5)), 4.0, [0.0, -1.0], lambda x: 0.5 / np.sqrt(x)),
    "x ** x": (lambda x: x**x, 2.0, [-0.5], lambda x: x**x * (1 + np.log(x))),
    "exp": (tn.exp, 1.0, [1e4], np.exp),
    "expm1": (tn.expm1, 1.0, [1e4], np.exp),
    "sinh": (tn.sinh, 1.0, [1e4], np.cosh),
    "cosh": (tn.cosh, 1.0, [1e4], np.sinh),
    "asin": (tn.asin, 0.5, [1.0, -1.0, 2.0], lambda x: 1 / np.sqrt(1 - x**2)),
    "acos": (tn.acos, 0.5, [1.0, -1.0, 2.0], lambda x: -1 / np.sqrt(1 - x**2)),
    "acosh": (tn.acosh, 2.0, [1.0, 0.5], lambda x: 1 / np.sqrt(x**2 - 1)),
    "atanh": (tn.atanh, 0.5, [1.0, -1.0, 2.0], lambda x: 1 / (1 - x**2)),
    "atan2": (lambda x: tn.atan2(x, 0 * x), 2.0, [0.0], lambda x: 0 * x),
}


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("name", POLES)
def test_the_branch_that_where_did_not_take_has_no_gradient(name):
    """0 · ∞ = 0: first and second gradients are finite, and right in the branch that was taken."""
    f, good, bad, derivative = POLES[name]
    x = np.array([good, *bad, good])
    taken = np.array([True, *[False] * len(bad), True])

    def safe(x):
        return tn.where(taken, f(x), 7.0)

    g = np.array([0.3, *[5.0] * len(bad), -2.0])
    expected = np.where(taken, g * derivative(np.where(taken, x, good)), 0)
    np.testing.assert_allclose(slope(safe, x, g=g)[0], expected, rtol=1e-13)
    h = hessian(lambda x: tn.sum(safe(x)), x).data
    assert np.isfinite(h).all()
    step = 1e-5
    second = (derivative(good + step) - derivative(good - step)) / (2 * step)
    np.testing.assert_allclose(np.diag(h), np.where(taken, second, 0), rtol=1e-6, atol=1e-9)
    v = np.arange(1.0, x.size + 1)
    _, y = jvp(safe, x, v)
    np.testing.assert_allclose(y.data, np.where(taken, v * derivative(np.where(taken, x, good)), 0), rtol=1e-13)


def test_the_way_back_is_silent():
    """sqrt(0) is 0, without a warning; so is its masked gradient, to second order."""
    x = Tensor([4.0, 0.0], requires_grad=True)
    y = tn.where(x > 0, tn.sqrt(x), 0.0)
    (dx,) = grad(y, x, np.array([2.0, 3.0]), create_graph=True)
    assert dx.data.tolist() == [0.5, 0]
    assert grad(dx, x, np.array([0.5, 3.0]))[0].data.tolist() == [-1 / 32, 0]


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("f", "x", "dx"),
    [(tn.log, 0.0, np.inf), (tn.sqrt, 0.0, np.inf), (tn.reciprocal, 0.0, -np.inf), (tn.acosh, 1.0, np.inf)],
)
def test_a_pole_that_was_meant_is_infinite(f, x, dx):
    """Forward and backward: only a cotangent of exactly 0 silences a pole."""
    assert vjp(f, x)[1].data == dx
    assert jvp(f, np.asarray(x), np.asarray(1.0))[1].data == dx
    assert jacobian(f, np.asarray(x)).data == dx


def test_rows_of_minus_infinity():
    """They have the logarithm of an empty sum, no gradient, and cause no warning."""
    x = np.array([[-np.inf, -np.inf, -np.inf], [0.0, -np.inf, 1.0]])
    p, g = np.array([[0, 0, 0], scipy.special.softmax(x[1])]), np.array([1.5, -0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(tn.logsumexp(x, axis=1).data, [-np.inf, np.logaddexp(0, 1)])
        np.testing.assert_allclose(slope(lambda x: tn.logsumexp(x, axis=1), x, g=g)[0], g[:, None] * p, rtol=1e-14)
        assert tn.logsumexp(np.zeros((2, 0)), axis=1).data.tolist() == [-np.inf, -np.inf]
        assert slope(tn.logaddexp, -np.inf, -np.inf, g=1.0) == [0, 0]
        assert slope(tn.logaddexp, -np.inf, 1.0, g=1.0) == [0, 1]
        h = hessian(lambda x: tn.sum(tn.logsumexp(x, axis=1)), x).data
    assert np.isfinite(h).all()


# Extremes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_and_no_digits_are_lost(dtype):
    """Relative accuracy over the whole range, without a warning."""
    x = np.linspace(-85, 85, 1001, dtype=dtype)
    wide = x.astype(np.longdouble)
    eps = np.finfo(dtype).eps
    for ours, theirs in (
        (tn.sigmoid, 1 / (1 + np.exp(-wide))),
        (tn.softplus, np.log1p(np.exp(wide))),
        (tn.log_sigmoid, -np.log1p(np.exp(-wide))),
    ):
        np.testing.assert_allclose(ours(x).data, theirs, rtol=8 * eps)
    for f in (tn.sigmoid, tn.softplus, tn.log_sigmoid, tn.tanh, tn.gelu, tn.gelu_tanh, tn.erf):
        y, dy = vjp(f, np.array([-1e4, 1e4, 0.0], dtype), np.array([1, -2, 3], dtype))
        assert np.isfinite(y.data).all()
        assert np.isfinite(dy.data).all()
    g = np.random.default_rng(0).normal(size=x.shape).astype(dtype)
    np.testing.assert_allclose(vjp(tn.softplus, x, g)[1].data, g / (1 + np.exp(-wide)), rtol=50 * eps)
    assert tn.hypot(dtype(1e30), dtype(1e30)).data > 1e30


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_keep_their_digits(dtype):
    """Where a sum drowns what is added to it, where squares leave the range, and at infinity."""

    def pulled(f, *xs, g=1.0):
        return [dx.data for dx in vjp(f, tuple(map(dtype, xs)), dtype(g))[1]]

    largest, smallest = np.finfo(dtype).max / 4, np.finfo(dtype).tiny * 4
    for x in (1000.1, 1e9, largest, -largest):
        assert pulled(tn.logaddexp, x, x) == [0.5, 0.5]
    np.testing.assert_allclose(pulled(tn.logaddexp, 5000, 4999)[1], 1 / (1 + np.e), rtol=1e-6)
    assert pulled(tn.softplus, np.inf) == [1]
    assert pulled(tn.softplus, -np.inf) == [0]
    for x in (smallest, largest):
        np.testing.assert_allclose(pulled(tn.atan2, x, x, g=x), [0.5, -0.5], rtol=1e-6)


@pytest.mark.parametrize("f", [tn.relu, tn.abs, tn.sum, tn.max, tn.min, tn.logsumexp, lambda x: tn.clip(x, 0.0, 1.0)])
def test_nan_stays_nan(f):
    assert np.isnan(f(np.array([1.0, np.nan])).data).any()
    assert np.isnan(tn.maximum(np.nan, np.array(1.0)).data)
