"""Dropout."""

from __future__ import annotations

from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn.module import Module
from tinygrad_nlp.random import Generator


class Dropout(Module):
    """y = x ⊙ m / (1 - p), m = 0 with probability p, in training; y = x in evaluation (E16).  (...) -> (...)

    m comes from `generator`, or the library's own. Raises ValueError for p outside [0, 1], DtypeError for what is no
    array or number.

    >>> nn.Dropout(0.5).eval()([1.0, 2.0])
    Tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be in [0, 1], got {p}")
        self.p, self.generator = p, generator

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
