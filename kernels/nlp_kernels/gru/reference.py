"""Gated recurrent units (E24), back-propagation through time (E20), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.recurrent import before, choose, flat, in_time, join, real_steps, sigmoid, split, steps
from nlp_kernels.common.xp import array_namespace, unstack


def forward(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, reset_after=True, reverse=False):
    """(T, B, I), (B, H), … -> (y (T, B, H), h_n (B, H)), saved = states (T + 1, B, H), gates r, z, n, q (T, B, 4 H)."""
    xp, T, h, hs, ys, gates = array_namespace(x), x.shape[0], h0, [h0], [], []
    u = affine(x, w_ih, b_ih)  #                                          (1)  (T, B, 3 H)
    u, real = unstack(u), real_steps(lengths, T)
    (w_rz, w_n), (b_rz, b_n) = parts(w_hh), parts(b_hh)
    for t in steps(T, reverse):
        u_r, u_z, u_n = split(u[t], 3)
        v_r, v_z = split(affine(h, w_rz, b_rz), 2)
        r, z = sigmoid(u_r + v_r), sigmoid(u_z + v_z)  #                  (2) (3)  (B, H)
        q = affine(h, w_n, b_n) if reset_after else r * h
        n = xp.tanh(u_n + (r * q if reset_after else affine(q, w_n, b_n)))  # (4) or (5)
        new = (1 - z) * n + z * h  #                                      (6)
        h = choose(real[t], new, h)  #                                    (7)
        ys.append(choose(real[t], new, 0.0))  #                           (8)
        hs.append(h)
        gates.append(choose(real[t], join(r, z, n, q), 0.0))
    return (in_time(ys, h0, reverse), h), (in_time(hs, h0, reverse), in_time(gates, join(h0, h0, h0, h0), reverse))


def backward(
    dys, x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, reset_after=True, reverse=False
):
    """(dy, dh_n) -> gradients (dx, dh0, dw_ih, dw_hh, db_ih, db_hh), None for biases that are None."""
    (dy, dh), xp, inputs = dys, array_namespace(x), (x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    hs, gates = forward(*inputs, reset_after=reset_after, reverse=reverse)[1] if saved is None else saved
    h, dy, gate = map(unstack, (before(hs, reverse), dy, gates))
    real, deltas, (w_rz, w_n) = real_steps(lengths, x.shape[0]), [], parts(w_hh)
    for t in reversed(steps(x.shape[0], reverse)):
        r, z, n, q = split(gate[t], 4)
        dh_t = dh + dy[t]  #                                              (9)  (B, H)
        delta_z = dh_t * (h[t] - n) * z * (1 - z)  #                     (10)
        delta_n = dh_t * (1 - z) * (1 - n * n)  #                        (11)
        delta_v = delta_n * r if reset_after else delta_n  #             (12)
        p = delta_v @ w_n  #                                             (13)
        delta_r = (delta_n * q if reset_after else p * h[t]) * r * (1 - r)  # (14) or (15)
        through_n = p if reset_after else p * r
        dh_prev = dh_t * z + join(delta_r, delta_z) @ w_rz + through_n  # (16)
        dh = choose(real[t], dh_prev, dh)
        deltas.append(choose(real[t], join(delta_r, delta_z, delta_n, delta_v), 0.0))
    H, delta = h0.shape[1], flat(in_time(deltas, join(h0, h0, h0, h0), not reverse))
    rz, v = delta[:, : 2 * H], delta[:, 3 * H :]
    dw_ih = delta[:, : 3 * H].T @ flat(x)  #                             (18)  (3 H, I)
    h, q = flat(before(hs, reverse)), flat(gates)[:, 3 * H :]
    dw_hh = xp.concat((rz.T @ h, v.T @ (h if reset_after else q)))  #    (19)  (3 H, H)
    dx = xp.reshape(delta[:, : 3 * H] @ w_ih, x.shape)  #                (17)  (T, B, I)
    if b_ih is None:
        return dx, dh, dw_ih, dw_hh, None, None
    db = xp.sum(delta, axis=0)  #                                        (20)  (3 H,) each
    return dx, dh, dw_ih, dw_hh, db[: 3 * H], xp.concat((db[: 2 * H], db[3 * H :]))


def affine(x, w, b):
    """x Wᵀ + b, or x Wᵀ."""
    return x @ w.T if b is None else x @ w.T + b


def parts(w):
    """The rows of the weights, or the numbers of the bias, for r and z, and those for n."""
    if w is None:
        return None, None
    n = w.shape[0] // 3
    return w[: 2 * n, ...], w[2 * n :, ...]
