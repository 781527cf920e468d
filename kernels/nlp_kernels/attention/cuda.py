"""Attention on NVIDIA GPUs: which kernel of cuda.cu has which heads. README.md."""

import numpy as np

from nlp_kernels.attention import decode
from nlp_kernels.attention.problem import as_saved, ascending, gradients, lengths, problem, results
from nlp_kernels.common.cuda import Source, empty, serves, span
from nlp_kernels.common.gpu import blocks, shared_memory

# What a row of Q, K or V is padded to: at most 256 of float, 64 of double.
HEADS = {32: "32", 64: "64", 128: "512 / sizeof(T)", 256: "4096 / sizeof(T) / sizeof(T)"}
SMALL, LARGE = "32", "256 / sizeof(T)"  # tiles
WALKS = ("attention_keys", "attention_queries")

SOURCE = Source(
    __file__,
    *(f"attention_forward<T, {LARGE if head <= 64 else SMALL}, {text}>" for head, text in HEADS.items()),
    *(f"{kernel}<T, {SMALL}, {text}>" for kernel in WALKS for text in HEADS.values()),
    "attention_delta<T>",
)


def supports(q, k, v, keep=None, key_lengths=None, **hyper):
    if not serves(q) or q.itemsize < 4:  # bfloat16 is for tensor cores
        return False
    D = max(q.shape[3], v.shape[3])
    return D * q.itemsize**2 <= 4096 and _bytes(q, _head(D), 32, 4) <= shared_memory(q)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    if decode.pays(q, k, v):
        return decode.forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)
    (B, H, T, D), Dv = q.shape, v.shape[3]
    memory, o, lse = results(q, v)
    if lse.size:
        head = _head(max(D, Dv))
        tile, text = (256 // q.itemsize, LARGE) if head <= 64 else (32, SMALL)
        q, k, v = map(ascending, (q, k, v))
        asked = problem(q, k, v, keep, causal, scale, dropout, o=o)
        arrays = memory, lse, span(q), span(k), span(v), keep, lengths(key_lengths)
        instance = f"attention_forward<T, {text}, {HEADS[head]}>"
        _launch(instance, q, (B * H, -(-T // tile)), tile, _bytes(q, head, tile, 2), (*arrays, asked))
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    (B, H, T, D), (KH, S, Dv) = q.shape, v.shape[1:]
    o, lse = as_saved(q, saved)
    do, q, k, v, o = map(ascending, (do, q, k, v, o))
    delta = empty(q, (B, H, T))
    dq, dk, dv = gradients(q, k, v)
    asked = problem(q, k, v, keep, causal, scale, dropout, o=o, do=do)
    if delta.size:
        rows = np.int64(delta.size)
        blocks_of_four = (blocks(q, -(-delta.size // 4)),)
        SOURCE.kernel("attention_delta<T>", q)(blocks_of_four, (128,), (delta, span(do), span(o), asked, rows))
    read = span(do), span(q), span(k), span(v), lse, delta, keep, lengths(key_lengths), asked
    head = _head(max(D, Dv))
    passes = 2 if head * q.itemsize**2 >= 4096 else 1  # as cuda.cu says
    walks = ((dk, dv), KH, S, passes), ((dq,), H, T, 1)
    for kernel, (written, heads, rows, z) in zip(WALKS, walks, strict=True):
        if B * heads * rows and D + Dv:
            instance, grid = f"{kernel}<T, {SMALL}, {HEADS[head]}>", (B * heads, -(-rows // 32), z)
            _launch(instance, q, grid, 32, _bytes(q, head, 32, 4), (*written, *read))
    return tuple(x.transpose(0, 2, 1, 3) for x in (dq, dk, dv))


def _head(D):
    return next(head for head in HEADS if head >= D)


def _bytes(x, head, tile, matrices):
    """Shared memory: so many tiles of rows and one of scores."""
    return (matrices * tile * (head + 4) + tile * (tile + 4)) * x.itemsize


def _launch(instance, x, grid, tile, shared, arguments):
    kernel = SOURCE.kernel(instance, x)
    if shared > 48 << 10:
        kernel.max_dynamic_shared_size_bytes = shared
    kernel(grid, (tile * tile // 16,), arguments, shared_mem=shared)
