"""RNN beyond the contract: the notes' double sum, truncation, the bound on the gradient, refusals, planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.rnn import HOT_PATH
from hypothesis import given
from nlp_kernels import dispatch, rnn
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_derivative_catches

SIZES = {"T": st.integers(1, 5), "B": st.integers(1, 3), "H": st.integers(2, 4)}


def drawn(rng, T, B, H, inputs=3):
    """x, h0, w_ih, w_hh, b_ih, b_hh."""
    shapes = (T, B, inputs), (B, H), (H, inputs), (H, H), (H,), (H,)
    return [rng.normal(size=shape) for shape in shapes]


def double_sum(dy, h0, y, u, nonlinearity, tau=None, order=1):
    """Σ_t Σ_{k <= t} dy_t (∂h_t/∂h_{t-1} ⋯ ∂h_{k+1}/∂h_k) ∂⁺h_k/∂U of E20, literally, for one sequence.

    `tau`: only the pairs t - k < tau; `order` -1: the factors the wrong way round.
    """
    T, H = y.shape
    h = np.concatenate((h0[None], y))  # h[t] is the state after step t = 1 … T
    slope = [None, *(1 - h[t] ** 2 if nonlinearity == "tanh" else (h[t] > 0) * 1.0 for t in range(1, T + 1))]
    total = np.zeros((H, H))
    for t in range(1, T + 1):
        for k in range(1, t + 1):
            if tau is not None and t - k >= tau:
                continue
            jacobians = [np.diag(slope[j]) @ u for j in range(t, k, -1)][::order]
            chain = np.linalg.multi_dot([np.eye(H), *jacobians, np.eye(H)])
            row = dy[t - 1] @ chain  # by h_k
            for i in range(H):
                total[i] += row[i] * slope[k][i] * h[k - 1]  # ∂⁺h_k: only component i of step k sees row i of U
    return total


@pytest.mark.parametrize("backend", [name for name in dispatch.backends("rnn") if name != "cuda"])
@given(rng=generators(), nonlinearity=st.sampled_from(["tanh", "relu"]), **SIZES)
def test_the_recursion_is_the_double_sum_of_the_notes(backend, rng, nonlinearity, T, B, H):
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(rng, T, B, H)
    dy = rng.normal(size=(T, B, H))
    with dispatch.use_backend(backend, "rnn"):
        (y, _), saved = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity=nonlinearity)
        dw_hh = rnn.backward(
            (dy, 0 * h0), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved, nonlinearity=nonlinearity
        )[3]  # fmt: skip
    literal = sum(double_sum(dy[:, b], h0[b], y[:, b], w_hh, nonlinearity) for b in range(B))
    np.testing.assert_allclose(dw_hh, literal, rtol=1e-10, atol=1e-11)


def test_the_order_of_the_factors_matters():
    rng = np.random.default_rng(0)
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(rng, 4, 1, 3)
    dy = rng.normal(size=(4, 1, 3))
    (y, _), saved = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh)
    dw_hh = rnn.backward((dy, 0 * h0), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved)[3]
    wrong = double_sum(dy[:, 0], h0[0], y[:, 0], w_hh, "tanh", order=-1)
    assert np.abs(dw_hh - wrong).max() > 0.01


@given(rng=generators(), tau=st.integers(1, 3))
def test_truncation_keeps_the_near_pairs(rng, tau):
    """Cut into pieces of tau steps, only pairs within a piece are left; one piece is the whole sum."""
    T, H = 6, 3
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(rng, T, 1, H)
    dy, total = rng.normal(size=(T, 1, H)), 0
    (y, _), _ = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh)
    state, pieces = h0, 0
    for t in range(0, T, tau):
        piece = slice(t, t + tau)
        (_, after), saved = rnn.forward(x[piece], state, w_ih, w_hh, b_ih, b_hh)
        pieces = pieces + rnn.backward(
            (dy[piece], 0 * state), x[piece], state, w_ih, w_hh, b_ih, b_hh, None, saved
        )[3]  # fmt: skip
        literal = double_sum(dy[piece, 0], state[0], y[piece, 0], w_hh, "tanh")
        total, state = total + literal, after
    np.testing.assert_allclose(pieces, total, rtol=1e-9, atol=1e-11)


@given(rng=generators(), nonlinearity=st.sampled_from(["tanh", "relu"]), scale=st.floats(0.1, 1.5), **SIZES)
def test_the_gradient_stays_below_the_bound(rng, nonlinearity, scale, T, B, H):
    """‖dh_0‖ <= ‖U‖^T ‖dh_T‖ (E21)."""
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(rng, T, B, H)
    w_hh *= scale / np.linalg.norm(w_hh, 2)
    dh = rng.normal(size=(B, H))
    hyper = {"nonlinearity": nonlinearity}
    (y, _), saved = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, **hyper)
    dh0 = rnn.backward((0 * y, dh), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved, **hyper)[1]
    assert (np.linalg.norm(dh0, axis=1) <= scale**T * np.linalg.norm(dh, axis=1) * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(dy[t] + dh) * slope", "dy[t] * slope"),
        ("delta @ w_hh, dh)", "delta @ w_hh.T, dh)"),
        ("delta @ w_hh, dh)", "delta @ w_hh, 0 * dh)"),
        ("(dy[t] + dh) * slope, 0.0)", "(dy[t] + dh) * slope, dh)"),
        ("1 - h * h", "1 - h"),
        ("in_time(deltas, h0, not reverse)", "in_time(deltas, h0, reverse)"),
        ("flat(before(hs, reverse))", "flat(after(hs, reverse))"),
    ],
    ids=["recurrence", "transposed", "carried", "padding", "slope", "time", "state"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize("backend", [name for name in dispatch.backends("rnn") if name != "cuda"])
def test_what_is_kept_a_step_is_the_state(backend):
    T, B, H = 7, 3, 5
    with dispatch.use_backend(backend, "rnn"):
        (y, _), saved = rnn.forward(*drawn(np.random.default_rng(0), T, B, H))
    assert saved.shape == (T + 1, B, H)
    if backend == "cpu":
        assert np.shares_memory(y, saved)


def test_refusals():
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(np.random.default_rng(0), 4, 2, 3)
    lengths = np.asarray([4, 1])
    rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    with pytest.raises(ShapeError, match=r"rnn.forward: x has shape \(4, 2\), expected \(T, B, I\)"):
        rnn.forward(x[..., 0], h0, w_ih, w_hh)
    with pytest.raises(ShapeError, match=r"rnn.forward: h0 has shape \(1, 3\), expected \(2, H\)"):
        rnn.forward(x, h0[:1], w_ih, w_hh)
    with pytest.raises(ShapeError, match=r"rnn.forward: w_ih has shape \(3, 2\), expected \(3, 3\)"):
        rnn.forward(x, h0, w_ih[:, 1:], w_hh)
    with pytest.raises(ShapeError, match=r"rnn.forward: b_hh has shape \(2,\), expected \(3,\)"):
        rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh[1:])
    with pytest.raises(IndexError, match=r"lengths \(0 to 4\) contains 5, out of range"):
        rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths + 1)
    with pytest.raises(DtypeError, match=r"lengths \(0 to 4\) is float64"):
        rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths * 1.0)
    with pytest.raises(ShapeError, match=r"lengths has shape \(1,\), expected \(2,\)"):
        rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths[:1])
    with pytest.raises(ValueError, match="the nonlinearity is tanh or relu, not 'gelu'"):
        rnn.forward(x, h0, w_ih, w_hh, nonlinearity="gelu")
    with pytest.raises(ShapeError, match=r"rnn.backward: dh_n has shape \(3, 2\), expected \(2, 3\)"):
        rnn.backward((np.zeros((4, 2, 3)), h0.T), x, h0, w_ih, w_hh, b_ih, b_hh, None, None)
    with pytest.raises(DtypeError, match=r"w_hh is float32 but x is float64"):
        rnn.forward(x, h0, w_ih, w_hh.astype(np.float32))
