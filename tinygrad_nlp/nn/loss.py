"""Losses as layers: `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn.criteria import check_reduction
from tinygrad_nlp.nn.module import Module


class Loss(Module):
    """What losses share: how the single terms become one number."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        check_reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class CrossEntropyLoss(Loss):
    """L = -ln softmax(x)_y  (E06, E45).  logits (N, C, ...), classes (N, ...) -> () or (N, ...)

    `weight` (C,) weighs the classes; the mean divides by the weights of the targets that are not `ignore_index`;
    `label_smoothing` is that of `functional.cross_entropy`. Raises ShapeError where the shapes do not fit, IndexError
    for a target that is no class, DtypeError for targets that are not int32 or int64 and for integer logits, ValueError
    for another reduction and a smoothing outside [0, 1].

    >>> nn.CrossEntropyLoss()([[1e3, 0.0]], [0])
    Tensor(0.)
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, label_smoothing=self.label_smoothing
        )


class NLLLoss(Loss):
    """L = -x_y of log-probabilities x  (E06).  (N, C, ...), classes (N, ...) -> () or (N, ...)

    `weight`, targets and mean are those of CrossEntropyLoss. Raises ShapeError where the shapes do not fit, IndexError
    for a target that is no class, DtypeError for targets that are not int32 or int64, ValueError for another reduction.

    >>> nn.NLLLoss()([[-0.5, -1.0]], [1])
    Tensor(1.)
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(Loss):
    """L = -p y ln σ(z) - (1 - y) ln(1 - σ(z)), p weighs the positive class  (E06b).  z, y (...) -> () or (...)

    `weight` multiplies the terms; both broadcast. Raises ShapeError where the shapes do not fit, ValueError for another
    reduction, DtypeError for what is no array or number.

    >>> nn.BCEWithLogitsLoss()([1e3], [1.0])
    Tensor(0.)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(Loss):
    """L = (ŷ - y)²  (E06c).  (...), (...) -> () or (...)

    Raises ShapeError unless the shapes are equal, ValueError for another reduction, DtypeError for what is no array or
    number.

    >>> nn.MSELoss()([1.0, 3.0], [0.0, 0.0])
    Tensor(5.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """L = |ŷ - y|; derivative 0 where they are equal.  (...), (...) -> () or (...)

    Raises ShapeError unless the shapes are equal, ValueError for another reduction, DtypeError for what is no array or
    number.

    >>> nn.L1Loss()([1.0, 3.0], [0.0, 0.0])
    Tensor(2.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.l1_loss(input, target, self.reduction)
