"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.module import Module, parameter


class LayerNorm(Module):
    """y = γ ⊙ (x - μ) / √(σ² + ε) + β, μ and σ² over the last axes, `normalized_shape` (E41).  (..., C) -> (..., C)

    γ (weight) begins as 1, β (bias) as 0; `elementwise_affine=False` has neither, `bias=False` no β. Raises ShapeError
    where the sizes do not fit or are negative, DtypeError for sizes that are no integers and a dtype that is not
    floating-point.

    >>> nn.LayerNorm(2, eps=0.0)([[1.0, 3.0]]).detach()
    Tensor([[-1.,  1.]])
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = (
            tuple(normalized_shape) if isinstance(normalized_shape, Iterable) else (normalized_shape,)
        )
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.register_parameter("weight", parameter(shape, device, dtype) if elementwise_affine else None)
        self.register_parameter("bias", parameter(shape, device, dtype) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """γ = 1, β = 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Any) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
