"""Attention of a few queries to many keys on NVIDIA GPUs: when it pays, and how the keys are shared out. README.md."""

import numpy as np

from nlp_kernels.attention.problem import ascending, lengths, problem, results
from nlp_kernels.common.cuda import Source, address, arithmetic, empty, span
from nlp_kernels.common.gpu import blocks, processors

FEW, MANY = 8, 128  # queries, of which a tile would be nearly empty; keys, the least that a block has
ROWS = {1: 4, 4: 3, 8: 2}  # queries of a block, and how many such blocks a processor has registers for
HEADS = (64, 128, 256)  # what a row of Q, K or V is padded to


def _instance(rows, head):
    """As many queries as registers have room for: of double and rows of 256, four."""
    return f"attention_split<T, {'32 / sizeof(arithmetic<T>)' if (rows, head) == (8, 256) else rows}, {head}>"


SOURCE = Source(__file__, *(_instance(rows, head) for rows in ROWS for head in HEADS), "attention_merge<T>")


def pays(q, k, v):
    """Whether there are few queries and many keys: tiles of queries would have rows to spare, and processors idle."""
    return q.shape[2] <= FEW and k.shape[2] >= MANY and max(q.shape[3], v.shape[3]) <= HEADS[-1]


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    (B, H, T, D), (KH, S, Dv), dtype = q.shape, v.shape[1:], arithmetic(q.dtype)
    memory, o, lse = results(q, v)
    if lse.size:
        q, k, v = map(ascending, (q, k, v))
        asked = problem(q, k, v, keep, causal, scale, dropout, o=o)
        head = next(head for head in HEADS if head >= max(D, Dv))
        queries = H // KH * T  # that share a head of keys
        rows = min(next((n for n in ROWS if n >= queries), 8), 8192 // head // dtype.itemsize)
        parts = -(-queries // rows)
        splits = max(1, min(ROWS[rows] * processors(q) // (B * KH * parts), S // MANY))  # that all have work
        m, z, a = (empty(q, (B, H, T, splits, *last), dtype) for last in ((), (), (Dv,)))
        arrays = m, z, a, span(q), span(k), span(v), keep, lengths(key_lengths), asked
        sizes = np.int32(splits), np.int32(parts), np.bool_(_aligned(k) and _aligned(v))
        SOURCE.kernel(_instance(rows, head), q)((B * KH * parts * splits,), (128,), (*arrays, *sizes))
        grid = (blocks(q, -(-lse.size // 4)),)
        merged = memory, lse, m, z, a, asked, np.int32(splits), np.int64(lse.size)
        SOURCE.kernel("attention_merge<T>", q)(grid, (128,), merged)
    return o, (o, lse)


def _aligned(x):
    """Whether every row begins and ends at a multiple of 16 bytes."""
    return all(n % 16 == 0 for n in (address(x), *x.strides[:3], x.shape[3] * x.itemsize))
