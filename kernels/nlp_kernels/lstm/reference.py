"""Long short-term memory (E25), back-propagation through time (E20), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.recurrent import (
    after,
    before,
    choose,
    flat,
    in_time,
    join,
    real_steps,
    sigmoid,
    split,
    steps,
)
from nlp_kernels.common.xp import array_namespace, unstack


def forward(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, reverse=False):
    """(T, B, I), (B, H), (B, H), … -> (y (T, B, H), h_n, c_n), saved = states h, c (T + 1, B, H), gates (T, B, 4 H)."""
    xp, T, h, c = array_namespace(x), x.shape[0], h0, c0
    ys, hs, cs, gates = [], [h0], [c0], []
    u = x @ w_ih.T  #                                               (1)  (T, B, 4 H)
    if b_ih is not None:
        u = u + (b_ih + b_hh)
    u, real = unstack(u), real_steps(lengths, T)
    for t in steps(T, reverse):
        a_i, a_f, a_g, a_o = split(u[t] + h @ w_hh.T, 4)  #         (2)  (B, H)
        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)  #       (3)
        g = xp.tanh(a_g)  #                                         (4)
        new_c = f * c + i * g  #                                    (5)
        new_h = o * xp.tanh(new_c)  #                               (6)
        h, c = choose(real[t], new_h, h), choose(real[t], new_c, c)  # (7)
        ys.append(choose(real[t], new_h, 0.0))  #                   (8)
        hs.append(h)
        cs.append(c)
        gates.append(choose(real[t], join(i, f, g, o), 0.0))
    saved = in_time(hs, h0, reverse), in_time(cs, c0, reverse), in_time(gates, join(h0, h0, h0, h0), reverse)
    return (in_time(ys, h0, reverse), h, c), saved


def backward(dys, x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, reverse=False):
    """(dy, dh_n, dc_n) -> gradients (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh), None for biases that are None."""
    (dy, dh, dc), xp, T = dys, array_namespace(x), x.shape[0]
    inputs = x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths
    hs, cs, gates = forward(*inputs, reverse=reverse)[1] if saved is None else saved
    begins, ends, dy, gates = map(unstack, (before(cs, reverse), after(cs, reverse), dy, gates))
    real, deltas = real_steps(lengths, T), []
    for t in reversed(steps(T, reverse)):
        (i, f, g, o), tanh_c = split(gates[t], 4), xp.tanh(ends[t])
        dh_t = dh + dy[t]  #                                        (9)  (B, H)
        dc_t = dc + dh_t * o * (1 - tanh_c * tanh_c)  #            (10)
        delta_i = dc_t * g * i * (1 - i)  #                        (11)
        delta_f = dc_t * begins[t] * f * (1 - f)  #                (12)
        delta_g = dc_t * i * (1 - g * g)  #                        (13)
        delta_o = dh_t * tanh_c * o * (1 - o)  #                   (14)
        delta = choose(real[t], join(delta_i, delta_f, delta_g, delta_o), 0.0)  # (B, 4 H)
        dc = choose(real[t], dc_t * f, dc)  #                      (15)
        dh = choose(real[t], delta @ w_hh, dh)  #                  (16)
        deltas.append(delta)
    delta = in_time(deltas, join(h0, h0, h0, h0), not reverse)
    dx = delta @ w_ih  #                                           (17)  (T, B, I)
    dw_ih = flat(delta).T @ flat(x)  #                             (18)  (4 H, I)
    dw_hh = flat(delta).T @ flat(before(hs, reverse))  #           (19)  (4 H, H)
    db = None if b_ih is None else xp.sum(delta, axis=(0, 1))  #   (20)  (4 H,)
    return dx, dh, dc, dw_ih, dw_hh, db, db
