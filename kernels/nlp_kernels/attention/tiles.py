"""What the tiles of `cpu.py` are made of: rows copied and padded, masks, the softmax carried on, work shared out."""

import numpy as np

from nlp_kernels.common import dropout
from nlp_kernels.common.compiled import device
from nlp_kernels.common.vector import contiguous, exp, maximum


def shares(work, workers):
    """Where each worker begins, and the last ends, so that all have about the same: (units,) -> int64 (workers + 1,)"""
    done = np.cumsum(work.ravel(), dtype=np.int64)
    total = done[-1] if done.size else 0
    first = np.searchsorted(done, np.arange(workers + 1) * total // workers, side="right")
    first[0], first[-1] = 0, done.size
    return first.astype(np.int64)


@device
def copy(to, x, scale):
    """scale x, rows of any stride (N, D), -> the first D columns of `to`, which has at least N rows; then zeros."""
    N, D = x.shape
    for n in range(N):
        to_n, x_n = to[n], contiguous(x[n])
        for d in range(D):
            to_n[d] = x_n[d] * scale
        for d in range(D, len(to_n)):
            to_n[d] = 0


@device
def copy_row(to, x, scale):
    """scale x -> `to`, as much as there is room for."""
    for d in range(len(to)):
        to[d] = x[d] * scale


@device
def hide(s, visible, keep):
    """-∞ for the scores of keys that a query may not see: those after the first `visible`, and those not kept."""
    hidden = -s.dtype.type(np.inf)
    if len(keep) and keep.strides[0] == 1:
        row = contiguous(keep)
        for j in range(len(row)):
            s[j] = s[j] if row[j] else hidden  # (2) (3)
    else:
        for j in range(len(keep)):  # the same for all keys: a stride of 0
            s[j] = s[j] if keep[j] else hidden  # (2) (3)
    for j in range(max(visible, 0), len(s)):
        s[j] = hidden  # (2) (3)


@device
def carry_on(s, m, z):
    """A row of scores to exponentials, in place, after tiles with maximum m and sum z.

    -> the new maximum and sum, and the factor e^(m - m') by which what was summed before has shrunk.
    """
    top = m
    for j in range(len(s)):
        top = maximum(top, s[j])  # (4)
    shift = top if np.isfinite(top) else s.dtype.type(0)
    total = s.dtype.type(0)
    for j in range(len(s)):
        e = exp(s[j] - shift)  # (5)
        s[j] = e
        total += e  # (6)
    shrunk = exp(m - shift)
    return top, z * shrunk + total, shrunk


@device
def drop_weights(e, factor, words, index, drop, rescale):
    """e ⊙ M, in place."""
    factor = factor[: len(e)]
    dropout.factors(factor, words, index, drop, rescale)
    for j in range(len(e)):
        e[j] *= factor[j]  # (9)


@device
def weights_and_gradient(s, dp, lse, delta):
    """A row of scores and of dO Vᵀ, to P and dS, in place."""
    for j in range(len(s)):
        p = exp(s[j] - lse)  # (11)
        dp[j] = p * (dp[j] - delta)  # (15)
        s[j] = p


@device
def dropped_weights_and_gradient(s, dp, lse, delta, factor, words, index, drop, rescale):
    """The same with dropout: P ⊙ M and dS."""
    factor = factor[: len(s)]
    dropout.factors(factor, words, index, drop, rescale)
    for j in range(len(s)):
        p = exp(s[j] - lse)  # (11)
        dp[j] = p * (dp[j] * factor[j] - delta)  # (13) (15)
        s[j] = p * factor[j]  # (9)
