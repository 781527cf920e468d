"""Attention, Numba: tiles of scores in the cache, products in registers, memory linear in T and S. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.attention.reference import scale_or_default
from nlp_kernels.attention.tiles import (
    carry_on,
    copy,
    copy_row,
    drop_weights,
    dropped_weights_and_gradient,
    hide,
    shares,
    weights_and_gradient,
)
from nlp_kernels.common import check
from nlp_kernels.common import dropout as mask
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.microkernel import columns, pack_transposed, product
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import contiguous

QUERIES, KEYS = 32, 128  # of a tile of scores
HEADS, BY_KEYS, BY_QUERIES = 0, 1, 2  # how the backward's work is shared out


def supports(q, k, v, keep=None, key_lengths=None, **hyper):
    return type(q) is np.ndarray and q.dtype in (np.float32, np.float64)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    (B, H, T, D), S, Dv, dtype = q.shape, k.shape[2], v.shape[3], q.dtype
    o, lse = empty((B, T, H, Dv), dtype), empty((B, H, T, 1), dtype)  # heads side by side: joining them is a view
    R, C, NR, E = *_tile(T, S, dtype), columns(dtype), _wide(Dv, dtype)
    keep, lengths = _masks(q, k, keep, key_lengths)
    ends = np.minimum(np.arange(R, T + R, R), T) + (S - T) if causal else np.full(-(-T // R), S)
    work = np.minimum(lengths[:, None, None], np.maximum(ends, 0)) + NR
    first = shares(np.broadcast_to(work, (B, H, len(ends))), workers(B * H * len(ends)))
    W = len(first) - 1
    _forward(
        o, lse, empty((W, -(-S // NR), D, NR), dtype), empty((W, S, E), dtype), empty((W, R, D), dtype),
        empty((W, R, C), dtype), empty((W, R, E), dtype), empty((W, R), dtype), empty((W, R), dtype),
        empty((W, C), dtype), empty((W, mask.room(C)), np.uint32),
        q, k, v, keep, lengths, first, scale_or_default(scale, q), causal, *mask.arguments(dropout),
    )  # fmt: skip
    o = o.transpose(0, 2, 1, 3)
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    o, lse = saved
    (B, H, T, D), S, Dv, dtype = q.shape, k.shape[2], v.shape[3], q.dtype
    dq, dk, dv = empty((B, T, H, D), dtype), empty((B, S, H, D), dtype), empty((B, S, H, Dv), dtype)
    R, C, NR, E, Ev = *_tile(T, S, dtype), columns(dtype), _wide(D, dtype), _wide(Dv, dtype)
    keep, lengths = _masks(q, k, keep, key_lengths)
    tiles = {HEADS: 1, BY_KEYS: -(-S // C), BY_QUERIES: -(-T // R)}
    for way in (HEADS,) if B * H >= workers(B * H * T) else (BY_KEYS, BY_QUERIES):
        work = np.repeat(lengths + NR, H * tiles[way])
        first = shares(work, workers(len(work)))
        W = len(first) - 1
        _backward(
            dq, dk, dv, empty((W, T, E), dtype), empty((W, T, Ev), dtype), empty((W, T, E), dtype),
            empty((W, T), dtype), empty((W, C // NR, D, NR), dtype), empty((W, C // NR, Dv, NR), dtype),
            empty((W, C, E), dtype), empty((W, C, E), dtype), empty((W, C, Ev), dtype),
            empty((W, R, C), dtype), empty((W, R, C), dtype), empty((W, C), dtype), empty((W, mask.room(C)), np.uint32),
            check.rows(do), q, k, v, check.rows(o), lse, keep, lengths, first, way, tiles[way],
            scale_or_default(scale, q), causal, *mask.arguments(dropout),
        )  # fmt: skip
    return tuple(x.transpose(0, 2, 1, 3) for x in (dq, dk, dv))


def _tile(T, S, dtype):
    """Queries and keys of a tile of scores; the keys are whole panels."""
    return max(min(QUERIES, T), 1), _wide(max(min(KEYS, S), 1), dtype)


def _wide(n, dtype):
    return -(-n // columns(dtype)) * columns(dtype)


def _masks(q, k, keep, key_lengths):
    B, H, T, S = *q.shape[:3], k.shape[2]
    lengths = np.full(B, S) if key_lengths is None else key_lengths.astype(np.int64)
    return np.empty((0, 0, 0, 0), np.bool_) if keep is None else np.broadcast_to(keep, (B, H, T, S)), lengths


@kernel(
    "o[B,T,H,Dv] lse[B,H,T,1] kt[W,P,D,NR] vs[W,S,E] qs[W,R,D] ss[W,R,C] acc[W,R,E] m[W,R] z[W,R] factor[W,C]"
    " words:uint32[W,n] | q(B,H,T,D) k(B,H,S,D) v(B,H,S,Dv) keep:bool(B,H,T,S) lengths:int64[B] first:int64[W+1]"
    " scale causal:bool drop:uint64[4] rescale"
)
def _forward(
    o, lse, kt, vs, qs, ss, acc, m, z, factor, words, q, k, v, keep, lengths, first, scale, causal, drop, rescale
):
    for w in prange(len(first) - 1):
        _forward_share(
            first[w], first[w + 1], o, lse, kt[w], vs[w], qs[w], ss[w], acc[w], m[w], z[w], factor[w], words[w],
            q, k, v, keep, lengths, scale, causal, drop, rescale,
        )  # fmt: skip


@device
def _forward_share(
    lo, hi, o, lse, kt, vs, qs, ss, acc, m, z, factor, words, q, k, v, keep, lengths, scale, causal, drop, rescale
):
    """Tiles lo … hi of queries, over all their keys."""
    (B, H, T, D), S, NR, (R, C) = q.shape, k.shape[2], kt.shape[2], ss.shape
    one, tiles = q.dtype.type(1), -(-T // R)
    for n in range(lo, hi):
        head, t0 = n // tiles, n % tiles * R
        b, h, t1 = head // H, head % H, min(t0 + R, T)
        length = lengths[b]
        if n == lo or t0 == 0:  # another head
            pack_transposed(kt[: -(-length // NR)], k[b, h, :length])
            copy(vs, v[b, h, :length], one)
        copy(qs, q[b, h, t0:t1], scale)
        acc[:], m[:], z[:] = 0, -np.inf, 0
        end = min(length, t1 + S - T) if causal else length
        for s0 in range(0, end, C):
            s1 = min(s0 + C, end)
            panels = kt[s0 // NR : -(-s1 // NR)]
            width = len(panels) * NR
            product(ss[: t1 - t0, :width], qs[: t1 - t0], panels, False)  # (1)
            for t in range(t0, t1):
                e, a = ss[t - t0][:width], acc[t - t0]
                hide(e, min(s1, t + 1 + S - T if causal else s1) - s0, keep[b, h, t, s0:s1])
                m[t - t0], z[t - t0], shrunk = carry_on(e, m[t - t0], z[t - t0])
                for d in range(len(a)):
                    a[d] *= shrunk
                if len(drop):
                    drop_weights(e[: s1 - s0], factor, words, (head * T + t) * S + s0, drop, rescale)
            product(acc[: t1 - t0], ss[: t1 - t0, : s1 - s0], vs[s0:s1], True)  # (10)
        for t in range(t0, t1):
            o_t, a, m_t, z_t = o[b, t, h], acc[t - t0], m[t - t0], z[t - t0]
            z_t = z_t if z_t > 0 else one  # a row without keys is 0/1, not 0/0
            for d in range(len(o_t)):
                o_t[d] = a[d] * (one / z_t)  # (7)
            lse[b, h, t, 0] = (m_t if np.isfinite(m_t) else 0) + np.log(z_t)  # (8)


@kernel(
    "dq[B,T,H,D] dk[B,S,H,D] dv[B,S,H,Dv] qs[W,T,E] dos[W,T,Ev] dqs[W,T,E] delta[W,T] kt[W,P,D,NR] vt[W,P,Dv,NR]"
    " ks[W,C,E] dks[W,C,E] dvs[W,C,Ev] ps[W,R,C] ds[W,R,C] factor[W,C] words:uint32[W,n] | do(B,H,T,Dv) q(B,H,T,D)"
    " k(B,H,S,D) v(B,H,S,Dv) o(B,H,T,Dv) lse(B,H,T,1) keep:bool(B,H,T,S) lengths:int64[B] first:int64[W+1] way:int64"
    " tiles:int64 scale causal:bool drop:uint64[4] rescale"
)
def _backward(
    dq, dk, dv, qs, dos, dqs, delta, kt, vt, ks, dks, dvs, ps, ds, factor, words, do, q, k, v, o, lse, keep, lengths,
    first, way, tiles, scale, causal, drop, rescale,
):  # fmt: skip
    for w in prange(len(first) - 1):
        n = first[w]
        while n < first[w + 1]:
            head = n // tiles
            last = min(first[w + 1], (head + 1) * tiles)
            _head(
                head, n - head * tiles, last - head * tiles, way, dq, dk, dv, qs[w], dos[w], dqs[w], delta[w], kt[w],
                vt[w], ks[w], dks[w], dvs[w], ps[w], ds[w], factor[w], words[w], do, q, k, v, o, lse, keep, lengths,
                scale, causal, drop, rescale,
            )  # fmt: skip
            n = last


@device
def _head(
    head, first, last, way, dq, dk, dv, qs, dos, dqs, delta, kt, vt, ks, dks, dvs, ps, ds, factor, words, do, q, k, v,
    o, lse, keep, lengths, scale, causal, drop, rescale,
):  # fmt: skip
    """One head's gradients: all, or dK and dV of some tiles of keys, or dQ of some tiles of queries."""
    (B, H, T, D), S, Dv, NR, (R, C) = q.shape, k.shape[2], v.shape[3], kt.shape[2], ps.shape
    b, h, one = head // H, head % H, q.dtype.type(1)
    length = lengths[b]
    t_first, t_last = (first * R, min(last * R, T)) if way == BY_QUERIES else (0, T)
    s_first, s_last = (first * C, min(last * C, S)) if way == BY_KEYS else (0, S)
    copy(qs[t_first:t_last], q[b, h, t_first:t_last], scale)
    copy(dos[t_first:t_last], do[b, h, t_first:t_last], one)
    dqs[t_first:t_last] = 0
    for t in range(t_first, t_last):
        do_t, o_t, total = contiguous(do[b, h, t]), contiguous(o[b, h, t]), q.dtype.type(0)
        for d in range(Dv):
            total += do_t[d] * o_t[d]
        delta[t] = total  # (14)
    for s0 in range(s_first, min(s_last, length), C):
        s1 = min(s0 + C, length)
        pack_transposed(kt[: -(-(s1 - s0) // NR)], k[b, h, s0:s1])
        pack_transposed(vt[: -(-(s1 - s0) // NR)], v[b, h, s0:s1])
        copy(ks, k[b, h, s0:s1], one)
        dks[:], dvs[:] = 0, 0
        sees = max(s0 - (S - T), 0) if causal else 0  # the first query that sees one of these keys
        for t0 in range(max(sees // R * R, t_first), t_last, R):
            t1 = min(t0 + R, T)
            n = min(s1, t1 + S - T) - s0 if causal else s1 - s0
            P, M = -(-n // NR), t1 - t0
            product(ps[:M, : P * NR], qs[t0:t1, :D], kt[:P], False)  # (1)
            product(ds[:M, : P * NR], dos[t0:t1, :Dv], vt[:P], False)  # (13)
            for t in range(t0, t1):
                p, d, l_t, delta_t = ps[t - t0][: P * NR], ds[t - t0][: P * NR], lse[b, h, t, 0], delta[t]
                hide(p, min(n, t + 1 + S - T - s0) if causal else n, keep[b, h, t, s0 : s0 + n])
                if len(drop):
                    index = (head * T + t) * S + s0
                    dropped_weights_and_gradient(p, d, l_t, delta_t, factor, words, index, drop, rescale)
                else:
                    weights_and_gradient(p, d, l_t, delta_t)
            if way != BY_QUERIES:
                product(dvs[:n], ps[:M, :n].T, dos[t0:t1], True)  # (12)
                product(dks[:n], ds[:M, :n].T, qs[t0:t1], True)  # (17), c in Q
            if way != BY_KEYS:
                product(dqs[t0:t1], ds[:M, :n], ks[:n], True)  # (16)
        if way != BY_QUERIES:
            for s in range(s0, s1):
                copy_row(dk[b, s, h], dks[s - s0], one)
                copy_row(dv[b, s, h], dvs[s - s0], one)
    if way != BY_QUERIES:
        for s in range(max(s_first, length), s_last):
            dk[b, s, h], dv[b, s, h] = 0, 0
    if way != BY_KEYS:
        for t in range(t_first, t_last):
            copy_row(dq[b, t, h], dqs[t], scale)  # (16)
