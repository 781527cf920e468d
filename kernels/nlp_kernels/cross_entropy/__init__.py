"""Cross-entropy from logits. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common import check
from nlp_kernels.cross_entropy import reference
from nlp_kernels.dispatch import select
from nlp_kernels.errors import ShapeError

__all__ = ["backward", "forward", "reference"]


def forward(x: Any, target: Any, *, ignore_index: int = -100, label_smoothing: float = 0.0) -> tuple[Any, Any]:
    """L_n = -Σ_i q_i log softmax(x_n)_i, q = (1 - ε) o_y + ε/C, in nats (E06, E45).  -> (loss (N,), saved)

    x: (N, C) logits; target: (N,) int32 or int64, 0 … C - 1, or `ignore_index` for a row that counts nothing
    (loss 0, gradient 0); label smoothing ε in [0, 1]. One loss a row: sums and means are the caller's.
    Raises ShapeError, DtypeError, IndexError for a target out of range, ValueError for ε.
    """
    x, target = _inputs("cross_entropy.forward", x, target, ignore_index, label_smoothing)
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    return select("cross_entropy", x, target, **hyper).forward(x, target, **hyper)


def backward(
    dloss: Any, x: Any, target: Any, saved: Any, *, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[Any]:
    """dx = dloss (softmax(x) - q), 0 in ignored rows.  -> (dx (N, C),)

    dloss: (N,); x, target as in `forward`; saved: what `forward` returned (the row maximum m and log Σ exp(x - m)),
    or None.
    """
    x, target = _inputs("cross_entropy.backward", x, target, ignore_index, label_smoothing, dloss=dloss)
    check.shape("cross_entropy.backward", "dloss", dloss, (x.shape[0],))
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    return select("cross_entropy", x, target, **hyper).backward(check.contiguous(dloss), x, target, saved, **hyper)


def _inputs(function, x, target, ignore_index, label_smoothing, **cotangent):
    check.floating(function, x=x, **cotangent)
    check.shape(function, "x", x, ("N", "C"))
    N, C = x.shape
    if C == 0:
        raise ShapeError(f"{function}: x has shape {tuple(x.shape)}; a distribution needs at least one class")
    check.shape(function, "target", target, (N,))
    check.indices(function, "target", target, C, ignore=ignore_index)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{function}: label_smoothing is {label_smoothing}, expected 0 … 1")
    return check.contiguous(x), check.contiguous(target)
