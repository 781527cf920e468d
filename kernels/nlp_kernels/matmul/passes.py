"""The passes of a layer around a GPU's products, the same for each of the kernels: README.md; passes.cuh."""

import numpy as np

from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import empty
from nlp_kernels.common.gpu import blocks
from nlp_kernels.matmul.reference import ACTIVATIONS

THREADS = 256  # of a block


def forward(multiply, x, w, b, residual, *, activation="none", transpose_w=False):
    """(1) to (4) by multiply(a, b, bias, residual, activation, keeps_z=) -> (y, z, sums); (y, z)."""
    y, z, _ = multiply(x, w.T if transpose_w else w, b, residual, activation, keeps_z=activation != "none")
    return y, z


def backward(source, multiply, operand, dy, x, w, b, residual, saved, *, activation="none", transpose_w=False):
    """(8), (12) to (15), of whatever `operand` makes of arrays for `multiply`, with a `T`: (dx, dw, db, dresidual)."""
    dz, left, right = dy, operand(x), operand(w)
    if activation != "none":
        hyper = {"activation": activation, "transpose_w": transpose_w}
        z = forward(multiply, left, right, b, None, **hyper)[1] if saved is None else saved
        dz = slopes(source, contiguous(dy), z, activation)
    split = operand(dz), left, right  # dz once for both products
    dresidual = None if residual is None else dy  # (15)
    return *_gradients(multiply, *split, transpose_w=transpose_w, bias=b is not None), dresidual


def _gradients(multiply, dz, x, w, *, transpose_w, bias):
    """dx, dw and db or None, of arrays or whatever `multiply` takes that has a `T`."""
    dx, _, _ = multiply(dz, w if transpose_w else w.T)  # (12)
    if transpose_w:
        dw, _, db = multiply(dz.T, x, sums="a" if bias else None)  # (13)
    else:
        dw, _, db = multiply(x.T, dz, sums="b" if bias else None)
    return dx, dw, db


def slopes(source, dy, z, activation):
    """dz = dy g'(z), by the kernel of passes.cuh that `source` includes."""
    dz = empty(dy, dy.shape)
    if dz.size:
        kernel = source.kernel("slopes<T>", dy)
        kernel((blocks(dy, -(-dz.size // THREADS)),), (THREADS,), (dz, dy, z, np.int64(dz.size), code(activation)))
    return dz


def finish(source, y, z, partial, bias=None, residual=None, activation="none"):
    """y, and z where it is kept, of the sums in `partial` (splits, ..., M, N), likewise."""
    sizes = np.int64(y.size), np.int32(y.shape[-1]), np.int32(partial.shape[0])
    kernel = source.kernel("finish<T>", y)
    grid = (blocks(y, -(-y.size // THREADS)),)
    kernel(grid, (THREADS,), (y, z, partial, bias, residual, *sizes, code(activation)))


def code(activation):
    """An activation as the kernels take it."""
    return np.int32(ACTIVATIONS.index(activation))
