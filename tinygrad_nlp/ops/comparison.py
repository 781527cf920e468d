"""Functions of each element whose derivative is 0 or does not exist: comparison, logic, rounding, bits.

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

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "equal",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "nextafter",
    "not_equal",
    "round",
    "sign",
    "signbit",
    "trunc",
]


def constant(name: str, *args: Any, **params: Any) -> Any:
    """A function of the array namespace, of Tensors, arrays, lists and numbers; its results are constants."""
    arrays = [_operand(a) for a in args]
    first = next((a for a in arrays if is_array(a)), 0)
    with explained(name, arrays):
        result = getattr(namespace(first), name)(*arrays, **params)
    return tuple(map(wrap, result)) if isinstance(result, tuple) else wrap(result)


def _unary(name: str, meaning: str) -> Callable[[Any], Any]:
    def function(x, /):
        return constant(name, x)

    return _named(function, name, meaning)


def _binary(name: str, meaning: str) -> Callable[[Any, Any], Any]:
    def function(a, b, /):
        return constant(name, a, b)

    return _named(function, name, meaning)


def _named(function, name, meaning):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = meaning
    return function


@contextmanager
def explained(name, arrays):
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


equal = _binary("equal", "a = b")
not_equal = _binary("not_equal", "a ≠ b")
less = _binary("less", "a < b")
less_equal = _binary("less_equal", "a ≤ b")
greater = _binary("greater", "a > b")
greater_equal = _binary("greater_equal", "a ≥ b")
logical_and = _binary("logical_and", "a and b")
logical_or = _binary("logical_or", "a or b")
logical_xor = _binary("logical_xor", "either a or b")
logical_not = _unary("logical_not", "not a")
isfinite = _unary("isfinite", "neither infinite nor NaN")
isinf = _unary("isinf", "+∞ or -∞")
isnan = _unary("isnan", "not a number")
signbit = _unary("signbit", "the sign bit is set")
sign = _unary("sign", "-1, 0 or 1")
floor = _unary("floor", "the largest integer ≤ x")
ceil = _unary("ceil", "the smallest integer ≥ x")
round = _unary("round", "the nearest integer, halves to even")
trunc = _unary("trunc", "the nearest integer towards 0")
nextafter = _binary("nextafter", "the next number after a that the dtype has, towards b")
bitwise_and = _binary("bitwise_and", "bits set in both")
bitwise_or = _binary("bitwise_or", "bits set in either")
bitwise_xor = _binary("bitwise_xor", "bits set in one")
bitwise_invert = _unary("bitwise_invert", "bits not set")
bitwise_left_shift = _binary("bitwise_left_shift", "a 2^b")
bitwise_right_shift = _binary("bitwise_right_shift", "⌊a / 2^b⌋")


def floor_divide(a, b, /):
    """⌊a / b⌋; by an infinity 0 with the sign of the quotient, and an infinity divided stays one"""
    y = constant("floor_divide", a, b)
    if y.dtype.kind != "f":
        return y
    infinite = constant("logical_or", constant("isinf", a), constant("isinf", b))
    return constant("where", infinite, constant("divide", a, b), y) if infinite.data.any() else y


def imag(x, /):
    """The imaginary part: 0, as there are no complex tensors."""
    return constant("zeros_like", x)
