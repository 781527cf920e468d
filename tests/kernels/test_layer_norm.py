"""Layer norm beyond the contract: PyTorch, what E41 promises by hand, and planted bugs."""

import numpy as np
import pytest
from cases import floats, generators
from cases.layer_norm import HOT_PATH
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels import layer_norm
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_accuracy_catches, assert_derivative_catches, plant

SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 40))


def _draw(rng, N, C, n):
    return (*rng.normal(size=(n, N, C)), *rng.normal(size=(2, C)))


@given(rng=generators(), shape=SHAPES, eps=st.sampled_from([1e-5, 0.1]), residual=st.booleans())
def test_equals_pytorch(rng, shape, eps, residual):
    torch = pytest.importorskip("torch")
    x, r, dy, dh, gamma, beta = _draw(rng, *shape, 4)
    X, R, G, B = (torch.tensor(a, requires_grad=True) for a in (x, r, gamma, beta))
    H = X + R if residual else X
    Y = torch.nn.functional.layer_norm(H, shape[1:], G, B, eps)
    if residual:
        (y, h), saved = layer_norm.forward(x, gamma, beta, r, eps=eps)
        ours = layer_norm.backward((dy, dh), x, gamma, beta, r, saved, eps=eps)
        theirs = torch.autograd.grad((Y, H), (X, G, B, R), (torch.tensor(dy), torch.tensor(dh)))
        np.testing.assert_array_equal(h, H.detach())
    else:
        y, saved = layer_norm.forward(x, gamma, beta, eps=eps)
        *ours, none = layer_norm.backward(dy, x, gamma, beta, None, saved, eps=eps)
        theirs = torch.autograd.grad(Y, (X, G, B), torch.tensor(dy))
        assert none is None
    for a, b in zip((y, *ours), (Y.detach(), *theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@given(rng=generators(), shape=st.tuples(st.integers(1, 5), st.integers(3, 40)), eps=st.sampled_from([1e-5, 0.1]))
def test_the_gradient_knows_the_invariances(rng, shape, eps):
    """A shift of a row changes nothing; a scaling only through eps (README, two checks by hand)."""
    x, dy, gamma, beta = _draw(rng, *shape, 2)
    _, saved = layer_norm.forward(x, gamma, beta, eps=eps)
    dx = layer_norm.backward(dy, x, gamma, beta, None, saved, eps=eps)[0]
    mean, rstd = saved
    xhat, dxhat = (x - mean) * rstd, dy * gamma
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-12 * np.abs(dx).sum())
    along_xhat = rstd[:, 0] ** 3 * eps * (dxhat * xhat).sum(axis=1)
    np.testing.assert_allclose((dx * xhat).sum(axis=1), along_xhat, atol=1e-12 * np.abs(dx).sum())


@given(rng=generators(), C=st.integers(2, 64), data=st.data())
def test_output_has_mean_zero_and_variance_one(rng, C, data):
    x = data.draw(floats(rng, (4, C), np.float64, scales=(1.0, 100.0), offsets=(0.0, 1e3)))
    y, _ = layer_norm.forward(x, np.ones(C), np.zeros(C), eps=0.0)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-8)
    np.testing.assert_allclose((y * y).mean(axis=1), 1, rtol=1e-8)


def test_two_passes_where_one_is_wrong():
    """Mean 1000, standard deviation 1, float32: what E[h²] - μ² loses, and (3) does not."""
    x = (1000 + np.random.default_rng(0).normal(size=(200, 768))).astype(np.float32)
    exact = 1 / np.sqrt(x.astype(np.float64).var(axis=1) + 1e-5)
    one_pass = plant(layer_norm.reference, "row_mean(hc * hc)", "row_mean(h * h) - mean * mean")
    one, zero = np.ones(768, np.float32), np.zeros(768, np.float32)

    def error(kernel):
        _, (_, rstd) = kernel.forward(x, one, zero)
        return np.abs(rstd[:, 0] / exact - 1).max()

    assert error(layer_norm.reference) < 1e-6
    assert error(one_pass) > 0.05


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dhhat - row_mean(dhhat) -", "dhhat -"),
        (" - hhat * row_mean(dhhat * hhat)", ""),
        ("row_mean(dhhat * hhat)", "row_mean(dy * hhat)"),
        ("dhhat = dy * gamma", "dhhat = dy"),
        ("dgamma = xp.sum(dy * hhat", "dgamma = xp.sum(dy * (h - mean)"),
        ("dbeta = xp.sum(dy, axis=0)", "dbeta = xp.sum(dy * gamma, axis=0)"),
        ("dx = dx + dh", "dx = dx"),
        ("return dx, dgamma, dbeta, dx", "return dx, dgamma, dbeta, dx - dh"),
        ("dx = rstd * (dhhat", "dx = (rstd**-2 - eps) ** -0.5 * (dhhat"),
    ],
    ids=["mean", "xhat", "dy-for-dxhat", "gamma", "dgamma", "dbeta", "dh", "dresidual", "eps"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


def test_the_contract_catches_the_one_pass_variance():
    assert_accuracy_catches(HOT_PATH, "row_mean(hc * hc)", "abs(row_mean(h * h) - mean * mean)")


def test_refusals():
    x, c = np.zeros((2, 3)), np.zeros(3)
    with pytest.raises(ShapeError, match=r"layer_norm.forward: gamma has shape \(2,\), expected \(3,\)"):
        layer_norm.forward(x, np.zeros(2), c)
    with pytest.raises(ShapeError, match=r"x has shape \(3,\)"):
        layer_norm.forward(c, c, c)
    with pytest.raises(ShapeError, match="residual"):
        layer_norm.forward(x, c, c, x[:1])
    with pytest.raises(DtypeError, match="beta is float32 but x is float64"):
        layer_norm.forward(x, c, c.astype(np.float32))
    with pytest.raises(DtypeError, match="int64"):
        layer_norm.forward(x.astype(np.int64), c, c)
    with pytest.raises(ShapeError, match=r"layer_norm.backward: dh has shape \(3, 2\), expected \(2, 3\)"):
        layer_norm.backward((x, x.T), x, c, c, x, None)
