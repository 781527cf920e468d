"""Matmul by NVIDIA's library, cuBLAS, as CuPy calls it, each step after the other: what our kernels are held against.

It runs where it is asked for, `use_backend("cublas", "matmul")`. What follows a product is computed in float32 for
bfloat16, and rounded once.
"""

from nlp_kernels.common.cuda import DTYPES, arithmetic
from nlp_kernels.common.xp import array_namespace, library
from nlp_kernels.matmul import reference


def supports(x, w, b=None, residual=None, **hyper):
    """Arrays of CuPy, whose version 14 multiplies no stacks of bfloat16."""
    there = library(array_namespace(x)) == "cupy" and x.dtype.name in DTYPES
    return there and (x.dtype.name != "bfloat16" or x.ndim == w.ndim == 2)


def pays(*inputs, **hyper):
    """Never unasked."""
    return False


def forward(x, w, b=None, residual=None, *, activation="none", transpose_w=False):
    z = _wide(product(x, w.T if transpose_w else w))  #   (1)
    if b is not None:
        z = z + _wide(b)  #                               (2)
    y = reference.activate(z, activation)  #              (3) (5) (6) (7)
    if residual is not None:
        y = y + _wide(residual)  #                        (4)
    return _like(x, y), None if activation == "none" else _like(x, z)


def backward(dy, x, w, b=None, residual=None, saved=None, *, activation="none", transpose_w=False):
    dz = dy
    if activation != "none":
        z = forward(x, w, b, activation=activation, transpose_w=transpose_w)[1] if saved is None else saved
        dz = _like(x, reference.activate_backward(_wide(dy), _wide(z), activation))  # (8) (9) (10) (11)
    dx = product(dz, w if transpose_w else w.T)  #                    (12)
    dw = product(dz.T, x) if transpose_w else product(x.T, dz)  #     (13)
    db = None if b is None else _like(x, _wide(dz).sum(axis=0))  #    (14)
    return dx, dw, db, None if residual is None else dy  #            (15)


def product(a, b):
    """a b, as the array API's matmul."""
    return array_namespace(a, b).matmul(a, b)


def _wide(x):
    return x.astype(arithmetic(x.dtype), copy=False)


def _like(x, y):
    return y.astype(x.dtype, copy=False)
