"""Losses as functions (`nn.functional` has them): PyTorch's names, arguments and numbers.

`reduction` is "mean", "sum" or "none"; targets and weights are constants, but those of `mse_loss` and `l1_loss`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nlp_kernels.common import check
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import is_array, namespace
from tinygrad_nlp.autograd.devices import beside
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.tensor import as_array

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss", "nll_loss"]


@explained
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """L = -w_y ln softmax(x)_y, smoothed: (1 - ε) L + (ε/C) Σ_c -w_c ln softmax(x)_c  (E06, E45).

    Logits (N, C, ...) or (C,), integer targets (N, ...) or () -> (), or the targets' shape for `reduction="none"`. The
    mean divides by Σ w_y over the targets that are not `ignore_index`; where there is none it is NaN, as PyTorch's.
    Raises ShapeError where the shapes do not fit, IndexError for a target that is no class, DtypeError for targets that
    are not int32 or int64 and for integer logits, ValueError for another reduction and for ε outside [0, 1].

    >>> F.cross_entropy([[1e3, 0.0]], [0])
    Tensor(0.)
    """
    x, y = _classes_last("cross_entropy", input, target)
    if weight is None:
        loss = ops.cross_entropy(x, y, ignore_index=ignore_index, label_smoothing=label_smoothing)
        return _reduce("cross_entropy", loss, reduction, _total(y != ignore_index))
    w, w_y = _class_weights("cross_entropy", weight, y, ignore_index, x)
    loss = ops.cross_entropy(x, y, ignore_index=ignore_index) * w_y
    if label_smoothing:
        everything = ops.where(y != ignore_index, ops.sum(-ops.log_softmax(x) * w, axis=-1), 0.0)
        loss = (1 - label_smoothing) * loss + (label_smoothing / x.shape[-1]) * everything
    return _reduce("cross_entropy", loss, reduction, _total(w_y))


@explained
def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """L = -w_y x_y of log-probabilities x  (E06).  (N, C, ...), (N, ...) -> (), or (N, ...) for `reduction="none"`

    Targets and means are those of `cross_entropy`. Raises ShapeError where the shapes do not fit, IndexError for a
    target that is no class, DtypeError for targets that are not int32 or int64, ValueError for another reduction.

    >>> F.nll_loss([[-0.5, -1.0]], [1])
    Tensor(1.)
    """
    x, y = _classes_last("nll_loss", input, target)
    check.indices("nll_loss", "target", y, x.shape[-1], ignore=ignore_index)
    counts = y != ignore_index
    chosen = ops.take_along_axis(x, namespace(y).where(counts, y, 0)[..., None], axis=-1)
    loss = ops.where(counts, -ops.squeeze(chosen, -1), 0.0)
    if weight is None:
        return _reduce("nll_loss", loss, reduction, _total(counts))
    _, w_y = _class_weights("nll_loss", weight, y, ignore_index, x)
    return _reduce("nll_loss", loss * w_y, reduction, _total(w_y))


@explained
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """L = p y softplus(-z) + (1 - y) softplus(z), for p = 1 equal to softplus(z) - y z  (E06b).

    (...), (...) -> () or (...). This form has no cancellation: -ln σ(z) keeps its digits for every z. `weight`
    multiplies the terms, `pos_weight` (p) those of the positive class; both broadcast. Raises ShapeError where the
    shapes do not fit, ValueError for another reduction, DtypeError for what is no array or number.

    >>> F.binary_cross_entropy_with_logits([1e3], [1.0])
    Tensor(0.)
    """
    z, y = _same_shapes("binary_cross_entropy_with_logits", input, target)
    positive = y * ops.softplus(-z)
    if pos_weight is not None:
        positive = ops.asarray(pos_weight) * positive
    loss = positive + (1 - y) * ops.softplus(z)
    return _reduce(
        "binary_cross_entropy_with_logits", loss if weight is None else loss * ops.asarray(weight), reduction
    )


@explained
def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """L = (ŷ - y)²  (E06c).  (...), (...) -> () or (...)

    Raises ShapeError unless the shapes are equal, ValueError for another reduction, DtypeError for what is no array or
    number.

    >>> F.mse_loss([1.0, 3.0], [0.0, 0.0])
    Tensor(5.)
    """
    x, y = _same_shapes("mse_loss", input, target)
    return _reduce("mse_loss", ops.square(x - y), reduction)


@explained
def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """L = |ŷ - y|.  (...), (...) -> () or (...)

    The derivative is 0 where they are equal. Raises ShapeError unless the shapes are equal, ValueError for another
    reduction, DtypeError for what is no array or number.

    >>> F.l1_loss([1.0, 3.0], [0.0, 0.0])
    Tensor(2.)
    """
    x, y = _same_shapes("l1_loss", input, target)
    return _reduce("l1_loss", ops.abs(x - y), reduction)


def check_reduction(function: str, reduction: str) -> None:
    """Raise ValueError unless the name of a reduction is known."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{function}: reduction is "mean", "sum" or "none", not {reduction!r}')


def _reduce(function: str, loss: Tensor, reduction: str, count: Any = None) -> Tensor:
    check_reduction(function, reduction)
    if reduction == "none":
        return loss
    total = ops.sum(loss)
    if reduction == "sum":
        return total
    count = loss.size if count is None else count
    if is_array(count):  # on a GPU, where asking whether it is 0 would stall; 0 / 0 is NaN
        return total / namespace(count).astype(count, total.dtype)
    return total / count if count else total * math.nan


def _classes_last(function: str, input: Any, target: Any) -> tuple[Tensor, Any]:
    x, y = ops.asarray(input), as_array(target)
    if not x.ndim:
        raise ShapeError(f"{function}: logits () have no axis of classes")
    axis = min(1, x.ndim - 1)
    if y.shape != (expected := x.shape[:axis] + x.shape[axis + 1 :]):
        raise ShapeError(
            f"{function}: logits {x.shape} have their classes on axis {axis}, so the target's shape is "
            f"{expected}, not {y.shape}; bring (..., C) logits to (-1, C) with reshape"
        )
    return (x if axis == x.ndim - 1 else ops.moveaxis(x, axis, -1)), beside(x.data, y)


def _class_weights(function: str, weight: Any, y: Any, ignore_index: int, x: Tensor) -> tuple[Any, Any]:
    """Weights (C,) in the dtype of the logits, and each target's own, 0 where it is ignored."""
    w = beside(x.data, as_array(weight, x.dtype))
    check.shape(function, "weight", w, (x.shape[-1],))
    xp, counts = namespace(y), y != ignore_index
    check.indices(function, "target", y, x.shape[-1], ignore=ignore_index)
    return w, xp.where(counts, w[xp.where(counts, y, 0)], 0)


def _total(weights: Any) -> Any:
    """Σ of weights or of a mask: a number, or an array () where that is on a GPU."""
    total = weights.sum()
    return total if is_array(weights) and type(weights) is not np.ndarray else total.item()


def _same_shapes(function: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    x, y = ops.asarray(input), ops.asarray(target)
    if x.shape != y.shape:
        raise ShapeError(f"{function}: input {x.shape} and target {y.shape} must have one shape")
    return x, y
