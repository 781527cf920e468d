"""Functions whose derivative is 0 or does not exist: comparison, logic, rounding, integer arithmetic, searching.

Their results are constants of the graph: no gradient flows through them.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp.autograd.arrays import is_array, namespace
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.tensor import Tensor, wrap


def _constant(name: str, meaning: str) -> Callable[..., Any]:
    def function(*args, **params):
        arrays = [_operand(a) for a in args]
        first = next((a for a in arrays if is_array(a)), 0)
        with _explained(name, arrays):
            result = getattr(namespace(first), name)(*arrays, **params)
        return tuple(map(wrap, result)) if isinstance(result, tuple) else wrap(result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = meaning
    return function


@contextmanager
def _explained(name, arrays):
    """NumPy's errors as the library's: they name the function, and shapes or dtypes."""
    try:
        yield
    except ValueError as error:
        shapes = ", ".join(str(a.shape) if is_array(a) else repr(a) for a in arrays)
        raise ShapeError(f"{name} of {shapes}: {error}") from error
    except TypeError as error:
        dtypes = ", ".join(str(a.dtype) if is_array(a) else type(a).__name__ for a in arrays)
        raise DtypeError(f"{name} of {dtypes}: {error}") from error


def _operand(a):
    """The array of a Tensor or a list; NumPy scalars as Python's, which do not promote."""
    if type(a) is Tensor:
        return a.data
    return a.item() if isinstance(a, np.generic) else as_array(a) if isinstance(a, list) else a


equal = _constant("equal", "a = b")
not_equal = _constant("not_equal", "a ≠ b")
less = _constant("less", "a < b")
less_equal = _constant("less_equal", "a ≤ b")
greater = _constant("greater", "a > b")
greater_equal = _constant("greater_equal", "a ≥ b")
logical_and = _constant("logical_and", "a and b")
logical_or = _constant("logical_or", "a or b")
logical_xor = _constant("logical_xor", "either a or b")
logical_not = _constant("logical_not", "not a")
isfinite = _constant("isfinite", "neither infinite nor NaN")
isinf = _constant("isinf", "+∞ or -∞")
isnan = _constant("isnan", "not a number")
signbit = _constant("signbit", "the sign bit is set")
sign = _constant("sign", "-1, 0 or 1")
floor = _constant("floor", "the largest integer ≤ x")
ceil = _constant("ceil", "the smallest integer ≥ x")
round = _constant("round", "the nearest integer, halves to even")
trunc = _constant("trunc", "the nearest integer towards 0")
floor_divide = _constant("floor_divide", "⌊a / b⌋")
bitwise_and = _constant("bitwise_and", "bits set in both")
bitwise_or = _constant("bitwise_or", "bits set in either")
bitwise_xor = _constant("bitwise_xor", "bits set in one")
bitwise_invert = _constant("bitwise_invert", "bits not set")
bitwise_left_shift = _constant("bitwise_left_shift", "a 2^b")
bitwise_right_shift = _constant("bitwise_right_shift", "⌊a / 2^b⌋")
all = _constant("all", "every element is true, over the axes")
any = _constant("any", "some element is true, over the axes")
argmax = _constant("argmax", "the index of the first largest element")
argmin = _constant("argmin", "the index of the first smallest element")
nonzero = _constant("nonzero", "the indices of elements that are not 0, an array per axis")
count_nonzero = _constant("count_nonzero", "how many elements are not 0, over the axes")
searchsorted = _constant("searchsorted", "where to insert into a sorted array")


def argsort(x, *, axis=-1, descending=False, stable=True):
    """the indices that sort an axis; equal elements keep their order"""
    data = as_array(x)
    xp = namespace(data)
    with _explained("argsort", (data,)):
        if not descending:
            return wrap(xp.argsort(data, axis=axis, stable=stable))
        order = xp.argsort(xp.flip(data, axis=axis), axis=axis, stable=stable)  # reversed twice: equal ones in order
        return wrap(data.shape[axis] - 1 - xp.flip(order, axis=axis))
