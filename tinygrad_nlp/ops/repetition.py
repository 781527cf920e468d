"""Functions that repeat values; their gradients sum over the copies."""

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp.autograd import primitive, unbroadcast
from tinygrad_nlp.autograd.arrays import broadcast, is_array
from tinygrad_nlp.autograd.convert import as_array, to_host
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.creation import asarray
from tinygrad_nlp.ops.indexing import take
from tinygrad_nlp.ops.joining import plain
from tinygrad_nlp.ops.recording import axis_of
from tinygrad_nlp.ops.shape import reshape

__all__ = ["broadcast_arrays", "broadcast_to", "meshgrid", "repeat", "tile"]


@primitive
def broadcast_to(x, shape):
    """x repeated along axes of size 1 and new leading axes.  (1, C), (N, C) -> (N, C)

    The gradient sums the copies. Raises ShapeError for a shape that x does not broadcast to, DtypeError for what is no
    array or shape.

    >>> tn.broadcast_to([1.0, 2.0], (2, 2))
    Tensor([[1., 2.],
            [1., 2.]])
    """
    return broadcast(x, shape)


@broadcast_to.vjp("x")
def _(g, x_shape):
    return unbroadcast(g, x_shape)


@explained
def broadcast_arrays(*arrays):
    """The arrays, each repeated to the shape they broadcast to.  (N, 1), (C,) -> [(N, C), (N, C)]

    The gradients sum the copies. Raises ShapeError where the shapes do not broadcast, DtypeError for what is no array
    or number.

    >>> tn.broadcast_arrays([1.0, 2.0], [[3.0]])
    [Tensor([[1., 2.]]), Tensor([[3., 3.]])]
    """
    shapes = [as_array(x).shape for x in arrays]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(f"broadcast_arrays of {', '.join(map(str, shapes))}: {error}") from error
    return [broadcast_to(x, shape) for x in arrays]


@explained
def meshgrid(*arrays, indexing="xy"):
    """The coordinates of a grid, one array for each vector.  (N,), (M,) -> [(M, N), (M, N)], (N, M) for "ij"

    The gradients sum the copies. Raises ShapeError for what has more than one axis, ValueError for an indexing that is
    not "xy" or "ij", DtypeError for what is no array or number.

    >>> tn.meshgrid([1, 2], [3])
    [Tensor([[1, 2]]), Tensor([[3, 3]])]
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}')
    if any(as_array(x).ndim > 1 for x in arrays):
        raise ShapeError(f"meshgrid of {', '.join(str(as_array(x).shape) for x in arrays)}: vectors are needed")
    n, grids = len(arrays), []
    for i, x in enumerate(arrays):
        place = 1 - i if indexing == "xy" and i < 2 <= n else i
        grids.append(reshape(x, tuple(-1 if j == place else 1 for j in range(n))))
    return broadcast_arrays(*grids)


@explained
def tile(x, repetitions, /):
    """x laid out repetitions[i] times along axis i.  (N, C), (2, 3) -> (2 N, 3 C)

    The gradient sums the copies. Raises ShapeError for negative repetitions, DtypeError for what is no array or tuple.

    >>> tn.tile([1.0, 2.0], (2,))
    Tensor([1., 2., 1., 2.])
    """
    shape = as_array(x).shape
    n = max(len(shape), len(repetitions))
    shape, times = (1,) * (n - len(shape)) + shape, (1,) * (n - len(repetitions)) + tuple(repetitions)
    pairs = list(zip(times, shape, strict=True))
    x = reshape(x, tuple(m for size in shape for m in (1, size)))
    return reshape(broadcast_to(x, tuple(m for pair in pairs for m in pair)), tuple(r * m for r, m in pairs))


@explained
def repeat(x, repeats, /, *, axis=None):
    """Each slice along an axis `repeats` times in a row.  (N, C) -> (2 N, C) for axis=0 and 2

    One number, or one for each slice; axis=None flattens. The gradient sums the copies. Raises AxisError for an axis
    that is not there, ShapeError for negative or too few numbers, DtypeError for what is no array or number.

    >>> tn.repeat([1.0, 2.0], 2)
    Tensor([1., 1., 2., 2.])
    """
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    x, repeats = asarray(x), plain(repeats)
    shape = x.shape
    axis = axis_of("repeat", shape, axis)
    try:
        indices = np.repeat(np.arange(shape[axis]), to_host(repeats) if is_array(repeats) else repeats)
    except ValueError as error:
        raise ShapeError(f"repeat of {shape} along axis {axis}: one number or {shape[axis]}, not {repeats}") from error
    return take(x, indices, axis=axis)
