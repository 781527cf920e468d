"""Functions of a list of arrays: they lay pieces into one array, and the gradient takes the pieces out again."""

import numpy as np

from tinygrad_nlp.autograd import primitive
from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import explained, library_error
from tinygrad_nlp.autograd.tensor import Tensor
from tinygrad_nlp.ops.recording import record
from tinygrad_nlp.ops.shape import reshape

__all__ = ["concat", "stack", "unstack"]


class Joining:
    """`forward(xp, arrays, how) -> y` and `backward(g, shapes, how) -> a gradient for each array`."""

    broadcasts = False
    rules = None
    names = tuple(f"arrays[{i}]" for i in range(100))

    def __init__(self, name, forward, backward):
        self.__name__, self.forward, self.backward = name, forward, backward

    def __call__(self, tensors, how):
        arrays = [as_array(x) for x in tensors]
        if not arrays:
            raise ValueError(f"{self.__name__} needs at least one array")
        try:
            y = self.forward(namespace(arrays[0]), arrays, how)
        except (ValueError, TypeError) as error:
            raise library_error(self.__name__, error, arrays) from error
        nodes = [x.node if type(x) is Tensor else None for x in tensors]
        metas = [(x.shape, x.dtype) for x in arrays]
        return record(self, nodes, arrays, (metas, how), y)

    def gradients(self, node, g, needed, create_graph):
        metas, how = node.kept
        parts = self.backward(g, [shape for shape, _ in metas], how)
        for source, part, (_, dtype) in zip(node.sources, parts, metas, strict=True):
            if source is not None and (needed is None or source in needed):
                yield source, part if part.dtype == dtype else namespace(part).astype(part, dtype)


def plain(x):
    """The array of a Tensor, anything else as it is."""
    return x.data if type(x) is Tensor else x


def _slices_of(gs, axis):
    """The array of which these are the slices along an axis, one after the other and all of them; else None."""
    whole = gs[0].base if type(gs[0]) is np.ndarray else None
    if type(whole) is not np.ndarray or whole.ndim != gs[0].ndim + 1 or whole.shape[axis] != len(gs):
        return None
    for g, part in zip(gs, np.moveaxis(whole, axis, 0), strict=True):
        same = type(g) is np.ndarray and g.__array_interface__["data"] == part.__array_interface__["data"]
        if not same or (g.shape, g.strides, g.dtype) != (part.shape, part.strides, part.dtype):
            return None
    return whole[...]  # a view: whoever holds a slice does not see it added to


@primitive(several=True, takes_bfloat16=True)
def unstack(x, *, axis=0):
    """The slices x[0], x[1], … along an axis, as a tuple.  (N, C) -> N times (C,)

    Raises AxisError for an axis that is not there, ShapeError for a number, DtypeError for what is no array or axis.

    >>> tn.unstack([1.0, 2.0])
    (Tensor(1.), Tensor(2.))
    """
    return tuple(namespace(x).unstack(x, axis=axis))


@unstack.vjp("x")
def _(gs, axis):
    whole = _slices_of(gs, axis)
    return namespace(gs[0]).stack(gs, axis=axis) if whole is None else whole


@explained
def concat(arrays, /, *, axis=0):
    """Arrays laid end to end along an axis; axis=None flattens them first.  [(N, C), (M, C)] -> (N + M, C)

    Each gets its own stretch of the gradient. Raises AxisError for an axis that is not there, ShapeError where the
    other axes differ, ValueError for no arrays, DtypeError for what is no array or axis.

    >>> tn.concat([[1.0], [2.0, 3.0]])
    Tensor([1., 2., 3.])
    """
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


@explained
def stack(arrays, /, *, axis=0):
    """Arrays of one shape laid along a new axis.  [(N, C), (N, C)] -> (2, N, C)

    Each gets its own slice of the gradient. Raises AxisError for a place that is not there, ShapeError where the shapes
    differ, ValueError for no arrays, DtypeError for what is no array or axis.

    >>> tn.stack([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return _stack(arrays, axis)
