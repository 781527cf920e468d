"""Whether, where and how many: questions to an array whose answers are bools and indices, constants of the graph."""

from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.tensor import wrap
from tinygrad_nlp.ops.comparison import constant
from tinygrad_nlp.ops.recording import axis_of

__all__ = ["all", "any", "argmax", "argmin", "argsort", "count_nonzero", "nonzero", "searchsorted"]


def all(x, /, *, axis=None, keepdims=False):
    """Whether every element is true, over the axes; True of none.  (N, C) -> (), or (C,) for axis=0

    A constant of the graph. Raises AxisError for an axis that is not there, DtypeError for what is no array or number.

    >>> tn.all([True, False])
    Tensor(False)
    """
    return constant("all", x, axis=axis, keepdims=keepdims)


def any(x, /, *, axis=None, keepdims=False):
    """Whether some element is true, over the axes; False of none.  (N, C) -> (), or (C,) for axis=0

    A constant of the graph. Raises AxisError for an axis that is not there, DtypeError for what is no array or number.

    >>> tn.any([True, False])
    Tensor(True)
    """
    return constant("any", x, axis=axis, keepdims=keepdims)


def argmax(x, /, *, axis=None, keepdims=False):
    """The index of the first largest element along an axis, or of all.  (N, C) -> (), or (C,) for axis=0

    A constant of the graph. Raises AxisError for an axis that is not there, ShapeError where there is no element,
    DtypeError for what is no array or number.

    >>> tn.argmax([1.0, 3.0, 2.0])
    Tensor(1)
    """
    return constant("argmax", x, axis=axis, keepdims=keepdims)


def argmin(x, /, *, axis=None, keepdims=False):
    """The index of the first smallest element along an axis, or of all.  (N, C) -> (), or (C,) for axis=0

    A constant of the graph. Raises AxisError for an axis that is not there, ShapeError where there is no element,
    DtypeError for what is no array or number.

    >>> tn.argmin([1.0, 3.0, 2.0])
    Tensor(0)
    """
    return constant("argmin", x, axis=axis, keepdims=keepdims)


def nonzero(x, /):
    """The indices of elements that are not 0, an array per axis.  (N, C) -> ((M,), (M,))

    A constant of the graph. Raises ShapeError for a number, DtypeError for what is no array or number.

    >>> tn.nonzero([0, 1, 2])
    (Tensor([1, 2]),)
    """
    return constant("nonzero", x)


def count_nonzero(x, /, *, axis=None, keepdims=False):
    """How many elements are not 0, over the axes.  (N, C) -> (), or (C,) for axis=0

    A constant of the graph. Raises AxisError for an axis that is not there, DtypeError for what is no array or number.

    >>> tn.count_nonzero([0, 1, 2])
    Tensor(2)
    """
    return constant("count_nonzero", x, axis=axis, keepdims=keepdims)


@explained
def searchsorted(x1, x2, /, *, side="left", sorter=None):
    """i with x1[i-1] < x2 ≤ x1[i] in the sorted x1, or x1[i-1] ≤ x2 < x1[i] for side="right".  (N,), (...) -> (...)

    `sorter` (N,) holds the indices that sort x1. A constant of the graph. Raises ShapeError for an x1 that is no
    vector, ValueError for another side, DtypeError for what is no array.

    >>> tn.searchsorted([1.0, 2.0, 3.0], [2.0, 5.0])
    Tensor([1, 3])
    """
    if side not in ("left", "right"):
        raise ValueError(f'searchsorted: side is "left" or "right", not {side!r}')
    sorter = None if sorter is None else as_array(sorter)
    return constant("searchsorted", as_array(x1), as_array(x2), side=side, sorter=sorter)


@explained
def argsort(x, *, axis=-1, descending=False, stable=True):
    """The indices that sort an axis.  (..., N, ...) -> (..., N, ...)

    Equal elements keep their order, also descending. A constant of the graph. Raises AxisError for an axis that is not
    there, DtypeError for what is no array or number.

    >>> tn.argsort([3.0, 1.0, 2.0])
    Tensor([1, 2, 0])
    """
    data = as_array(x)
    xp, axis = namespace(data), axis_of("argsort", data.shape, axis)
    if not descending:
        return wrap(xp.argsort(data, axis=axis, stable=stable))
    order = xp.argsort(xp.flip(data, axis=axis), axis=axis, stable=stable)  # reversed twice: equal ones in order
    return wrap(data.shape[axis] - 1 - xp.flip(order, axis=axis))
