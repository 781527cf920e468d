"""Embedding: rows of a table by index (E01, E02), readable. Derivation and tags (n): README.md."""

import math

from nlp_kernels.common.xp import array_namespace, gather, scatter_add


def forward(table, indices, *, padding_idx=None):
    """(V, D), (...) -> y (..., D), None: nothing is saved. `padding_idx` concerns the gradient alone."""
    return gather(table, indices), None  #                         (1)  (..., D)


def backward(dy, table, indices, saved=None, *, padding_idx=None):
    """Gradient (dtable,), (V, D): rows of repeated indices sum, the padding row's is 0."""
    xp = array_namespace(dy)
    n = math.prod(indices.shape)
    dy, indices = xp.reshape(dy, (n, table.shape[1])), xp.reshape(indices, (n,))
    if padding_idx is not None:
        dy = xp.where((indices != padding_idx)[:, None], dy, 0.0)  #   (2)  (N, D)
    return (scatter_add(dy, indices, table.shape[0]),)  #          (3)  (V, D)
