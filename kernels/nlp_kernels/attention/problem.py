"""What attention is asked, as the kernels on GPUs are told: the struct of problem.cuh."""

import numpy as np

from nlp_kernels.attention.reference import scale_or_default
from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import arithmetic, empty


def problem(q, k, v, keep, causal, scale, dropout, *, o, do=None):
    """Strides, in numbers, sizes and masks, in an array of one that is passed by value."""
    (_, H, T, D), (KH, S, Dv) = q.shape, v.shape[1:]
    p, seed, offset = dropout or (0.0, 0, 0)
    struct = np.zeros(1, _struct(arithmetic(q.dtype)))
    for name, x in {"q": q, "k": k, "v": v, "o": o, "do": o if do is None else do}.items():
        struct[name] = [stride // x.itemsize for stride in x.strides[:3]]
    if keep is not None:
        struct["keep"] = [stride if n > 1 else 0 for n, stride in zip(keep.shape, keep.strides, strict=True)]
    values = {"seed": seed, "offset": offset, "scale": scale_or_default(scale, q), "kept_scale": 1 / (1 - p), "H": H}
    values |= {"group": H // max(KH, 1), "rows": T, "keys": S, "D": D, "Dv": Dv, "causal": causal}
    for name, value in (values | {"drop_below": round(p * 2**32)}).items():
        struct[name] = value
    return struct


def results(q, v):
    """Memory for o, o in it, and ℓ: heads side by side, (B, T, H, Dv), so that joining them is a view."""
    (B, H, T, _), Dv = q.shape, v.shape[3]
    memory = empty(q, (B, T, H, Dv))
    return memory, memory.transpose(0, 2, 1, 3), empty(q, (B, H, T, 1), arithmetic(q.dtype))


def as_saved(q, saved):
    """o and ℓ in the dtypes that kernels for arrays like q have: another backend may have saved them."""
    o, lse = saved
    return o.astype(q.dtype, copy=False), contiguous(lse.astype(arithmetic(q.dtype), copy=False))


def gradients(q, k, v):
    """Memory for dq, dk and dv, heads side by side as well."""
    return [empty(x, (x.shape[0], x.shape[2], x.shape[1], x.shape[3])) for x in (q, k, v)]


def lengths(key_lengths):
    return None if key_lengths is None else contiguous(key_lengths.astype(np.int32))


def ascending(x):
    """The array itself, or a copy where it lies backwards in memory."""
    return x if all(stride >= 0 for stride in x.strides) else contiguous(x.copy())


def _struct(dtype):
    strides = [(name, np.int64, 3) for name in ("q", "k", "v", "o", "do")] + [("keep", np.int64, 4)]
    numbers = [(name, np.uint64) for name in ("seed", "offset")] + [(name, dtype) for name in ("scale", "kept_scale")]
    sizes = [(name, np.int32) for name in ("H", "group", "rows", "keys", "D", "Dv", "causal")]
    return np.dtype([*strides, *numbers, *sizes, ("drop_below", np.uint32)], align=True)
