"""What the tiles of `cpu.py` are made of: rows copied and padded, masks, the softmax carried on, work shared out."""

import numpy as np

from nlp_kernels.common.compiled import device
from nlp_kernels.common.dropout import factors
from nlp_kernels.common.intrinsics import contiguous, maximum
from nlp_kernels.common.vector import exp


def work_of_queries(lengths, T, S, R, causal):
    """How many keys each tile of R queries has to look at: (B, tiles)."""
    ends = np.minimum(np.arange(R, T + R, R), T) + (S - T) if causal else np.full(-(-T // R), S)
    return np.minimum(lengths[:, None], np.maximum(ends, 0))


def work_of_keys(lengths, T, S, C, causal):
    """How many queries look at each tile of C keys: (B, tiles)."""
    starts = np.arange(0, S, C)
    queries = T - np.maximum(starts - (S - T), 0) if causal else np.full(len(starts), T)
    return np.where(starts < lengths[:, None], queries, 0)


def shares(work, workers):
    """Where each worker begins, and the last ends, so that all have about the same: (units,) -> int64 (workers + 1,)"""
    done = np.cumsum(work.ravel() + 16)  # something to do has every unit
    total = done[-1] if done.size else 0
    first = np.searchsorted(done, np.arange(workers + 1) * total // workers, side="right")
    first[-1] = done.size
    return first


@device(inline=False)
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


@device(inline=False)
def hide(ss, M, width, n, visible, keep):
    """-∞ for the scores of keys that a query may not see, of those of M queries and `width` keys, n of them real.

    The first query sees `visible` of its keys, each further one one more; keep: (M, n), or empty.
    """
    hidden = -ss.dtype.type(np.inf)
    for r in range(M):
        s = ss[r]
        if len(keep) and keep.strides[1] == 1:
            row = contiguous(keep[r])
            for j in range(len(row)):
                s[j] = s[j] if row[j] else hidden  # (2) (3)
        elif len(keep):
            for j in range(n):
                s[j] = s[j] if keep[r, j] else hidden  # (2) (3)
        for j in range(max(min(n, visible + r), 0), width):
            s[j] = hidden  # (2) (3)


@device(inline=False)
def carry_on(ss, M, width, m, z, shrunk):
    """Rows of scores to exponentials, in place, after tiles of keys that gave the maxima m and the sums z.

    m, z: updated; shrunk: e^(m - m'), the factor by which whatever was summed before has shrunk.
    """
    nothing = ss.dtype.type(0)
    for r in range(M):
        s = ss[r][:width]
        top = m[r]
        for j in range(len(s)):
            top = maximum(top, s[j])  # (4)
        shift = top if np.isfinite(top) else nothing
        total = nothing
        for j in range(len(s)):
            e = exp(s[j] - shift)  # (5)
            s[j] = e
            total += e  # (6)
        shrunk[r] = exp(m[r] - shift)
        z[r] = z[r] * shrunk[r] + total  # (6)
        m[r] = top


@device(inline=False)
def draw(masks, M, n, words, index, S, dropout, rescale):
    """The mask for M rows of n weights, the entries from `index` on in rows of S."""
    for r in range(M):
        factors(masks[r][:n], words, index + r * S, dropout, rescale)


@device(inline=False)
def times(ss, masks, M, n):
    """The tile ⊙ the mask, in place."""
    for r in range(M):
        s, mask = ss[r], masks[r]
        for j in range(n):
            s[j] *= mask[j]  # (9)


@device(inline=False)
def weights_and_gradients(ps, ds, M, width, lse, delta):
    """Rows of scores and of dO Vᵀ, to P and dS, in place."""
    for r in range(M):
        p, d, l_r, delta_r = ps[r][:width], ds[r][:width], lse[r], delta[r]
        for j in range(len(p)):
            e = exp(p[j] - l_r)  # (11)
            d[j] = e * (d[j] - delta_r)  # (15)
            p[j] = e
