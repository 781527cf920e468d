"""What the time loops of the recurrent kernels are made of: gates of a few sequences, computed as one long row.

A row of H = 200 fills twelve vectors and a half, and the half is computed number by number. So what a step computes of
M sequences lies gate by gate, a row of M H numbers for each: `room` (gates, M H).
"""

import numpy as np

from nlp_kernels import matmul
from nlp_kernels.common import vector
from nlp_kernels.common.compiled import DTYPES, device
from nlp_kernels.common.intrinsics import contiguous
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers

CACHED = 1024  # numbers of each gate


def supports(x, *inputs, **hyper):
    return type(x) is np.ndarray and x.dtype in DTYPES


def projected(x, w_ih, *biases):
    """u = x W_ihᵀ + Σ b, all steps in one product, in memory that is ours to write.  (T, B, I) -> (T, B, G)"""
    b = None if biases[0] is None else sum(biases[1:], biases[0])
    (T, B, n), G = x.shape, w_ih.shape[0]
    return matmul.forward(x.reshape(T * B, n), w_ih, b, transpose_w=True)[0].reshape(T, B, G)


def weight_gradients(delta, x, w_ih, b_ih):
    """dx = δ W_ih, dW_ih = δᵀ x, db = Σ δ or None.  (T, B, G), (T, B, I) -> (T, B, I), (G, I), (G,)"""
    (T, B, n), G = x.shape, w_ih.shape[0]
    rows, inputs = delta.reshape(T * B, G), x.reshape(T * B, n)
    dx, dw, db, _ = matmul.backward(rows, inputs, w_ih, b_ih, None, None, transpose_w=True)
    return dx.reshape(x.shape), dw, db


def states(T, first, reverse):
    """Room for the states, with the first in its place.  (B, H) -> (T + 1, B, H)"""
    room = empty((T + 1, *first.shape), first.dtype)
    room[T if reverse else 0] = first
    return room


def shares(B: int) -> tuple[int, int]:
    """Among how many workers the sequences are shared out, and the most that one takes."""
    W = workers(B) if B else 1
    return W, -(-B // W)


def rows_at_once(M, H):
    """Of how many of M sequences the gates stay in the first-level cache, at least one."""
    return max(1, min(M, CACHED // max(H, 1)))


def lengths_or_none(lengths):
    """As a kernel takes them: int64 (B,), or empty."""
    return np.empty(0, np.int64) if lengths is None else lengths.astype(np.int64, copy=False)


@device
def real_in(lengths, t, b0, b1):
    """How many of the sequences b0 … b1 step t is a step of."""
    if not len(lengths):
        return b1 - b0
    real = 0
    for b in range(b0, b1):
        real += lengths[b] > t
    return real


@device
def gather(room, rows, others, H):
    """Gate k of each row of the sum of both, (M, G) each, to row k of the room.  `others` may be empty."""
    for m in range(len(rows)):
        for k in range(rows.shape[1] // H):
            to, row = room[k, m * H : (m + 1) * H], contiguous(rows[m, k * H : (k + 1) * H])
            if len(others):
                other = contiguous(others[m, k * H : (k + 1) * H])
                for j in range(H):
                    to[j] = row[j] + other[j]
            else:
                for j in range(H):
                    to[j] = row[j]


@device
def scatter(rows, room, H):
    """The inverse of `gather`: row k of the room to gate k of each row."""
    for m in range(len(rows)):
        for k in range(rows.shape[1] // H):
            to, row = contiguous(rows[m, k * H : (k + 1) * H]), room[k, m * H : (m + 1) * H]
            for j in range(H):
                to[j] = row[j]


@device
def copy_rows(to, x):
    """The first columns of x (M, N) to `to` (M, H), H <= N."""
    for m in range(len(to)):
        to_m, x_m = contiguous(to[m]), contiguous(x[m])
        for j in range(len(to_m)):
            to_m[j] = x_m[j]


@device
def sigmoid(x):
    """σ of each entry, in place."""
    for i in range(len(x)):
        x[i] = vector.sigmoid(x[i])


@device
def tanh(x):
    """tanh of each entry, in place."""
    for i in range(len(x)):
        x[i] = vector.tanh(x[i])


@device
def tanh_of(to, x):
    """tanh of each entry of x, which is another array: one that overlaps would be computed number by number."""
    for i in range(len(x)):
        to[i] = vector.tanh(x[i])
