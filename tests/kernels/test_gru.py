"""GRU beyond the contract: its two conventions, what the README promises by hand, planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.gru import HOT_PATH
from hypothesis import given
from nlp_kernels import dispatch, gru
from nlp_kernels.errors import ShapeError
from planted import assert_derivative_catches

BACKENDS = [name for name in dispatch.backends("gru") if name != "cuda"]


def drawn(rng, T, B, H, inputs=3):
    """x, h0, w_ih, w_hh, b_ih, b_hh."""
    shapes = (T, B, inputs), (B, H), (3 * H, inputs), (3 * H, H), (3 * H,), (3 * H,)
    return [rng.normal(size=shape) for shape in shapes]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("backend", BACKENDS)
@given(rng=generators(), T=st.integers(1, 4), B=st.integers(1, 3))
def test_the_notes_cell_by_a_change_of_sign(backend, rng, T, B):
    """E24 as the notes write it: Γ_u weights the candidate, the reset comes before the product."""
    H = 3
    x, c, w_ih, w_hh, b_ih, b_hh = drawn(rng, T, B, H)
    (w_r, w_u, w_c), (u_r, u_u, u_c) = w_ih.reshape(3, H, 3), w_hh.reshape(3, H, H)
    (b_r, b_u, b_c) = (b_ih + b_hh).reshape(3, H)
    ours = [a.copy() for a in (w_ih, w_hh, b_ih, b_hh)]
    for a in ours:
        a[H : 2 * H] *= -1  # 1 - σ(a) = σ(-a)
    with dispatch.use_backend(backend, "gru"):
        (y, _), _ = gru.forward(x, c, *ours, reset_after=False)
    for t in range(T):
        gamma_u = sigmoid(x[t] @ w_u.T + c @ u_u.T + b_u)
        gamma_r = sigmoid(x[t] @ w_r.T + c @ u_r.T + b_r)
        candidate = np.tanh(x[t] @ w_c.T + (gamma_r * c) @ u_c.T + b_c)
        c = gamma_u * candidate + (1 - gamma_u) * c
        np.testing.assert_allclose(y[t], c, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_update_gate_keeps_the_state_and_its_gradient(backend, reset_after):
    """z = 1: h_T = h_0 and dh_0 = dh_T."""
    rng, H = np.random.default_rng(0), 4
    x, h0, w_ih, w_hh, b_ih, b_hh = drawn(rng, 6, 2, H)
    b_ih[H : 2 * H] = 1e3
    dh = rng.normal(size=h0.shape)
    with dispatch.use_backend(backend, "gru"):
        (y, h), saved = gru.forward(x, h0, w_ih, w_hh, b_ih, b_hh, reset_after=reset_after)
        dh0 = gru.backward(
            (0 * y, dh), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved, reset_after=reset_after
        )[1]  # fmt: skip
    np.testing.assert_array_equal(h, h0)
    np.testing.assert_array_equal(dh0, dh)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_kept_a_step_is_gates_and_the_state(backend):
    T, B, H = 7, 3, 5
    with dispatch.use_backend(backend, "gru"):
        (y, _), saved = gru.forward(*drawn(np.random.default_rng(0), T, B, H))
    assert sum(a.size for a in saved) == T * B * 4 * H + (T + 1) * B * H
    if backend == "cpu":
        assert np.shares_memory(y, saved[0])


def test_the_two_resets_are_two_functions():
    args = drawn(np.random.default_rng(0), 3, 2, 4)
    (after, _), _ = gru.forward(*args, reset_after=True)
    (before, _), _ = gru.forward(*args, reset_after=False)
    assert np.abs(after - before).max() > 0.01


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dh_t * (h[t] - n) * z * (1 - z)", "dh_t * (n - h[t]) * z * (1 - z)"),
        ("dh_t * (1 - z) * (1 - n * n)", "dh_t * z * (1 - n * n)"),
        ("delta_n * r if reset_after else delta_n", "delta_n"),
        ("delta_n * q if reset_after else p * h[t]", "delta_n * q"),
        ("p if reset_after else p * r", "p"),
        ("dh_t * z + join(delta_r, delta_z) @ w_rz + through_n", "dh_t * z + through_n"),
        ("dh_prev, dh)", "dh_prev, 0 * dh)"),
        ("(h if reset_after else q)", "h"),
        ("xp.concat((db[: 2 * H], db[3 * H :]))", "db[: 3 * H]"),
    ],
    ids=["sign", "candidate", "reset", "reset-before", "through", "gates", "carried", "operand", "bias"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


def test_refusals():
    x, h0, w_ih, w_hh, *_ = drawn(np.random.default_rng(0), 4, 2, 3)
    with pytest.raises(ShapeError, match=r"gru.forward: w_hh has shape \(9, 2\), expected \(9, 3\)"):
        gru.forward(x, h0, w_ih, w_hh[:, 1:])
