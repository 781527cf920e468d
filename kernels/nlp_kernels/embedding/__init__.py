"""Embedding lookup. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common import check
from nlp_kernels.dispatch import select
from nlp_kernels.embedding import reference

__all__ = ["backward", "forward", "reference"]


def forward(table: Any, indices: Any, *, padding_idx: int | None = None) -> tuple[Any, None]:
    """y_n = T[j_n], the rows of the table that the indices name (E02).  -> (y, None)

    table: (V, D); indices: int32 or int64 of any shape; y: (*indices.shape, D). The row `padding_idx` gets no gradient.
    Raises ShapeError, DtypeError, IndexError for an index outside 0 … V - 1, negative ones included; on a GPU, where
    looking would make the host wait, such an index gives a row of NaN and counts for nothing in `backward`.
    """
    table, indices = _inputs("embedding.forward", table, indices, padding_idx)
    module = select("embedding", table, indices, padding_idx=padding_idx)
    return module.forward(table, indices, padding_idx=padding_idx)


def backward(dy: Any, table: Any, indices: Any, saved: None, *, padding_idx: int | None = None) -> tuple[Any]:
    """dT[r] = Σ_{n: j_n = r} dy_n: repeats sum, in the order of n; 0 for the row `padding_idx`.  -> (dtable,)

    dy: (*indices.shape, D); saved: None.
    """
    table, indices = _inputs("embedding.backward", table, indices, padding_idx, dy=dy)
    check.shape("embedding.backward", "dy", dy, (*indices.shape, table.shape[1]))
    module = select("embedding", table, indices, padding_idx=padding_idx)
    return module.backward(check.contiguous(dy), table, indices, saved, padding_idx=padding_idx)


def _inputs(function, table, indices, padding_idx, **cotangent):
    check.floating(function, table=table, **cotangent)
    check.shape(function, "table", table, ("V", "D"))
    V = table.shape[0]
    check.indices(function, "indices", indices, V)
    if padding_idx is not None and not 0 <= padding_idx < V:
        raise IndexError(f"{function}: padding_idx is {padding_idx}, out of range for size {V}")
    return check.contiguous(table), check.contiguous(indices)
