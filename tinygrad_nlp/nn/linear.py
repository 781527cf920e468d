"""The dense layer."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.module import Module, parameter


class Linear(Module):
    """y = x Wᵀ + b  (E12).  x (..., in), weight (out, in), bias (out,) -> (..., out)

    Both begin as U(-1/√in, 1/√in). Raises ShapeError where the sizes do not fit or are negative, DtypeError for sizes
    that are no integers and a dtype that is not floating-point.

    >>> nn.Linear(3, 2)(np.ones((4, 3))).shape
    (4, 2)
    """

    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = parameter((out_features, in_features), device, dtype)
        self.register_parameter("bias", parameter((out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
