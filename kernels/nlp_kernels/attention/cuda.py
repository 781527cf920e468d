"""Attention on NVIDIA GPUs: which kernel of cuda.cu has which heads. README.md."""

import numpy as np

from nlp_kernels.attention.reference import scale_or_default
from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import Source, blocks, empty, serves, shared_memory, span

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
    if not serves(q):
        return False
    D = max(q.shape[3], v.shape[3])
    return D <= 4096 // q.itemsize**2 and _bytes(q, _head(D), 32, 4) <= shared_memory(q)


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    (B, H, T, D), Dv = q.shape, v.shape[3]
    memory, lse = empty(q, (B, T, H, Dv)), empty(q, (B, H, T, 1))  # heads side by side: joining them is a view
    o = memory.transpose(0, 2, 1, 3)
    if o.size:
        head = _head(max(D, Dv))
        tile, text = (256 // q.itemsize, LARGE) if head <= 64 else (32, SMALL)
        q, k, v = map(_ascending, (q, k, v))
        problem = _problem(q, k, v, keep, causal, scale, dropout, o=o)
        arrays = memory, lse, span(q), span(k), span(v), keep, _lengths(key_lengths)
        instance = f"attention_forward<T, {text}, {HEADS[head]}>"
        _launch(instance, q, (B * H, -(-T // tile)), tile, _bytes(q, head, tile, 2), (*arrays, problem))
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    if saved is None:
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    (B, H, T, D), (S, Dv) = q.shape, v.shape[2:]
    do, q, k, v, o = map(_ascending, (do, q, k, v, saved[0]))
    lse, delta = contiguous(saved[1]), empty(q, (B, H, T))
    dq, dk, dv = empty(q, (B, T, H, D)), empty(q, (B, S, H, D)), empty(q, (B, S, H, Dv))
    problem = _problem(q, k, v, keep, causal, scale, dropout, o=o, do=do)
    if delta.size:
        grid = (blocks(q, -(-delta.size // 4)),)
        SOURCE.kernel("attention_delta<T>", q)(grid, (128,), (delta, span(do), span(o), problem, np.int64(delta.size)))
    read = span(do), span(q), span(k), span(v), lse, delta, keep, _lengths(key_lengths), problem
    head = _head(max(D, Dv))
    passes = 2 if head * q.itemsize**2 >= 4096 else 1  # as cuda.cu says
    for kernel, written, rows, z in zip(WALKS, ((dk, dv), (dq,)), (S, T), (passes, 1), strict=True):
        if B * H * rows and D + Dv:
            instance, grid = f"{kernel}<T, {SMALL}, {HEADS[head]}>", (B * H, -(-rows // 32), z)
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


def _problem(q, k, v, keep, causal, scale, dropout, **others):
    """The struct of tiles.cuh."""
    (_, H, T, D), (S, Dv) = q.shape, v.shape[2:]
    p, seed, offset = dropout or (0.0, 0, 0)
    strides = {"q": q, "k": k, "v": v, "o": others["o"], "do": others.get("do", others["o"])}
    problem = np.zeros(1, _struct(q.dtype))
    for name, x in strides.items():
        problem[name] = [stride // x.itemsize for stride in x.strides[:3]]
    if keep is not None:
        problem["keep"] = [stride if n > 1 else 0 for n, stride in zip(keep.shape, keep.strides, strict=True)]
    values = {"seed": seed, "offset": offset, "scale": scale_or_default(scale, q), "kept_scale": 1 / (1 - p), "H": H}
    values |= {"rows": T, "keys": S, "D": D, "Dv": Dv, "causal": causal, "drop_below": round(p * 2**32)}
    for name, value in values.items():
        problem[name] = value
    return problem


def _struct(dtype):
    strides = [(name, np.int64, 3) for name in ("q", "k", "v", "o", "do")] + [("keep", np.int64, 4)]
    numbers = [(name, np.uint64) for name in ("seed", "offset")] + [(name, dtype) for name in ("scale", "kept_scale")]
    sizes = [(name, np.int32) for name in ("H", "rows", "keys", "D", "Dv", "causal")] + [("drop_below", np.uint32)]
    return np.dtype([*strides, *numbers, *sizes], align=True)


def _lengths(key_lengths):
    return None if key_lengths is None else contiguous(key_lengths.astype(np.int32))


def _ascending(x):
    """The array itself, or a copy where it lies backwards in memory."""
    return x if all(stride >= 0 for stride in x.strides) else contiguous(x.copy())
