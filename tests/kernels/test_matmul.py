"""Matmul beyond the contract: PyTorch, transposed views, the activations' kinks and limits, and planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.matmul import HOT_PATH
from hypothesis import given
from nlp_kernels import matmul
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_accuracy_catches, assert_derivative_catches

SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 7))
ACTIVATIONS = st.sampled_from(matmul.ACTIVATIONS)


def torch_activation(torch, name):
    F = torch.nn.functional
    return {
        "none": lambda z: z,
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    }[name]


@given(rng=generators(), shape=SHAPES, activation=ACTIVATIONS, transpose_w=st.booleans(), rest=st.booleans())
def test_equals_pytorch(rng, shape, activation, transpose_w, rest):
    torch = pytest.importorskip("torch")
    M, K, N = shape
    x, w, dy = rng.normal(size=(M, K)), rng.normal(size=(N, K) if transpose_w else (K, N)), rng.normal(size=(M, N))
    b, residual = (rng.normal(size=N), rng.normal(size=(M, N))) if rest else (None, None)
    inputs = [a for a in (x, w, b, residual) if a is not None]
    X, W, *more = leaves = [torch.tensor(a, requires_grad=True) for a in inputs]
    z = X @ (W.T if transpose_w else W) + (more[0] if rest else 0)
    Y = torch_activation(torch, activation)(z) + (more[1] if rest else 0)
    hyper = {"activation": activation, "transpose_w": transpose_w}
    y, saved = matmul.forward(x, w, b, residual, **hyper)
    ours = matmul.backward(dy, x, w, b, residual, saved, **hyper)
    np.testing.assert_allclose(y, Y.detach(), rtol=1e-12, atol=1e-13)
    theirs = torch.autograd.grad(Y, leaves, torch.tensor(dy))
    for a, t in zip([d for d in ours if d is not None], theirs, strict=True):
        np.testing.assert_allclose(a, t, rtol=1e-10, atol=1e-12)


@given(rng=generators(), shape=SHAPES, activation=ACTIVATIONS)
def test_a_transposed_view_is_read_where_it_lies(rng, shape, activation):
    M, K, N = shape
    x, w, dy = rng.normal(size=(K, M)).T, rng.normal(size=(N, K)), rng.normal(size=(N, M)).T
    y, saved = matmul.forward(x, w, activation=activation, transpose_w=True)
    same, _ = matmul.forward(x, w.T, activation=activation)
    np.testing.assert_allclose(y, same, rtol=1e-14, atol=1e-14)
    dx, dw, *_ = matmul.backward(dy, x, w, None, None, saved, activation=activation, transpose_w=True)
    same_dx, same_dw, *_ = matmul.backward(dy, x, w.T, None, None, saved, activation=activation)
    np.testing.assert_allclose(dx, same_dx, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(dw, same_dw.T, rtol=1e-13, atol=1e-13)


def slopes(activation, z):
    """g(z) and g'(z) of a column, through a product with 1."""
    z, one = np.asarray(z, np.float64).reshape(-1, 1), np.ones((1, 1))
    y, saved = matmul.forward(z, one, activation=activation)
    dx, *_ = matmul.backward(np.ones_like(z), z, one, None, None, saved, activation=activation)
    return y[:, 0], dx[:, 0]


def test_the_kink_of_relu():
    y, slope = slopes("relu", [-2, -0.0, 0, 1e-300, 3])
    np.testing.assert_array_equal(y, [0, 0, 0, 1e-300, 3])
    np.testing.assert_array_equal(slope, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_gelu_between_its_limits(activation):
    y, slope = slopes(activation, [-1e4, -40, 0, 40, 1e4])
    np.testing.assert_allclose(y, [0, 0, 0, 40, 1e4], atol=1e-300)
    np.testing.assert_allclose(slope, [0, 0, 0.5, 1, 1], atol=1e-300)
    y, slope = slopes(activation, np.linspace(-2, 0, 2001))
    assert -0.1701 < y.min() < -0.1699
    assert slope.min() < 0 < slope.max()  # not monotonic: y does not determine z


def test_both_gelus_differ_by_less_than_five_ten_thousandths():
    z = np.linspace(-10, 10, 100_001)
    (exact, _), (tanh, _) = slopes("gelu", z), slopes("gelu_tanh", z)
    assert 4e-4 < np.abs(exact - tanh).max() < 5e-4


@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
def test_nan_stays_nan(activation):
    y, slope = slopes(activation, [np.nan])
    assert np.isnan(y).all()
    assert activation in ("none", "relu") or np.isnan(slope).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dz = activate_backward(dy, saved, activation)", "dz = dy"),
        ("dy * xp.astype(z > 0, dy.dtype)", "dy"),
        ("+ z * density", ""),
        ("math.sqrt(2 * math.pi)", "2 * math.pi"),
        ("(1 + 3 * A * z2)", "(1 + A * z2)"),
        ("(1 - th * th)", "(1 - th)"),
        ("1 + th + z", "z"),
        ("sum(dz, axis=0)", "sum(dy, axis=0)"),
        ("None if residual is None else dy", "None if residual is None else dz"),
        ("_w else x.T @ dz", "_w else x.T @ dy"),
        ("dx = dz @", "dx = dy @"),
    ],
    ids=["no-g'", "relu", "gelu", "density", "cubic", "tanh'", "product-rule", "db", "dresidual", "dw", "dx"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("math.sqrt(0.5)", "0.707"), ("A, B = 0.044715", "A, B = 0.0447")],
    ids=["√½ to three digits", "α to three"],
)
def test_careless_constants_are_caught(right, wrong):
    assert_accuracy_catches(HOT_PATH, right, wrong)


def test_refusals():
    x, w = np.zeros((2, 3)), np.zeros((3, 4))
    with pytest.raises(ShapeError, match=r"matmul.forward: x \(2, 3\) and w \(4, 3\) differ in K: 3 and 4"):
        matmul.forward(x, w.T)
    with pytest.raises(ShapeError, match=r"x \(2, 3\) and transposed w \(3, 4\) differ in K: 3 and 4"):
        matmul.forward(x, w, transpose_w=True)
    with pytest.raises(ShapeError, match=r"matmul.forward: w has shape \(3,\), expected \(K, N\)"):
        matmul.forward(x, w[:, 0])
    with pytest.raises(ShapeError, match=r"matmul.forward: b has shape \(3,\), expected \(4,\)"):
        matmul.forward(x, w, np.zeros(3))
    with pytest.raises(ShapeError, match=r"matmul.forward: residual has shape \(2, 3\), expected \(2, 4\)"):
        matmul.forward(x, w, None, x)
    with pytest.raises(ShapeError, match=r"matmul.backward: dy has shape \(2, 3\), expected \(2, 4\)"):
        matmul.backward(x, x, w, None, None, None)
    with pytest.raises(DtypeError, match=r"matmul.forward: w is float32 but x is float64"):
        matmul.forward(x, w.astype(np.float32))
    with pytest.raises(DtypeError, match=r"matmul.forward: x is int64"):
        matmul.forward(x.astype(np.int64), w)
    with pytest.raises(ValueError, match=r"unknown activation 'swish'; there are none, relu, gelu, gelu_tanh"):
        matmul.forward(x, w, activation="swish")
