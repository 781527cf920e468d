"""Functions of matrices, that is of the last two axes."""

import math
from operator import index

from nlp_kernels.errors import ShapeError

from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops import kinks, reduction
from tinygrad_nlp.ops.creation import arange, asarray
from tinygrad_nlp.ops.indexing import getitem

__all__ = ["diagonal", "matrix_norm", "trace"]


@explained
def diagonal(x, *, offset=0):
    """y[..., i] = x[..., i, i + offset].  (..., N, M) -> (..., min(N, M)) for offset 0

    Raises ShapeError for fewer than two axes, DtypeError for what is no array or offset.

    >>> tn.diagonal([[1.0, 2.0], [3.0, 4.0]])
    Tensor([1., 4.])
    """
    x = _matrices("diagonal", x)
    row, column = max(-index(offset), 0), max(offset, 0)
    i = arange(max(min(x.shape[-2] - row, x.shape[-1] - column), 0), device=x.device)
    return getitem(x, (..., i + row, i + column))


@explained
def trace(x, *, offset=0, dtype=None):
    """Σ_i x[..., i, i + offset].  (..., N, M) -> (...)

    Raises ShapeError for fewer than two axes, DtypeError for what is no array, offset or dtype.

    >>> tn.trace([[1.0, 2.0], [3.0, 4.0]])
    Tensor(5.)
    """
    return reduction.sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


@explained
def matrix_norm(x, *, keepdims=False, ord="fro"):
    """The norm of each matrix: "fro" (Σ x²)^(1/2), inf the largest row sum of |x|, 1 the largest column sum.

    -inf and -1 take the smallest. (..., N, M) -> (...). The derivative of "fro" at the origin is 0; ties share equally.
    The norms of singular values (2, -2, "nuc") are not offered. Raises ShapeError for fewer than two axes, ValueError
    for another `ord`, DtypeError for what is no array or number.

    >>> tn.matrix_norm([[3.0, 0.0], [0.0, 4.0]])
    Tensor(5.)
    """
    x = _matrices("matrix_norm", x)
    if ord == "fro":
        return reduction.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f'matrix_norm: ord is "fro", 1, -1, inf or -inf, not {ord!r}')
    over = -2 if ord in (1, -1) else -1
    sums = reduction.sum(kinks.abs(x), axis=over, keepdims=True)
    y = (reduction.max if ord > 0 else reduction.min)(sums, axis=-3 - over, keepdims=True)
    return y if keepdims else getitem(y, (..., 0, 0))


def _matrices(function, x):
    x = asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"{function} of {x.shape}: a matrix is needed")
    return x
