"""The recurrent layer, Numba: a worker takes some of the sequences through all steps, alone. README.md."""

from nlp_kernels import matmul
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.gates import (
    copy_rows,
    gather,
    lengths_or_none,
    projected,
    real_in,
    shares,
    states,
    supports,
    tanh_of,
    weight_gradients,
)
from nlp_kernels.common.memory import empty
from nlp_kernels.common.microkernel import product, whole_vectors
from nlp_kernels.common.panels import packed
from nlp_kernels.common.recurrent import before, flat

__all__ = ["backward", "forward", "supports"]


def forward(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh", reverse=False):
    (T, B, _), H, dtype, hs = x.shape, h0.shape[1], x.dtype, states(len(x), h0, reverse)
    y = empty((T, B, H), dtype) if lengths is not None else hs[:-1] if reverse else hs[1:]
    panels, W, M = packed(w_hh.T), *shares(B)
    _forward(
        W, hs, y, empty((W, M, whole_vectors(H, dtype)), dtype), empty((W, 1, M * H), dtype),
        projected(x, w_ih, b_ih, b_hh), panels, lengths_or_none(lengths), nonlinearity == "tanh", reverse,  # (1)
    )  # fmt: skip
    return (y, hs[0 if reverse else T].copy()), hs


def backward(
    dys, x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, saved=None, *, nonlinearity="tanh", reverse=False
):
    hyper = {"nonlinearity": nonlinearity, "reverse": reverse}
    hs = forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, **hyper)[1] if saved is None else saved
    (dy, dh_n), (T, B, _), H, dtype = dys, x.shape, h0.shape[1], x.dtype
    delta, dh, panels, W, M = empty((T, B, H), dtype), dh_n.copy(), packed(w_hh), *shares(B)
    wide = empty((W, M, whole_vectors(H, dtype)), dtype)
    _backward(W, delta, dh, wide, dy, hs, panels, lengths_or_none(lengths), nonlinearity == "tanh", reverse)
    dx, dw_ih, db = weight_gradients(delta, x, w_ih, b_ih)  # (7) (8) (10)
    dw_hh = matmul.product(flat(delta).T, flat(before(hs, reverse)))  # (9)
    return dx, dh, dw_ih, dw_hh, db, db


@kernel(
    "hs[S,B,H] y[T,B,H] wide[W,M,N] room[W,g,m] | u[T,B,H] panels[P,H,R] lengths:int64[n] saturates:bool reverse:bool",
    spread=True,
)
def _forward(w, hs, y, wide, room, u, panels, lengths, saturates, reverse):
    """Worker w: its share of the sequences, all steps."""
    (T, B, H), W = u.shape, len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    n, a, room = (b1 - b0) * H, wide[w, : b1 - b0], room[w]
    for step in range(T):
        t = T - 1 - step if reverse else step
        old, new = (t + 1, t) if reverse else (t, t + 1)
        if real_in(lengths, t, b0, b1):
            product(a, hs[old, b0:b1], panels, False)
            gather(room, u[t, b0:b1], a, H)
            _activate(hs[new, b0:b1].reshape(n), room[0, :n], saturates)  # (2)
        for b in range(b0, b1 if len(lengths) else b0):
            if t < lengths[b]:
                y[t, b] = hs[new, b]
            else:
                hs[new, b], y[t, b] = hs[old, b], 0  # (3) (4)


@kernel(
    "delta[T,B,H] dh[B,H] wide[W,M,N] | dy[T,B,H] hs[S,B,H] panels[P,H,R] lengths:int64[n] saturates:bool reverse:bool",
    spread=True,
)
def _backward(w, delta, dh, wide, dy, hs, panels, lengths, saturates, reverse):
    """Worker w: its share of the sequences, all steps, the last first."""
    (T, B, H), W = delta.shape, len(wide)
    b0, b1 = w * B // W, (w + 1) * B // W
    n, back, at = (b1 - b0) * H, wide[w, : b1 - b0], slice(b0, b1)
    for step in range(T):
        t = step if reverse else T - 1 - step
        real = real_in(lengths, t, b0, b1)
        if not real:
            delta[t, at] = 0
            continue
        h = hs[t if reverse else t + 1, at]
        _gradient(delta[t, at].reshape(n), dh[at].reshape(n), dy[t, at].reshape(n), h.reshape(n), saturates)  # (5)
        for b in range(b0, b1 if real < b1 - b0 else b0):
            if t >= lengths[b]:
                delta[t, b] = 0
        product(back, delta[t, at], panels, False)  # (6)
        if real == b1 - b0:
            copy_rows(dh[at], back)
        for b in range(b0, b1 if real < b1 - b0 else b0):
            if t < lengths[b]:
                copy_rows(dh[b : b + 1], back[b - b0 : b - b0 + 1])


@device
def _activate(h, a, saturates):
    if saturates:
        tanh_of(h, a)
    else:
        for i in range(len(a)):
            h[i] = a.dtype.type(0) if a[i] < 0 else a[i]


@device
def _gradient(delta, dh, dy, h, saturates):
    T = h.dtype.type
    if saturates:
        for i in range(len(h)):
            delta[i] = (dy[i] + dh[i]) * (T(1) - h[i] * h[i])
    else:
        for i in range(len(h)):
            delta[i] = (dy[i] + dh[i]) * T(h[i] > 0)
