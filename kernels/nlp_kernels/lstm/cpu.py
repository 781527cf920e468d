"""LSTM, Numba: a worker takes some of the sequences through all steps, without waiting for the others. README.md."""

from nlp_kernels import matmul
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.gates import (
    copy_rows,
    gather,
    lengths_or_none,
    projected,
    real_in,
    rows_at_once,
    scatter,
    shares,
    sigmoid,
    states,
    supports,
    tanh,
    tanh_of,
    weight_gradients,
)
from nlp_kernels.common.memory import empty
from nlp_kernels.common.microkernel import product, whole_vectors
from nlp_kernels.common.panels import packed
from nlp_kernels.common.recurrent import before, flat

__all__ = ["backward", "forward", "supports"]


def forward(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, reverse=False):
    (T, B, _), H, dtype = x.shape, h0.shape[1], x.dtype
    gates = projected(x, w_ih, b_ih, b_hh)  # (1)
    hs, cs = states(T, h0, reverse), states(T, c0, reverse)
    y = empty((T, B, H), dtype) if lengths is not None else hs[:-1] if reverse else hs[1:]
    panels, W, M = packed(w_hh.T), *shares(B)
    _forward(
        W, hs, cs, gates, y, empty((W, M, whole_vectors(4 * H, dtype)), dtype),
        empty((W, 5, rows_at_once(M, H) * H), dtype), panels, lengths_or_none(lengths), reverse,
    )  # fmt: skip
    last = 0 if reverse else T
    return (y, hs[last].copy(), cs[last].copy()), (hs, cs, gates)


def backward(dys, x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, reverse=False):
    if saved is None:
        saved = forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, reverse=reverse)[1]
    (dy, dh_n, dc_n), (hs, cs, gates), (B, H), dtype = dys, saved, h0.shape, x.dtype
    delta, dh, dc, panels, W, M = empty(gates.shape, dtype), dh_n.copy(), dc_n.copy(), packed(w_hh), *shares(B)
    _backward(
        W, delta, dh, dc, empty((W, M, whole_vectors(H, dtype)), dtype), empty((W, 5, rows_at_once(M, H) * H), dtype),
        dy, cs, gates, panels, lengths_or_none(lengths), reverse,
    )  # fmt: skip
    dx, dw_ih, db = weight_gradients(delta, x, w_ih, b_ih)  # (17) (18) (20)
    dw_hh = matmul.product(flat(delta).T, flat(before(hs, reverse)))  # (19)
    return dx, dh, dc, dw_ih, dw_hh, db, db


@kernel(
    "hs[S,B,H] cs[S,B,H] gates[T,B,G] y[T,B,H] wide[W,M,N] room[W,g,m] | panels[P,H,R] lengths:int64[n] reverse:bool",
    spread=True,
)
def _forward(w, hs, cs, gates, y, wide, room, panels, lengths, reverse):
    """Worker w: its share of the sequences, all steps."""
    (T, B, _), W = gates.shape, len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    M = b1 - b0
    a, room, rows = wide[w, :M], room[w], max(room.shape[2] // max(hs.shape[2], 1), 1)
    for step in range(T):
        t = T - 1 - step if reverse else step
        old, new = (t + 1, t) if reverse else (t, t + 1)
        real = real_in(lengths, t, b0, b1)
        if real:
            product(a, hs[old, b0:b1], panels, False)
        for m in range(0, M if real == M else 0, rows):
            at, last = slice(b0 + m, min(b0 + m + rows, b1)), min(m + rows, M)
            _cells(hs[new, at], cs[new, at], gates[t, at], room, a[m:last], cs[old, at])
        for m in range(M if len(lengths) else 0):
            b, one = b0 + m, slice(b0 + m, b0 + m + 1)
            if t >= lengths[b]:
                hs[new, b], cs[new, b], gates[t, b], y[t, b] = hs[old, b], cs[old, b], 0, 0  # (7) (8)
                continue
            if real < M:
                _cells(hs[new, one], cs[new, one], gates[t, one], room, a[m : m + 1], cs[old, one])
            y[t, b] = hs[new, b]


@kernel(
    "delta[T,B,G] dh[B,H] dc[B,H] wide[W,M,N] room[W,g,m] | dy[T,B,H] cs[S,B,H] gates[T,B,G] panels[P,G,R] "
    "lengths:int64[n] reverse:bool",
    spread=True,
)
def _backward(w, delta, dh, dc, wide, room, dy, cs, gates, panels, lengths, reverse):
    """Worker w: its share of the sequences, all steps, the last first."""
    (T, B, _), W = gates.shape, len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    M = b1 - b0
    back, room, rows = wide[w, :M], room[w], max(room.shape[2] // max(dh.shape[1], 1), 1)
    for step in range(T):
        t = step if reverse else T - 1 - step
        old, new = (t + 1, t) if reverse else (t, t + 1)
        real = real_in(lengths, t, b0, b1)
        for m in range(0, M if real == M else 0, rows):
            at = slice(b0 + m, min(b0 + m + rows, b1))
            _gradients(delta[t, at], dh[at], dc[at], room, dy[t, at], gates[t, at], cs[old, at], cs[new, at])
        for m in range(M if real < M else 0):
            at = slice(b0 + m, b0 + m + 1)
            if t < lengths[b0 + m]:
                _gradients(delta[t, at], dh[at], dc[at], room, dy[t, at], gates[t, at], cs[old, at], cs[new, at])
            else:
                delta[t, b0 + m] = 0
        if real:
            product(back, delta[t, b0:b1], panels, False)  # (16)
        if real == M:
            copy_rows(dh[b0:b1], back)
        for m in range(M if real < M else 0):
            if t < lengths[b0 + m]:
                copy_rows(dh[b0 + m : b0 + m + 1], back[m : m + 1])


@device(inline=False)
def _cells(h, c, gates, room, a, c_old):
    """A step of some sequences: gates hold u and become i, f, g, o (M, 4 H); a: h W_hhᵀ; h, c: (M, H) are new."""
    M, H = h.shape
    n = M * H
    i, f, g, o, tanh_c = room[0, :n], room[1, :n], room[2, :n], room[3, :n], room[4, :n]
    h, c, c_old = h.reshape(n), c.reshape(n), c_old.reshape(n)
    gather(room, gates, a, H)  # (2)
    sigmoid(i)  # (3)
    sigmoid(f)
    tanh(g)  # (4)
    sigmoid(o)
    for j in range(n):
        c[j] = f[j] * c_old[j] + i[j] * g[j]  # (5)
    tanh_of(tanh_c, c)
    for j in range(n):
        h[j] = o[j] * tanh_c[j]  # (6)
    scatter(gates, room, H)


@device(inline=False)
def _gradients(delta, dh, dc, room, dy, gates, c_old, c):
    """A step back of some sequences: delta (M, 4 H); dh, dc (M, H): of the states after the step, dc then before it."""
    M, H = dh.shape
    n, T = M * H, dh.dtype.type
    i, f, g, o, tanh_c = room[0, :n], room[1, :n], room[2, :n], room[3, :n], room[4, :n]
    dh, dc, dy, c_old = dh.reshape(n), dc.reshape(n), dy.reshape(n), c_old.reshape(n)
    gather(room, gates, gates[:0], H)
    tanh_of(tanh_c, c.reshape(n))
    for j in range(n):
        dh[j] += dy[j]  # (9)
    for j in range(n):
        dc[j] += dh[j] * o[j] * (T(1) - tanh_c[j] * tanh_c[j])  # (10)
        o[j] = dh[j] * tanh_c[j] * o[j] * (T(1) - o[j])  # (14)
    for j in range(n):
        i_j, g_j = i[j], g[j]
        i[j] = dc[j] * g_j * i_j * (T(1) - i_j)  # (11)
        g[j] = dc[j] * i_j * (T(1) - g_j * g_j)  # (13)
    for j in range(n):
        f_j = f[j]
        f[j] = dc[j] * c_old[j] * f_j * (T(1) - f_j)  # (12)
        dc[j] = dc[j] * f_j  # (15)
    scatter(delta, room, H)
