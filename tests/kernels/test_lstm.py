"""LSTM beyond the contract: what the README promises by hand, what is kept a step, refusals, planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.lstm import HOT_PATH
from hypothesis import given
from nlp_kernels import dispatch, lstm
from nlp_kernels.errors import ShapeError
from planted import assert_derivative_catches

BACKENDS = [name for name in dispatch.backends("lstm") if name != "cuda"]


def drawn(rng, T, B, H, inputs=3):
    """x, h0, c0, w_ih, w_hh, b_ih, b_hh."""
    shapes = (T, B, inputs), (B, H), (B, H), (4 * H, inputs), (4 * H, H), (4 * H,), (4 * H,)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("backend", BACKENDS)
@given(rng=generators(), T=st.integers(1, 6))
def test_open_forget_gates_keep_the_memory_and_its_gradient(backend, rng, T):
    """f = 1 and i = 0: c_T = c_0, and dc_0 = dc_T, over any number of steps."""
    H = 4
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = drawn(rng, T, 2, H)
    b_ih[:H], b_ih[H : 2 * H] = -1e3, 1e3
    with dispatch.use_backend(backend, "lstm"):
        (y, _, c_n), saved = lstm.forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh)
        dc_n = rng.normal(size=c0.shape)
        dc0 = lstm.backward((0 * y, 0 * h0, dc_n), x, h0, c0, w_ih, w_hh, b_ih, b_hh, None, saved)[2]
    np.testing.assert_array_equal(c_n, c0)
    np.testing.assert_array_equal(dc0, dc_n)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_kept_a_step_is_gates_and_states(backend):
    T, B, H = 7, 3, 5
    with dispatch.use_backend(backend, "lstm"):
        (y, _, _), saved = lstm.forward(*drawn(np.random.default_rng(0), T, B, H))
    assert sum(a.size for a in saved) == T * B * 4 * H + 2 * (T + 1) * B * H
    if backend == "cpu":
        assert np.shares_memory(y, saved[0])


@pytest.mark.parametrize("backend", BACKENDS)
@given(rng=generators(), T=st.integers(1, 5), B=st.integers(1, 4))
def test_reverse_is_forward_on_the_turned_sequences(backend, rng, T, B):
    """Of each sequence its real part is turned around; so are its outputs."""
    x, *rest = drawn(rng, T, B, 3)
    lengths = rng.integers(0, T + 1, B)
    turned = np.zeros_like(x)
    for b, n in enumerate(lengths):
        turned[:n, b] = x[:n, b][::-1]
    with dispatch.use_backend(backend, "lstm"):
        (y, *finals), _ = lstm.forward(x, *rest, lengths, reverse=True)
        (z, *others), _ = lstm.forward(turned, *rest, lengths)
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(y[:n, b][::-1], z[:n, b], rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(y[n:, b], 0)
    for a, b in zip(finals, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_any_number_of_workers(workers, monkeypatch):
    """Sequences are shared out: none waits for, or adds to, another; the numbers are those of one worker."""
    cpu = pytest.importorskip("nlp_kernels.lstm.cpu")
    rng = np.random.default_rng(0)
    inputs = [a.astype(np.float32) for a in drawn(rng, 5, 7, 20)]
    lengths = rng.integers(0, 6, 7)
    dys = [rng.normal(size=s).astype(np.float32) for s in ((5, 7, 20), (7, 20), (7, 20))]
    results = []
    for n in (1, workers):
        monkeypatch.setattr(cpu, "shares", lambda B, n=n: (min(n, B), -(-B // min(n, B))))
        ys, saved = cpu.forward(*inputs, lengths)
        results.append([*ys, *cpu.backward(dys, *inputs, lengths, saved)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dc + dh_t * o * (1 - tanh_c * tanh_c)", "dc + dh_t * o"),
        ("dc_t * g * i * (1 - i)", "dc * g * i * (1 - i)"),
        ("dc_t * begins[t] * f * (1 - f)", "dc_t * ends[t] * f * (1 - f)"),
        ("dc_t * i * (1 - g * g)", "dc_t * i * g * (1 - g)"),
        ("dh_t * tanh_c * o * (1 - o)", "dh_t * tanh_c * (1 - o)"),
        ("dc_t * f, dc)", "dc_t, dc)"),
        ("dc_t * f, dc)", "dc_t * f, 0 * dc)"),
        ("delta @ w_hh, dh)", "delta @ w_hh, 0 * dh)"),
        ("flat(before(hs, reverse))", "flat(after(hs, reverse))"),
        ("join(delta_i, delta_f, delta_g, delta_o)", "join(delta_f, delta_i, delta_g, delta_o)"),
    ],
    ids=["shown", "early", "memory", "slope", "output", "forget", "carried-c", "carried-h", "state", "order"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


def test_refusals():
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = drawn(np.random.default_rng(0), 4, 2, 3)
    with pytest.raises(ShapeError, match=r"lstm.forward: c0 has shape \(2, 2\), expected \(2, 3\)"):
        lstm.forward(x, h0, c0[:, 1:], w_ih, w_hh)
    with pytest.raises(ShapeError, match=r"lstm.forward: w_hh has shape \(9, 3\), expected \(12, 3\)"):
        lstm.forward(x, h0, c0, w_ih, w_hh[3:])
    with pytest.raises(ShapeError, match=r"lstm.backward: dc_n has shape \(1, 3\), expected \(2, 3\)"):
        lstm.backward((np.zeros((4, 2, 3)), h0, c0[:1]), x, h0, c0, w_ih, w_hh, b_ih, b_hh, None, None)
