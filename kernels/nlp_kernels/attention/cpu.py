"""Attention, Numba: tiles of scores in the cache, products in registers, memory linear in T and S. README.md."""

import numpy as np

from nlp_kernels.attention.reference import scale_or_default
from nlp_kernels.attention.tiles import (
    carry_on,
    copy,
    copy_row,
    draw,
    hide,
    shares,
    times,
    weights_and_gradients,
    work_of_keys,
    work_of_queries,
)
from nlp_kernels.common import check
from nlp_kernels.common import dropout as mask
from nlp_kernels.common.compiled import kernel
from nlp_kernels.common.intrinsics import contiguous
from nlp_kernels.common.memory import empty
from nlp_kernels.common.microkernel import columns, pack_transposed, product
from nlp_kernels.common.threads import workers

QUERIES, KEYS = 32, 256  # of a tile of scores
HEADS, BY_KEYS, BY_QUERIES = 0, 1, 2  # how the backward's work is shared out


def supports(q, k, v, keep=None, key_lengths=None, **hyper):
    return type(q) is np.ndarray and q.dtype in (np.float32, np.float64)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    (B, H, T, D), S, Dv, dtype = q.shape, k.shape[2], v.shape[3], q.dtype
    o, lse = empty((B, T, H, Dv), dtype), empty((B, H, T, 1), dtype)  # heads side by side: joining them is a view
    (R, C), NR, E = _tile(T, S, KEYS, dtype), columns(dtype), _wide(Dv, dtype)
    keep, lengths = _masks(q, k, keep, key_lengths)
    first = shares(np.repeat(work_of_queries(lengths, T, S, R, causal), H, axis=0), workers(B * H * -(-T // R)))
    W = len(first) - 1
    _forward(
        W, o, lse, empty((W, -(-S // NR), D, NR), dtype), empty((W, S, E), dtype), empty((W, R, D), dtype),
        empty((W, R, C), dtype), empty((W, R, E), dtype), empty((W, 3, R), dtype), *_mask_room(W, R, C, dtype, dropout),
        q, k, v, keep, lengths, first, scale_or_default(scale, q), causal, *mask.arguments(dropout),
    )  # fmt: skip
    o = o.transpose(0, 2, 1, 3)
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    o, lse = saved
    (B, H, T, D), (KH, S, Dv), dtype = q.shape, v.shape[1:], q.dtype
    dq, dk, dv = _gradients(B, H, KH, T, S, D, Dv, dtype)
    (R, C), NR, E, Ev = _tile(T, S, KEYS, dtype), columns(dtype), _wide(D, dtype), _wide(Dv, dtype)
    keep, lengths = _masks(q, k, keep, key_lengths)
    work = {HEADS: lengths[:, None]}
    if workers(B * H * T) > B * KH:
        work = {BY_KEYS: work_of_keys(lengths, T, S, C, causal), BY_QUERIES: work_of_queries(lengths, T, S, R, causal)}
    for way, units in work.items():
        heads = H if way == BY_QUERIES else KH
        first = shares(np.repeat(units, heads, axis=0), workers(heads * units.size))
        W, G = len(first) - 1, H // max(heads, 1)
        _backward(
            W, dq, dk, dv, empty((W, G, T, E), dtype), empty((W, G, T, Ev), dtype), empty((W, G, T, E), dtype),
            empty((W, G, T), dtype), empty((W, C // NR, D, NR), dtype), empty((W, C // NR, Dv, NR), dtype),
            empty((W, C, E), dtype), empty((W, C, E), dtype), empty((W, C, Ev), dtype), empty((W, R, C), dtype),
            empty((W, R, C), dtype), *_mask_room(W, R, C, dtype, dropout), check.rows(do), q, k, v, check.rows(o), lse,
            keep, lengths, first, way, units.shape[1], scale_or_default(scale, q), causal, *mask.arguments(dropout),
        )  # fmt: skip
    return tuple(x.transpose(0, 2, 1, 3) for x in (dq, dk, dv))


def _gradients(B, H, KH, T, S, D, Dv, dtype):
    """Room for dq, dk and dv, heads side by side; where they are alike, in one (B, T, 3, H, D) array.

    Where q, k and v are parts of one product (E33), so are their gradients: then nothing is left to be laid together.
    """
    if (KH, S, Dv) == (H, T, D):
        room = empty((B, T, 3, H, D), dtype)
        return room[:, :, 0], room[:, :, 1], room[:, :, 2]
    return empty((B, T, H, D), dtype), empty((B, S, KH, D), dtype), empty((B, S, KH, Dv), dtype)


def _tile(T, S, keys, dtype):
    """Queries and keys of a tile of scores; the keys are whole panels."""
    return max(min(QUERIES, T), 1), _wide(max(min(keys, S), 1), dtype)


def _wide(n, dtype):
    return -(-n // columns(dtype)) * columns(dtype)


def _masks(q, k, keep, key_lengths):
    (B, H, T, _), S = q.shape, k.shape[2]
    lengths = np.full(B, S) if key_lengths is None else key_lengths.astype(np.int64)
    return np.empty((0, 0, 0, 0), np.bool_) if keep is None else np.broadcast_to(keep, (B, H, T, S)), lengths


def _mask_room(W, R, C, dtype, dropout):
    R, C = (0, 0) if dropout is None else (R, C)
    return empty((W, R, C), dtype), empty((W, mask.room(C)), np.uint32)


@kernel(
    "o[B,T,H,Dv] lse[B,H,T,1] kt[W,P,D,NR] vs[W,S,E] qs[W,R,D] ss[W,R,C] acc[W,R,E] rows[W,3,R] masks[W,R,C]"
    " words:uint32[W,n] | q(B,H,T,D) k(B,KH,S,D) v(B,KH,S,Dv) keep:bool(B,H,T,S) lengths:int64[B]"
    " first:int64[W+1] scale causal:bool dropout:uint64[4] rescale",
    spread=True,
)
def _forward(
    w, o, lse, kt, vs, qs, ss, acc, rows, masks, words, q, k, v, keep, lengths, first, scale, causal, dropout, rescale
):
    """Worker w: tiles first[w] … first[w + 1] of queries, each over all its keys."""
    kt, vs, qs, ss, acc, masks, words = kt[w], vs[w], qs[w], ss[w], acc[w], masks[w], words[w]
    _, H, T, _ = q.shape
    S, NR, (R, C), group = k.shape[2], kt.shape[2], ss.shape, H // k.shape[1]
    one, tiles = q.dtype.type(1), -(-T // R)
    m, z, shrunk = rows[w, 0], rows[w, 1], rows[w, 2]
    for i in range(first[w], first[w + 1]):
        head, t0 = i // tiles, i % tiles * R
        b, h, M = head // H, head % H, min(R, T - t0)
        length = lengths[b]
        if i == first[w] or (t0 == 0 and h % group == 0):  # another head of keys and values
            pack_transposed(kt[: -(-length // NR)], k[b, h // group, :length])
            copy(vs, v[b, h // group, :length], one)
        copy(qs, q[b, h, t0 : t0 + M], scale)
        m[:], z[:] = -np.inf, 0
        end = min(length, t0 + M + S - T) if causal else length
        if end <= 0:
            acc[:] = 0
        for s0 in range(0, end, C):
            n = min(C, end - s0)
            P = -(-n // NR)
            product(ss[:M, : P * NR], qs[:M], kt[s0 // NR : s0 // NR + P], False)  # (1)
            visible = t0 + 1 + S - T - s0 if causal else S
            if n < P * NR or visible < n or len(keep):
                hide(ss, M, P * NR, n, visible, keep[b, h, t0 : t0 + M, s0 : s0 + n])
            carry_on(ss, M, P * NR, m, z, shrunk)
            if len(dropout):
                draw(masks, M, n, words, (head * T + t0) * S + s0, S, dropout, rescale)
                times(ss, masks, M, n)
            if s0:
                for r in range(M):
                    copy_row(acc[r], acc[r], shrunk[r])
            product(acc[:M], ss[:M, :n], vs[s0 : s0 + n], s0 > 0)  # (10)
        for r in range(M):
            z_r = z[r] if z[r] > 0 else one  # a row without keys is 0/1, not 0/0
            copy_row(o[b, t0 + r, h], acc[r], one / z_r)  # (7)
            lse[b, h, t0 + r, 0] = (m[r] if np.isfinite(m[r]) else 0) + np.log(z_r)  # (8)


@kernel(
    "dq(B,T,H,D) dk(B,S,KH,D) dv(B,S,KH,Dv) qs[W,G,T,E] dos[W,G,T,Ev] dqs[W,G,T,E] delta[W,G,T] kt[W,P,D,NR]"
    " vt[W,P,Dv,NR] ks[W,C,E] dks[W,C,E] dvs[W,C,Ev] ps[W,R,C] ds[W,R,C] masks[W,R,C] words:uint32[W,n] |"
    " do(B,H,T,Dv) q(B,H,T,D) k(B,KH,S,D) v(B,KH,S,Dv) o(B,H,T,Dv) lse[B,H,T,1] keep:bool(B,H,T,S) lengths:int64[B]"
    " first:int64[W+1] way:int64 tiles:int64 scale causal:bool dropout:uint64[4] rescale",
    spread=True,
)
def _backward(
    w, dq, dk, dv, qs, dos, dqs, delta, kt, vt, ks, dks, dvs, ps, ds, masks, words, do, q, k, v, o, lse, keep, lengths,
    first, way, tiles, scale, causal, dropout, rescale,
):  # fmt: skip
    """Worker w: units first[w] … first[w + 1]: heads of keys, or tiles of keys (dK, dV), or tiles of queries (dQ).

    A unit of keys goes through all heads of queries that share them, G of them; one of queries has its one head.
    """
    qs, dos, dqs, delta, kt, vt = qs[w], dos[w], dqs[w], delta[w], kt[w], vt[w]
    ks, dks, dvs, ps, ds, masks, words = ks[w], dks[w], dvs[w], ps[w], ds[w], masks[w], words[w]
    _, H, T, D = q.shape
    S, Dv, NR, (R, C), G = k.shape[2], v.shape[3], kt.shape[2], ps.shape, len(qs)
    one, group = q.dtype.type(1), H // k.shape[1]
    for unit in range(first[w] // max(tiles, 1), -(-first[w + 1] // max(tiles, 1))):  # of each, tiles i … i_last
        head = unit * G
        b, h, length = head // H, head % H, lengths[head // H]
        kh = h // group
        i, i_last = max(first[w] - unit * tiles, 0), min(first[w + 1] - unit * tiles, tiles)
        t_first, t_last = (i * R, min(i_last * R, T)) if way == BY_QUERIES else (0, T)
        s_first, s_last = (i * C, min(i_last * C, S)) if way == BY_KEYS else (0, S)
        for g in range(G):
            copy(qs[g, t_first:t_last], q[b, h + g, t_first:t_last], scale)
            copy(dos[g, t_first:t_last], do[b, h + g, t_first:t_last], one)
            dqs[g, t_first:t_last] = 0
            for t in range(t_first, t_last):
                do_t, o_t, total = contiguous(do[b, h + g, t]), contiguous(o[b, h + g, t]), q.dtype.type(0)
                for d in range(Dv):
                    total += do_t[d] * o_t[d]
                delta[g, t] = total  # (14)
        for s0 in range(s_first, min(s_last, length), C):
            N = min(C, length - s0)
            copy(ks, k[b, kh, s0 : s0 + N], one)
            copy(dvs, v[b, kh, s0 : s0 + N], one)  # on the way: memory is best read in order
            pack_transposed(kt[: -(-N // NR)], ks[:N, :D])
            pack_transposed(vt[: -(-N // NR)], dvs[:N, :Dv])
            dks[:], dvs[:] = 0, 0
            sees = max(s0 - (S - T), 0) if causal else 0  # the first query that sees one of these keys
            begin = max(sees // R * R, t_first)
            tiles_left = max(-(-(t_last - begin) // R), 0)
            for at in range(G * tiles_left):  # head after head
                g, t0 = at // tiles_left, begin + at % tiles_left * R
                M = min(R, T - t0)
                n = min(N, t0 + M + S - T - s0) if causal else N
                P = -(-n // NR)
                product(ps[:M, : P * NR], qs[g, t0 : t0 + M, :D], kt[:P], False)  # (1)
                product(ds[:M, : P * NR], dos[g, t0 : t0 + M, :Dv], vt[:P], False)
                if len(dropout):
                    draw(masks, M, n, words, ((head + g) * T + t0) * S + s0, S, dropout, rescale)
                    times(ds, masks, M, n)  # (13)
                visible = t0 + 1 + S - T - s0 if causal else S
                if n < P * NR or visible < n or len(keep):
                    hide(ps, M, P * NR, n, visible, keep[b, h + g, t0 : t0 + M, s0 : s0 + n])
                weights_and_gradients(ps, ds, M, P * NR, lse[b, h + g, t0:, 0], delta[g, t0:])
                if len(dropout):
                    times(ps, masks, M, n)
                if way != BY_QUERIES:
                    product(dvs[:n], ps[:M, :n].T, dos[g, t0 : t0 + M], True)  # (12)
                    product(dks[:n], ds[:M, :n].T, qs[g, t0 : t0 + M], True)  # (17), c is in Q
                if way != BY_KEYS:
                    product(dqs[g, t0 : t0 + M], ds[:M, :n], ks[:n], True)  # (16)
            if way != BY_QUERIES:
                for j in range(N):
                    copy_row(contiguous(dk[b, s0 + j, kh]), dks[j], one)
                    copy_row(contiguous(dv[b, s0 + j, kh]), dvs[j], one)
        if way != BY_QUERIES:
            for s in range(max(s_first, length), s_last):
                dk[b, s, kh], dv[b, s, kh] = 0, 0
        if way != BY_KEYS:
            for g in range(G):
                for t in range(t_first, t_last):
                    copy_row(contiguous(dq[b, t, h + g]), dqs[g, t], scale)  # (16)
