"""GRU, Numba: a worker takes some of the sequences through all steps, without waiting for the others. README.md."""

import numpy as np

from nlp_kernels import matmul
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.gates import (
    gather,
    lengths_or_none,
    projected,
    real_in,
    scatter,
    shares,
    sigmoid,
    states,
    supports,
    tanh,
    weight_gradients,
)
from nlp_kernels.common.memory import empty
from nlp_kernels.common.microkernel import product, whole_vectors
from nlp_kernels.common.panels import packed
from nlp_kernels.common.recurrent import before, flat
from nlp_kernels.common.vector import EXACT
from nlp_kernels.matmul.cpu import activate_backward

__all__ = ["backward", "forward", "supports"]


def forward(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, reset_after=True, reverse=False):
    (T, B, _), H, dtype, hs = x.shape, h0.shape[1], x.dtype, states(len(x), h0, reverse)
    gates, bias = empty((T, B, 4 * H), dtype), np.zeros(H, dtype)
    if b_ih is not None and reset_after:  # r multiplies b_hn; everything else is added once for all steps
        b_hh, bias = np.concatenate((b_hh[: 2 * H], bias)), b_hh[2 * H :]
    y = empty((T, B, H), dtype) if lengths is not None else hs[:-1] if reverse else hs[1:]
    panels, panels_n, W, M = packed(w_hh[: 2 * H].T), packed(w_hh[2 * H :].T), *shares(B)
    _forward(
        W, hs, gates, y, empty((W, M, whole_vectors(2 * H, dtype)), dtype),
        empty((W, M, whole_vectors(H, dtype)), dtype), empty((W, 4, M * H), dtype),
        projected(x, w_ih, b_ih, b_hh), bias,  # (1)
        panels, panels_n, lengths_or_none(lengths), reset_after, reverse,
    )  # fmt: skip
    return (y, hs[0 if reverse else T].copy()), (hs, gates)


def backward(
    dys, x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, reset_after=True, reverse=False
):
    hyper = {"reset_after": reset_after, "reverse": reverse}
    hs, gates = forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, **hyper)[1] if saved is None else saved
    (dy, dh_n), (T, B, _), H, dtype = dys, x.shape, h0.shape[1], x.dtype
    delta, dh, panels, W, M = empty((T, B, 3 * H), dtype), dh_n.copy(), packed(w_hh), *shares(B)
    delta_h = empty((T, B, 3 * H), dtype) if reset_after else delta  # of u and of h W_hhᵀ + b_hh
    _backward(
        W, delta, delta_h, dh, empty((W, M, whole_vectors(H, dtype)), dtype), empty((W, 6, M * H), dtype),
        dy, hs, gates, panels, lengths_or_none(lengths), reset_after, reverse,
    )  # fmt: skip
    dx, dw_ih, db_ih = weight_gradients(delta, x, w_ih, b_ih)  # (17) (18) (20)
    h, rows = flat(before(hs, reverse)), flat(delta_h).T
    if reset_after:
        dw_hh = matmul.product(rows, h)  # (19)
        db_hh = None if b_ih is None else activate_backward(rows.T, None, activation="none")[1]
    else:
        q, db_hh = flat(gates)[:, 3 * H :], db_ih
        dw_hh = np.concatenate((matmul.product(rows[: 2 * H], h), matmul.product(rows[2 * H :], q)))
    return dx, dh, dw_ih, dw_hh, db_ih, db_hh


@kernel(
    "hs[S,B,H] gates[T,B,G] y[T,B,H] wide[W,M,N] wide_n[W,M,L] room[W,g,m] | u[T,B,U] bias[H] panels[P,H,R] "
    "panels_n[Q,H,R] lengths:int64[n] reset_after:bool reverse:bool",
    spread=True,
)
def _forward(w, hs, gates, y, wide, wide_n, room, u, bias, panels, panels_n, lengths, reset_after, reverse):
    """Worker w: its share of the sequences, all steps."""
    (T, B, _), H, W = u.shape, hs.shape[2], len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    at, n, a, a_n, room = slice(b0, b1), (b1 - b0) * H, wide[w, : b1 - b0], wide_n[w, : b1 - b0], room[w]
    for step in range(T):
        t = T - 1 - step if reverse else step
        old, new = (t + 1, t) if reverse else (t, t + 1)
        if real_in(lengths, t, b0, b1):
            u_t, h, r, z, c, q = u[t, at], hs[old, at], room[0, :n], room[1, :n], room[2, :n], room[3, :n]
            product(a, h, panels, False)
            gather(room, u_t[:, : 2 * H], a, H)
            sigmoid(r)  # (2)
            sigmoid(z)  # (3)
            gather(room[2:], u_t[:, 2 * H :], a[:0], H)
            if reset_after:
                product(a_n, h, panels_n, False)
                _plus(room[3], a_n, bias)
                _add_product(c, r, q)  # (4)
            else:
                _product(q, r, h.reshape(n))
                product(a_n, q.reshape(b1 - b0, H), panels_n, False)
                gather(room[2:], u_t[:, 2 * H :], a_n, H)  # (5)
            tanh(c)
            _mix(hs[new, at].reshape(n), z, c, h.reshape(n))  # (6)
            scatter(gates[t, at], room, H)
        for b in range(b0, b1 if len(lengths) else b0):
            if t < lengths[b]:
                y[t, b] = hs[new, b]
            else:
                hs[new, b], gates[t, b], y[t, b] = hs[old, b], 0, 0  # (7) (8)


@kernel(
    "delta[T,B,U] delta_h[T,B,U] dh[B,H] wide[W,M,N] room[W,g,m] | dy[T,B,H] hs[S,B,H] gates[T,B,G] panels[P,U,R] "
    "lengths:int64[n] reset_after:bool reverse:bool",
    spread=True,
)
def _backward(w, delta, delta_h, dh, wide, room, dy, hs, gates, panels, lengths, reset_after, reverse):
    """Worker w: its share of the sequences, all steps, the last first."""
    (T, B, _), H, W = delta.shape, dh.shape[1], len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    at, M, back, room = slice(b0, b1), b1 - b0, wide[w, : b1 - b0], room[w]
    n = M * H
    r, z, c, q, rest, p = room[0, :n], room[1, :n], room[2, :n], room[3, :n], room[4, :n], room[5, :n]
    for step in range(T):
        t = step if reverse else T - 1 - step
        real = real_in(lengths, t, b0, b1)
        if not real:
            delta[t, at], delta_h[t, at] = 0, 0
            continue
        h, delta_t, delta_v = hs[t + 1 if reverse else t, at].reshape(n), delta[t, at], delta_h[t, at]
        gather(room, gates[t, at], back[:0], H)
        _of_candidate(z, c, rest, dh[at].reshape(n), dy[t, at].reshape(n), h)
        if reset_after:
            _of_reset(r, q, c)
            scatter(delta_v[:, 2 * H :], room[3:], H)
        else:
            scatter(delta_t[:, 2 * H :], room[2:], H)
            product(back, delta_t[:, 2 * H :], panels[:, 2 * H :], False)  # (13)
            gather(room[5:], back[:, :H], back[:0], H)
            _of_reset_before(r, rest, p, h)
        scatter(delta_t, room, H)
        scatter(delta_v[:, : 2 * H], room, H)
        for b in range(b0, b1 if real < M else b0):
            if t >= lengths[b]:
                delta[t, b], delta_h[t, b] = 0, 0
        if reset_after:
            product(back, delta_v, panels, False)  # (13) (16)
        else:
            product(back, delta_t[:, : 2 * H], panels[:, : 2 * H], False)  # (16)
        for b in range(b0, b1):
            if real == M or t < lengths[b]:
                _sum(dh[b], room[4, (b - b0) * H : (b - b0 + 1) * H], back[b - b0])


@device
def _plus(x, a, b):
    """Rows of a (M, N) + b (H,), one after the other."""
    H = len(b)
    for m in range(len(a)):
        to, row = x[m * H : (m + 1) * H], a[m]
        for j in range(H):
            to[j] = row[j] + b[j]


@device
def _add_product(c, r, q):
    for j in range(len(c)):
        c[j] += r[j] * q[j]


@device
def _product(q, r, h):
    for j in range(len(q)):
        q[j] = r[j] * h[j]


@device(fastmath=EXACT)  # reordered, c + z (h - c), a closed gate would not keep the state to the last digit
def _mix(new, z, c, h):
    T = z.dtype.type
    for j in range(len(new)):
        new[j] = (T(1) - z[j]) * c[j] + z[j] * h[j]


@device
def _sum(to, a, b):
    for j in range(len(to)):
        to[j] = a[j] + b[j]


@device
def _of_candidate(z, c, rest, dh, dy, h):
    """z, c to δ_z, δ_n; rest: what goes through z ⊙ h."""
    T = z.dtype.type
    for j in range(len(z)):
        rest[j] = dh[j] + dy[j]  # (9)
    for j in range(len(z)):
        z_j, c_j, dh_j = z[j], c[j], rest[j]
        z[j] = dh_j * (h[j] - c_j) * z_j * (T(1) - z_j)  # (10)
        c[j] = dh_j * (T(1) - z_j) * (T(1) - c_j * c_j)  # (11)
        rest[j] = dh_j * z_j


@device
def _of_reset(r, q, delta_n):
    """r, q to δ_r, δ_v."""
    T = r.dtype.type
    for j in range(len(r)):
        r_j, q_j = r[j], q[j]
        q[j] = delta_n[j] * r_j  # (12)
        r[j] = delta_n[j] * q_j * r_j * (T(1) - r_j)  # (14)


@device
def _of_reset_before(r, rest, p, h):
    """r to δ_r; rest: and what goes through r ⊙ h."""
    T = r.dtype.type
    for j in range(len(r)):
        r_j = r[j]
        r[j] = p[j] * h[j] * r_j * (T(1) - r_j)  # (15)
        rest[j] += p[j] * r_j
