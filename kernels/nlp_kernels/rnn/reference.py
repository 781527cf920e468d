"""A recurrent layer (E17), back-propagation through time (E20), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.recurrent import after, before, choose, flat, in_time, real_steps, steps
from nlp_kernels.common.xp import array_namespace, unstack

NONLINEARITIES = ("tanh", "relu")


def forward(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh", reverse=False):
    """(T, B, I), (B, H), … -> (y (T, B, H), h_n (B, H)), saved = the states (T + 1, B, H)."""
    (T, _, _), h, hs, ys = x.shape, h0, [h0], []
    u = x @ w_ih.T  #                                                       (1)  (T, B, H)
    if b_ih is not None:
        u = u + (b_ih + b_hh)
    u, real = unstack(u), real_steps(lengths, T)
    for t in steps(T, reverse):
        new = activate(u[t] + h @ w_hh.T, nonlinearity)  #                  (2)  (B, H)
        h = choose(real[t], new, h)  #                                      (3)  (B, H)
        ys.append(choose(real[t], new, 0.0))  #                             (4)  (B, H)
        hs.append(h)
    return (in_time(ys, h0, reverse), h), in_time(hs, h0, reverse)


def backward(
    dys, x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, nonlinearity="tanh", reverse=False
):
    """(dy, dh_n) -> gradients (dx, dh0, dw_ih, dw_hh, db_ih, db_hh), None for biases that are None."""
    (dy, dh), T, inputs = dys, x.shape[0], (x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    hs = forward(*inputs, nonlinearity=nonlinearity, reverse=reverse)[1] if saved is None else saved
    ends, dy, real, deltas = unstack(after(hs, reverse)), unstack(dy), real_steps(lengths, T), []
    for t in reversed(steps(T, reverse)):
        slope = derivative(ends[t], nonlinearity)
        delta = choose(real[t], (dy[t] + dh) * slope, 0.0)  #               (5)  (B, H)
        dh = choose(real[t], delta @ w_hh, dh)  #                           (6)  (B, H)
        deltas.append(delta)
    delta = in_time(deltas, h0, not reverse)
    dx = delta @ w_ih  #                                                    (7)  (T, B, I)
    dw_ih = flat(delta).T @ flat(x)  #                                      (8)  (H, I)
    dw_hh = flat(delta).T @ flat(before(hs, reverse))  #                    (9)  (H, H)
    db = None if b_ih is None else array_namespace(x).sum(delta, axis=(0, 1))  # (10)  (H,)
    return dx, dh, dw_ih, dw_hh, db, db


def activate(a, nonlinearity):
    """g(a)."""
    xp = array_namespace(a)
    return xp.tanh(a) if nonlinearity == "tanh" else xp.where(a < 0, 0.0, a)  # NaN stays


def derivative(h, nonlinearity):
    """g'(a) as a function of h = g(a): 1 - h² or 1[h > 0]."""
    return 1 - h * h if nonlinearity == "tanh" else array_namespace(h).astype(h > 0, h.dtype)
