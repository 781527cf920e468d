"""Products of matrices and vectors."""

import math

import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import product

from tinygrad_nlp.autograd import namespace, primitive, unbroadcast
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.creation import asarray
from tinygrad_nlp.ops.shape import permute_dims, reshape

__all__ = ["matmul", "outer", "tensordot", "vecdot"]


@primitive(takes_bfloat16=True)
def matmul(a, b):
    """y[..., i, j] = Σ_k a[..., i, k] b[..., k, j].  (..., N, K), (..., K, M) -> (..., N, M)

    Leading axes broadcast; a vector gains an axis for the product and loses it again. Raises ShapeError where the sizes
    do not fit, DtypeError for what is no array or number.

    >>> tn.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[11.]])
    """
    return product(a, b)


@matmul.vjp("a")
def _(g, a_shape, a_dtype, b):  # dA = G B^T
    xp = namespace(g)
    if b.ndim == 1:
        da = xp.expand_dims(g, axis=-1) * b  # y = A b: dA = g b^T
    elif len(a_shape) == 1:
        da = product(b, xp.expand_dims(g, axis=-1))[..., 0]  # y = a B: da = B g
    else:
        da = product(g, xp.matrix_transpose(b))
    return _returned(da, a_shape, a_dtype)


@matmul.vjp("b")
def _(g, a, b_shape, b_dtype):  # dB = A^T G
    xp = namespace(g)
    if a.ndim == 1:
        db = xp.expand_dims(a, axis=-1) * xp.expand_dims(g, axis=-2) if len(b_shape) > 1 else a * g  # db = a g^T
    elif len(b_shape) == 1:
        db = product(xp.expand_dims(g, axis=-2), a)[..., 0, :]  # y = A b: db = A^T g
    elif len(b_shape) == 2 and a.ndim > 2:  # one product of all rows, not a sum of products
        n = math.prod(a.shape[:-1])
        db = product(xp.matrix_transpose(xp.reshape(a, (n, a.shape[-1]))), xp.reshape(g, (n, g.shape[-1])))
    else:
        db = product(xp.matrix_transpose(a), g)
    return _returned(db, b_shape, b_dtype)


@primitive
def vecdot(a, b, *, axis=-1):
    """Σ_k a[..., k] b[..., k] over one axis.  (..., K), (..., K) -> (...)

    The other axes broadcast. Raises AxisError for an axis that is not there, ShapeError where the sizes do not fit,
    DtypeError for what is no array or number.

    >>> tn.vecdot([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    return namespace(a).vecdot(a, b, axis=axis)


@vecdot.vjp("a")
def _(g, a_shape, a_dtype, b, axis):  # da = g b
    return _returned(_scaled(g, b, axis, len(a_shape)), a_shape, a_dtype)


@vecdot.vjp("b")
def _(g, a, b_shape, b_dtype, axis):  # db = g a
    return _returned(_scaled(g, a, axis, len(b_shape)), b_shape, b_dtype)


def _scaled(g, other, axis, ndim):
    return namespace(g).expand_dims(g, axis=axis if axis < 0 else axis - ndim) * other


def _returned(g, shape, dtype):
    """The gradient of one factor: summed where it was broadcast, in its precision."""
    if g.dtype is BFLOAT16 and g.shape != shape:
        g = namespace(g).astype(g, np.float32)  # to be summed
    g = unbroadcast(g, shape)
    return g if g.dtype == dtype else namespace(g).astype(g, dtype)


@explained
def tensordot(a, b, *, axes=2):
    """Σ a b over pairs of axes.  (N, K), (K, M) -> (N, M) for axes=1

    `axes` pairs the last axes of a with the first of b, or is (axes of a, axes of b). Raises ShapeError where the axes
    do not pair up, ValueError for `axes` of another form, DtypeError for what is no array or number.

    >>> tn.tensordot([[1.0, 2.0]], [[3.0], [4.0]], axes=1)
    Tensor([[11.]])
    """
    a, b = asarray(a), asarray(b)
    if not isinstance(axes, int) and not (isinstance(axes, (tuple, list)) and len(axes) == 2):
        raise ValueError(f"tensordot: axes is a number, or a pair (axes of a, axes of b), not {axes!r}")
    left, right = (range(-axes, 0), range(axes)) if isinstance(axes, int) else axes
    if not all(-x.ndim <= i < x.ndim for x, which in ((a, left), (b, right)) for i in which):
        raise ShapeError(f"tensordot of {a.shape} and {b.shape}: there are no axes {list(left)} and {list(right)}")
    left, right = [i % a.ndim for i in left], [i % b.ndim for i in right]
    paired = [a.shape[i] for i in left] == [b.shape[i] for i in right]
    if not paired or len({*left}) != len(left) or len({*right}) != len(right):
        raise ShapeError(f"tensordot of {a.shape} and {b.shape}: axes {left} and {right} do not pair up")
    rows, columns = ([i for i in range(x.ndim) if i not in used] for x, used in ((a, left), (b, right)))
    shape = [a.shape[i] for i in rows] + [b.shape[i] for i in columns]
    k, n, m = (math.prod(x.shape[i] for i in which) for x, which in ((a, left), (a, rows), (b, columns)))
    a = reshape(permute_dims(a, (*rows, *left)), (n, k))
    b = reshape(permute_dims(b, (*right, *columns)), (k, m))
    return reshape(matmul(a, b), tuple(shape))


@explained
def outer(a, b):
    """y[i, j] = a[i] b[j].  (N,), (M,) -> (N, M)

    Raises ShapeError unless both are vectors, DtypeError for what is no array or number.

    >>> tn.outer([1.0, 2.0], [3.0, 4.0])
    Tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = asarray(a), asarray(b)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"outer of {a.shape} and {b.shape}: two vectors are needed")
    return a[:, None] * b[None, :]
