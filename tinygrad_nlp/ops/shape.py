"""Shape functions move values; their gradients move them back."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.explain import explained

__all__ = [
    "astype",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "reshape",
    "roll",
    "squeeze",
    "tril",
    "triu",
]

moves = primitive(takes_bfloat16=True)


@moves
def reshape(x, shape, *, copy=None):
    """The same elements in row-major order under another shape; one size may be -1.  (2, 3), (3, 2) -> (3, 2)

    Raises ShapeError for a shape of another size, or where `copy=False` cannot be, DtypeError for what is no array or
    shape.

    >>> tn.reshape([1.0, 2.0, 3.0, 4.0], (2, 2))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return x.reshape(shape) if copy is None else namespace(x).reshape(x, shape, copy=copy)


@reshape.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@moves
def permute_dims(x, axes):
    """Axis i of the result is axis axes[i] of x.  (A, B, C), (2, 0, 1) -> (C, A, B)

    Raises ShapeError for axes that are no permutation, DtypeError for what is no array or axes.

    >>> tn.permute_dims(tn.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return x.transpose(tuple(axes))


@permute_dims.vjp("x")
def _(g, axes):  # the inverse permutation
    n = len(axes)
    return namespace(g).permute_dims(g, tuple(sorted(range(n), key=lambda i: axes[i] % n)))


@moves
def matrix_transpose(x):
    """y[..., j, i] = x[..., i, j].  (..., N, C) -> (..., C, N)

    Raises AxisError for fewer than two axes, DtypeError for what is no array or number.

    >>> tn.matrix_transpose([[1.0, 2.0]])
    Tensor([[1.],
            [2.]])
    """
    return x.swapaxes(-1, -2)


@matrix_transpose.vjp("x")
def _(g):
    return namespace(g).matrix_transpose(g)


@moves
def moveaxis(x, source, destination):
    """Axes moved to new places, the others in order.  (A, B, C), 0, -1 -> (B, C, A)

    Raises AxisError for an axis that is not there, DtypeError for what is no array or axis.

    >>> tn.moveaxis(tn.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return namespace(x).moveaxis(x, source, destination)


@moveaxis.vjp("x")
def _(g, source, destination):
    return namespace(g).moveaxis(g, destination, source)


@moves
def expand_dims(x, axis=0):
    """A new axis of size 1.  (N, C) -> (1, N, C) for axis 0

    Raises AxisError for a place that is not there, DtypeError for what is no array or axis.

    >>> tn.expand_dims([1.0, 2.0], axis=1).shape
    (2, 1)
    """
    return namespace(x).expand_dims(x, axis=axis)


@expand_dims.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@moves
def squeeze(x, axis):
    """Axes of size 1 taken away.  (1, C), 0 -> (C,)

    Raises AxisError for an axis that is not there, ShapeError for one of another size, DtypeError for what is no array
    or axis.

    >>> tn.squeeze([[1.0]], 0)
    Tensor([1.])
    """
    return namespace(x).squeeze(x, axis=axis)


@squeeze.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@moves
def flip(x, *, axis=None):
    """The order reversed along axes, all by default.  (...) -> (...)

    Raises AxisError for an axis that is not there, DtypeError for what is no array or axis.

    >>> tn.flip([1.0, 2.0])
    Tensor([2., 1.])
    """
    return namespace(x).flip(x, axis=axis)


@flip.vjp("x")
def _(g, axis):
    return namespace(g).flip(g, axis=axis)


@moves
def roll(x, shift, *, axis=None):
    """y[(i + shift) mod N] = x[i] along axes, or in the flattened array.  (..., N, ...) -> (..., N, ...)

    Raises AxisError for an axis that is not there, ShapeError where shifts and axes do not pair up, DtypeError for what
    is no array or number.

    >>> tn.roll([1.0, 2.0, 3.0], 1)
    Tensor([3., 1., 2.])
    """
    return namespace(x).roll(x, shift, axis=axis)


@roll.vjp("x")
def _(g, shift, axis):
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return namespace(g).roll(g, back, axis=axis)


@primitive
def tril(x, *, k=0):
    """x[..., i, j] where j ≤ i + k, else 0.  (..., N, M) -> (..., N, M)

    Raises ShapeError for fewer than two axes, DtypeError for what is no array or k.

    >>> tn.tril([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 0.],
            [3., 4.]])
    """
    _matrix(x)
    return namespace(x).tril(x, k=k)


def _matrix(x):
    if x.ndim < 2:
        raise ValueError("a matrix is needed")


@tril.vjp("x")
def _(g, k):
    return namespace(g).tril(g, k=k)


@primitive
def triu(x, *, k=0):
    """x[..., i, j] where j ≥ i + k, else 0.  (..., N, M) -> (..., N, M)

    Raises ShapeError for fewer than two axes, DtypeError for what is no array or k.

    >>> tn.triu([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 2.],
            [0., 4.]])
    """
    _matrix(x)
    return namespace(x).triu(x, k=k)


@triu.vjp("x")
def _(g, k):
    return namespace(g).triu(g, k=k)


@explained
def astype(x, dtype, /, *, copy=True, device=None):
    """x in another dtype.  (...) -> (...)

    The gradient returns in the dtype of x; none flows through integers and bools. Raises DtypeError for what is no
    array or dtype of numbers, DeviceError for no such device.

    >>> tn.astype([1.5, 2.5], tn.int64)
    Tensor([1, 2])
    """
    return _astype(x, dtype, copy=copy) if device is None else _astype(x, dtype, copy=copy).to(device)


@moves
def _astype(x, dtype, *, copy):
    return namespace(x).astype(x, dtype, copy=copy)


_astype.primitive.__name__ = _astype.__name__ = "astype"


@_astype.vjp("x")
def _(g, x_dtype):
    return namespace(g).astype(g, x_dtype)
