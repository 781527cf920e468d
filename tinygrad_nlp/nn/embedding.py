"""The table of word vectors."""

from __future__ import annotations

from typing import Any

from nlp_kernels.errors import ShapeError

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.loading import write
from tinygrad_nlp.nn.module import Module, parameter


class Embedding(Module):
    """e_j = row j of the table (E02).  indices (...), weight (V, D) -> (..., D)

    The table begins as N(0, 1); row `padding_idx` begins as 0 and gets no gradient. Raises IndexError for a row that is
    not there, ShapeError for a negative size, DtypeError for indices that are not int32 or int64 and for a dtype that
    is not floating-point.

    >>> nn.Embedding(5, 2, padding_idx=0)([0, 0]).detach()
    Tensor([[0., 0.],
            [0., 0.]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = F.padding_row(padding_idx, num_embeddings)
        self.weight = parameter((num_embeddings, embedding_dim), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    @classmethod
    @explained
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A layer with a given table (V, D), on its device, frozen unless said. Raises ShapeError unless a matrix."""
        table = Tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"the table has shape {table.shape}, expected (V, D)")
        layer = cls(table.shape[0], table.shape[1], padding_idx, table.device, table.dtype)
        write(layer.weight, table.data)
        return layer.requires_grad_(not freeze)

    def forward(self, indices: Any) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
