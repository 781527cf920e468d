"""Shape functions move values; their gradients move them back."""

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp.autograd import namespace, primitive, unbroadcast
from tinygrad_nlp.autograd.arrays import broadcast
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.ops.joining import Joining, plain

__all__ = [
    "astype",
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "tril",
    "triu",
    "unstack",
]


@primitive
def reshape(x, shape, *, copy=None):
    """the same elements in row-major order under another shape; one size may be -1"""
    return x.reshape(shape) if copy is None else namespace(x).reshape(x, shape, copy=copy)


@reshape.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def broadcast_to(x, shape):
    """x repeated along axes of size 1 and new leading axes"""
    return broadcast(x, shape)


@broadcast_to.vjp("x")
def _(g, x_shape):
    return unbroadcast(g, x_shape)


@primitive
def permute_dims(x, axes):
    """axis i of the result is axis axes[i] of x"""
    return x.transpose(axes)


@permute_dims.vjp("x")
def _(g, axes):  # the inverse permutation
    n = len(axes)
    return namespace(g).permute_dims(g, tuple(sorted(range(n), key=lambda i: axes[i] % n)))


@primitive
def matrix_transpose(x):
    """the last two axes exchanged.  (..., N, C) -> (..., C, N)"""
    return x.swapaxes(-1, -2)


@matrix_transpose.vjp("x")
def _(g):
    return namespace(g).matrix_transpose(g)


@primitive
def moveaxis(x, source, destination):
    """axes moved to new places, the others in order"""
    return namespace(x).moveaxis(x, source, destination)


@moveaxis.vjp("x")
def _(g, source, destination):
    return namespace(g).moveaxis(g, destination, source)


@primitive
def expand_dims(x, axis=0):
    """a new axis of size 1"""
    return namespace(x).expand_dims(x, axis=axis)


@expand_dims.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def squeeze(x, axis):
    """axes of size 1 taken away"""
    return namespace(x).squeeze(x, axis=axis)


@squeeze.vjp("x")
def _(g, x_shape):
    return g.reshape(x_shape)


@primitive
def flip(x, *, axis=None):
    """the order reversed along axes"""
    return namespace(x).flip(x, axis=axis)


@flip.vjp("x")
def _(g, axis):
    return namespace(g).flip(g, axis=axis)


@primitive
def roll(x, shift, *, axis=None):
    """elements shifted round along axes"""
    return namespace(x).roll(x, shift, axis=axis)


@roll.vjp("x")
def _(g, shift, axis):
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return namespace(g).roll(g, back, axis=axis)


@primitive
def tril(x, *, k=0):
    """the lower triangle, zero above diagonal k"""
    return namespace(x).tril(x, k=k)


@tril.vjp("x")
def _(g, k):
    return namespace(g).tril(g, k=k)


@primitive
def triu(x, *, k=0):
    """the upper triangle, zero below diagonal k"""
    return namespace(x).triu(x, k=k)


@triu.vjp("x")
def _(g, k):
    return namespace(g).triu(g, k=k)


def astype(x, dtype, /, *, copy=True, device=None):
    """x in another dtype; the gradient returns in the dtype of x, and none from integers"""
    return _astype(x, dtype, copy=copy) if device is None else _astype(x, dtype, copy=copy).to(device)


@primitive
def _astype(x, dtype, *, copy):
    return namespace(x).astype(x, dtype, copy=copy)


_astype.primitive.__name__ = _astype.__name__ = "astype"


@_astype.vjp("x")
def _(g, x_dtype):
    return namespace(g).astype(g, x_dtype)


@primitive(several=True)
def unstack(x, *, axis=0):
    """the slices x[0], x[1], … along an axis, as a tuple"""
    return tuple(namespace(x).unstack(x, axis=axis))


@unstack.vjp("x")
def _(gs, axis):
    return namespace(gs[0]).stack(gs, axis=axis)


def concat(arrays, /, *, axis=0):
    """arrays laid end to end along an axis; axis=None flattens them first"""
    if axis is None:
        arrays, axis = [reshape(x, (-1,)) for x in arrays], 0
    return _concat(arrays, axis)


def _slices(g, shapes, axis):
    """What each array of a concatenation receives: its own stretch."""
    axis, start, parts = axis % g.ndim, 0, []
    for shape in shapes:
        index = (slice(None),) * axis + (slice(start, start + shape[axis]),)
        parts.append(g[index])
        start += shape[axis]
    return parts


_concat = Joining("concat", lambda xp, arrays, axis: xp.concat(arrays, axis=axis), _slices)
_stack = Joining(
    "stack",
    lambda xp, arrays, axis: xp.stack(arrays, axis=axis),
    lambda g, shapes, axis: namespace(g).unstack(g, axis=axis),
)


def stack(arrays, /, *, axis=0):
    """arrays of one shape laid along a new axis"""
    return _stack(arrays, axis)


def broadcast_arrays(*arrays):
    """The arrays, each repeated to the shape they broadcast to."""
    shapes = [as_array(x).shape for x in arrays]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(f"broadcast_arrays of {', '.join(map(str, shapes))}: {error}") from error
    return [broadcast_to(x, shape) for x in arrays]


def meshgrid(*arrays, indexing="xy"):
    """The coordinates of a grid: one array of the grid's shape for each vector of coordinates."""
    n, grids = len(arrays), []
    for i, x in enumerate(arrays):
        place = 1 - i if indexing == "xy" and i < 2 <= n else i
        grids.append(reshape(x, tuple(-1 if j == place else 1 for j in range(n))))
    return broadcast_arrays(*grids)


def tile(x, repetitions, /):
    """x laid out repetitions[i] times along axis i."""
    shape = as_array(x).shape
    n = max(len(shape), len(repetitions))
    shape, times = (1,) * (n - len(shape)) + shape, (1,) * (n - len(repetitions)) + tuple(repetitions)
    pairs = list(zip(times, shape, strict=True))
    x = reshape(x, tuple(m for size in shape for m in (1, size)))
    return reshape(broadcast_to(x, tuple(m for pair in pairs for m in pair)), tuple(r * m for r, m in pairs))


def repeat(x, repeats, /, *, axis=None):
    """Each slice along an axis `repeats` times in a row: one number, or one for each slice; axis=None flattens."""
    from tinygrad_nlp.ops.indexing import take

    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    shape, xp, repeats = as_array(x).shape, namespace(as_array(x)), plain(repeats)
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"repeat of {shape}: there is no axis {axis}")
    try:
        indices = xp.repeat(xp.arange(shape[axis]), repeats)
    except ValueError as error:
        raise ShapeError(f"repeat of {shape} along axis {axis}: one number or {shape[axis]}, not {repeats}") from error
    return take(x, indices, axis=axis)
