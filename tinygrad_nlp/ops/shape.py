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


@primitive
def reshape(x, shape, *, copy=None):
    """the same elements in row-major order under another shape; one size may be -1

    >>> tn.reshape([1.0, 2.0, 3.0, 4.0], (2, 2))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return x.reshape(shape) if copy is None else namespace(x).reshape(x, shape, copy=copy)


@reshape.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def permute_dims(x, axes):
    """axis i of the result is axis axes[i] of x

    >>> tn.permute_dims(tn.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return x.transpose(tuple(axes))


@permute_dims.vjp("x")
def _(g, axes):  # the inverse permutation
    n = len(axes)
    return namespace(g).permute_dims(g, tuple(sorted(range(n), key=lambda i: axes[i] % n)))


@primitive
def matrix_transpose(x):
    """the last two axes exchanged.  (..., N, C) -> (..., C, N)

    >>> tn.matrix_transpose([[1.0, 2.0]])
    Tensor([[1.],
            [2.]])
    """
    return x.swapaxes(-1, -2)


@matrix_transpose.vjp("x")
def _(g):
    return namespace(g).matrix_transpose(g)


@primitive
def moveaxis(x, source, destination):
    """axes moved to new places, the others in order

    >>> tn.moveaxis(tn.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return namespace(x).moveaxis(x, source, destination)


@moveaxis.vjp("x")
def _(g, source, destination):
    return namespace(g).moveaxis(g, destination, source)


@primitive
def expand_dims(x, axis=0):
    """a new axis of size 1

    >>> tn.expand_dims([1.0, 2.0], axis=1).shape
    (2, 1)
    """
    return namespace(x).expand_dims(x, axis=axis)


@expand_dims.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def squeeze(x, axis):
    """axes of size 1 taken away

    >>> tn.squeeze([[1.0]], 0)
    Tensor([1.])
    """
    return namespace(x).squeeze(x, axis=axis)


@squeeze.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def flip(x, *, axis=None):
    """the order reversed along axes

    >>> tn.flip([1.0, 2.0])
    Tensor([2., 1.])
    """
    return namespace(x).flip(x, axis=axis)


@flip.vjp("x")
def _(g, axis):
    return namespace(g).flip(g, axis=axis)


@primitive
def roll(x, shift, *, axis=None):
    """elements shifted round along axes

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
    """the lower triangle, zero above diagonal k

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
    """the upper triangle, zero below diagonal k

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
    """x in another dtype; the gradient returns in the dtype of x, and none from integers

    >>> tn.astype([1.5, 2.5], tn.int64)
    Tensor([1, 2])
    """
    return _astype(x, dtype, copy=copy) if device is None else _astype(x, dtype, copy=copy).to(device)


@primitive
def _astype(x, dtype, *, copy):
    return namespace(x).astype(x, dtype, copy=copy)


_astype.primitive.__name__ = _astype.__name__ = "astype"


@_astype.vjp("x")
def _(g, x_dtype):
    return namespace(g).astype(g, x_dtype)
