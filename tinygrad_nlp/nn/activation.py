"""Activations as layers (E13), and softmax (E05)."""

from __future__ import annotations

from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn.module import Module


class ReLU(Module):
    """y = max(x, 0); derivative 0 at 0  (E13).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> nn.ReLU()([-2.0, 3.0])
    Tensor([0., 3.])
    """

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class GELU(Module):
    """y = x Φ(x), or with `approximate="tanh"` ½x(1 + tanh(√(2/π)(x + 0.044715x³)))  (E13).  (...) -> (...)

    Raises ValueError for another form, DtypeError for what is no array or number.

    >>> nn.GELU()([0.0, 1e3])
    Tensor([   0., 1000.])
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        F.check_gelu(approximate)
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ)  (E13).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> nn.Sigmoid()([0.0, 1e3])
    Tensor([0.5, 1. ])
    """

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """y = tanh x  (E13).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> nn.Tanh()([0.0, 1e3])
    Tensor([0., 1.])
    """

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Softplus(Module):
    """y = ln(1 + e^(βx)) / β  (E13).  (...) -> (...)

    Raises ValueError for β = 0, DtypeError for what is no array or number.

    >>> nn.Softplus()([-1e3, 1e3])
    Tensor([   0., 1000.])
    """

    def __init__(self, beta: float = 1.0):
        super().__init__()
        self.beta = beta

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class Softmax(Module):
    """p_i = e^(x_i) / Σ_j e^(x_j) over axis `dim`  (E05).  (..., C) -> (..., C)

    Raises AxisError for an axis that is not there, DtypeError for integers.

    >>> nn.Softmax()([1.0, 1.0])
    Tensor([0.5, 0.5])
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """ln p_i = x_i - ln Σ_j e^(x_j) over axis `dim`  (E05).  (..., C) -> (..., C)

    Raises AxisError for an axis that is not there, DtypeError for integers.

    >>> nn.LogSoftmax()([0.0, -1e3])
    Tensor([    0., -1000.])
    """

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.dim)
