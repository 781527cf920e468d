"""Attention of bfloat16 on Hopper (compute capability 9.0): launches hopper.cu. README.md."""

import numpy as np

from nlp_kernels.attention import decode
from nlp_kernels.attention.problem import as_saved, gradients, lengths, problem, results
from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import Source, address, empty, serves, span
from nlp_kernels.common.gpu import blocks, has_wgmma
from nlp_kernels.common.tensor_map import tensor_map

HEADS = 64, 128  # what a row of Q, K or V is padded to
STAYS, KEYS, PASSES, OUT = 128, 128, 64, 64  # rows of tiles, as the kernels have them; those that go out
STAGES = 4  # of either ring
THREADS = 384
CACHED = 32 << 20  # bytes that shall stay in the second-level cache, which has 50 MB, while all tiles pass over them

SOURCE = Source(
    __file__,
    *(f"hopper_forward<{head}>" for head in HEADS),
    *(f"hopper_backward<{head}, {of_keys}>" for head in HEADS for of_keys in ("false", "true")),
    "hopper_rows<T>",
    dtypes=("bfloat16",),
    only="sm_90a",
)


def supports(q, k, v, keep=None, key_lengths=None, *, scale=None, **hyper):
    (D, Dv), sizes = (q.shape[3], v.shape[3]), (*q.shape, *v.shape)
    fits = D % 8 == Dv % 8 == 0 and max(D, Dv) <= max(HEADS) and min(sizes) > 0 and max(sizes) < 2**31 - STAYS
    return fits and serves(q) and q.dtype.name == "bfloat16" and has_wgmma(q) and (scale is None or scale > 0)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    if decode.pays(q, k, v):
        return decode.forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)
    _, o, lse = results(q, v)
    q, k, v = map(readable, (q, k, v))
    asked = problem(q, k, v, keep, causal, scale, dropout, o=o)
    head, read = _head(q, v), (_tiles(q, STAYS), _tiles(k, KEYS), _tiles(v, KEYS))
    arguments = _tiles(o, OUT), lse, *read, keep, lengths(key_lengths), asked
    _launch(f"hopper_forward<{head}>", q, (k, v), (STAYS + STAGES * KEYS) * head * 2, arguments)
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    o, lse = as_saved(q, saved)
    do, q, k, v, o = map(readable, (do, q, k, v, o))
    asked = problem(q, k, v, keep, causal, scale, dropout, o=o, do=do)
    of_queries = _of_queries(do, o, lse, asked)
    dq, dk, dv = (x.transpose(0, 2, 1, 3) for x in gradients(q, k, v))
    head, given = _head(q, v), (of_queries, keep, lengths(key_lengths), asked, np.int32(of_queries.shape[2]))
    shared = (2 * STAYS + 2 * STAGES * PASSES) * head * 2 + STAGES * PASSES * 8
    for of_keys, written, stay, passing in ("false", (dq, dq), (q, do), (k, v)), ("true", (dk, dv), (k, v), (q, do)):
        maps = [_tiles(x, rows) for rows, xs in ((OUT, written), (STAYS, stay), (PASSES, passing)) for x in xs]
        _launch(f"hopper_backward<{head}, {of_keys}>", stay[0], passing, shared, (*maps, *given))
    return dq, dk, dv


def _of_queries(do, o, lse, asked):
    """ℓ and δ of each query, float32 (B, H, padded, 2)."""
    B, H, T, _ = do.shape
    padded = -(-T // STAYS) * STAYS
    pairs = empty(do, (B, H, padded, 2), np.float32)
    arguments = pairs, span(do), span(o), lse, asked, np.int32(padded), np.int64(B * H * padded)
    SOURCE.kernel("hopper_rows<T>", do)((blocks(do, B * H * padded // 4),), (128,), arguments)
    return pairs


def _head(q, v):
    return next(head for head in HEADS if head >= max(q.shape[3], v.shape[3]))


def readable(x):
    """The array itself, or a copy where the copy engine cannot read it."""
    steps = [stride for n, stride in zip(x.shape[:3], x.strides, strict=False) if n > 1]
    return x if address(x) % 16 == 0 and all(s > 0 and s % 16 == 0 for s in steps) else contiguous(x.copy())


def _tiles(x, rows):
    """Tiles of so many rows of a head, 64 columns at a time."""
    return tensor_map(x, (1, 1, rows, 64))


def _launch(instance, stay, passing, shared, arguments):
    """A block for each tile of rows that stay; in sections of heads whose passing rows the cache has room for."""
    B, heads, rows, _ = stay.shape
    section = min(B * heads, max(1, CACHED * B * heads // sum(x.nbytes for x in passing)))
    kernel = SOURCE.kernel(instance, stay)
    kernel.max_dynamic_shared_size_bytes = shared
    kernel((B * heads * -(-rows // STAYS),), (THREADS,), (*arguments, np.int32(section)), shared_mem=shared)
