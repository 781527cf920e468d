"""Cross-entropy from logits. Derivation: README.md. Readable: reference.py."""

from typing import Any

import numpy as np

from nlp_kernels.common import check
from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.cross_entropy import reference
from nlp_kernels.dispatch import select
from nlp_kernels.errors import DtypeError, ShapeError

__all__ = ["backward", "forward", "forward_backward", "reference"]


def forward(x: Any, target: Any, *, ignore_index: int = -100, label_smoothing: float = 0.0) -> tuple[Any, Any]:
    """L_n = -Σ_i q_i log softmax(x_n)_i, q = (1 - ε) o_y + ε/C, in nats (E06, E45).  -> (loss (N,), saved)

    x: (N, C) logits; target: (N,) int32 or int64, 0 … C - 1, or `ignore_index` for a row that counts nothing
    (loss 0, gradient 0); label smoothing ε in [0, 1]. One loss a row: sums and means are the caller's. The losses of
    bfloat16 logits, and their cotangents, are float32.
    Raises ShapeError, DtypeError, IndexError for a target out of range (on a GPU, where looking would stall, its row's
    loss and gradient are NaN), ValueError for ε.
    """
    x, target = _inputs("cross_entropy.forward", x, target, ignore_index, label_smoothing)
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    return select("cross_entropy", x, target, **hyper).forward(x, target, **hyper)


def backward(
    dloss: Any,
    x: Any,
    target: Any,
    saved: Any,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    out: Any = None,
) -> tuple[Any]:
    """dx = dloss (softmax(x) - q), 0 in ignored rows.  -> (dx (N, C),)

    dloss: (N,); x, target as in `forward`; saved: what `forward` returned (the row maximum m and log Σ exp(x - m)),
    or None. With `out`, an array like x or x itself, dx is written into it, and it is returned.
    """
    function = "cross_entropy.backward"
    x, target = _inputs(function, x, target, ignore_index, label_smoothing, dloss=dloss, out=out)
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    module = select("cross_entropy", x, target, **hyper)
    writes = {"out": out} if hasattr(module, "forward_backward") else {}
    (dx,) = module.backward(check.contiguous(dloss), x, target, saved, **hyper, **writes)
    return (_in(out, dx),)


def forward_backward(
    x: Any,
    target: Any,
    dloss: Any,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    out: Any = None,
) -> tuple[Any, Any]:
    """`forward` and `backward` at once, where dloss is known beforehand.  -> (loss (N,), dx (N, C))

    For the mean of a batch dloss (N,) is 1/N everywhere. A kernel that has the row at hand reads it once; where a
    backend has none, one pass follows the other. All else, `out` too, as in these.
    """
    function = "cross_entropy.forward_backward"
    x, target = _inputs(function, x, target, ignore_index, label_smoothing, dloss=dloss, out=out)
    dloss, hyper = check.contiguous(dloss), {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    module = select("cross_entropy", x, target, **hyper)
    if hasattr(module, "forward_backward"):
        loss, dx = module.forward_backward(x, target, dloss, **hyper, out=out)
    else:
        loss, saved = module.forward(x, target, **hyper)
        (dx,) = module.backward(dloss, x, target, saved, **hyper)
    return loss, _in(out, dx)


def _in(out, dx):
    """`out`, where there is one, with the values of dx: a backend may have written there, or not."""
    if out is None or out is dx:
        return dx
    out[...] = dx
    return out


def _inputs(function, x, target, ignore_index, label_smoothing, dloss=None, out=None):
    check.floating(function, x=x, out=out)
    if x.dtype is not BFLOAT16:
        check.floating(function, x=x, dloss=dloss)
    elif dloss is not None and dloss.dtype != np.float32:
        raise DtypeError(f"{function}: dloss is {dloss.dtype}, but the losses of bfloat16 logits are float32")
    check.shape(function, "x", x, ("N", "C"))
    N, C = x.shape
    if C == 0:
        raise ShapeError(f"{function}: x has shape {tuple(x.shape)}; a distribution needs at least one class")
    check.shape(function, "target", target, (N,))
    check.indices(function, "target", target, C, ignore=ignore_index)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{function}: label_smoothing is {label_smoothing}, expected 0 … 1")
    if dloss is not None:
        check.shape(function, "dloss", dloss, (N,))
    if out is not None:
        check.shape(function, "out", out, (N, C))
    return check.contiguous(x), check.contiguous(target)
