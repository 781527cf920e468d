"""The array API's linear algebra extension, as far as it needs no decomposition of a matrix."""

from tinygrad_nlp.ops.linear_algebra import matmul, outer, tensordot, vecdot
from tinygrad_nlp.ops.matrices import diagonal, matrix_norm, trace
from tinygrad_nlp.ops.reduction import vector_norm
from tinygrad_nlp.ops.shape import matrix_transpose

__all__ = [
    "diagonal",
    "matmul",
    "matrix_norm",
    "matrix_transpose",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
