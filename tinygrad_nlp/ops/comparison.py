"""Functions of each element whose derivative is 0 or does not exist: comparison, logic, rounding, bits.

Their results are constants of the graph: no gradient flows through them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16

from tinygrad_nlp.autograd.arrays import is_array, namespace
from tinygrad_nlp.autograd.bfloat16 import in_float32
from tinygrad_nlp.autograd.convert import operand
from tinygrad_nlp.autograd.explain import explained, library_error
from tinygrad_nlp.autograd.tensor import wrap

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
    try:
        args = tuple(map(operand, args))
        if name != "nextafter" and any(is_array(a) and a.dtype is BFLOAT16 for a in args):
            return in_float32(partial(constant, name), args, params)
        first = next((a for a in args if is_array(a)), 0)
        result = getattr(namespace(first), name)(*args, **params)
    except (ValueError, TypeError) as error:
        raise library_error(name, error, args) from error
    return tuple(map(wrap, result)) if isinstance(result, tuple) else wrap(result)


_REFUSED = {no: f"DtypeError for {no and no + ' and for '}what is no array or number" for no in ("", "bools", "floats")}


def _unary(name: str, meaning: str, example: str, result: str, no: str = "") -> Callable[[Any], Any]:
    def function(x, /):
        return constant(name, x)

    return _named(function, name, f"{meaning}.  (...) -> (...)", _REFUSED[no], example, result)


def _binary(name: str, meaning: str, example: str, result: str, no: str = "") -> Callable[[Any, Any], Any]:
    def function(a, b, /):
        return constant(name, a, b)

    errors = f"ShapeError where the shapes do not broadcast, {_REFUSED[no]}"
    return _named(function, name, f"{meaning}.  (...), (...) -> broadcast", errors, example, result)


def _named(function, name, meaning, errors, example, result):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}\n\nA constant of the graph. Raises {errors}.\n\n>>> tn.{example}\n{result}\n"
    return function


equal = _binary("equal", "1[a = b]", "equal([1, 2], 2)", "Tensor([False,  True])")
not_equal = _binary("not_equal", "1[a ≠ b]", "not_equal([1, 2], 2)", "Tensor([ True, False])")
less = _binary("less", "1[a < b]", "less([1, 2], 2)", "Tensor([ True, False])")
less_equal = _binary("less_equal", "1[a ≤ b]", "less_equal([1, 2], 1)", "Tensor([ True, False])")
greater = _binary("greater", "1[a > b]", "greater([1, 2], 1)", "Tensor([False,  True])")
greater_equal = _binary("greater_equal", "1[a ≥ b]", "greater_equal([1, 2], 2)", "Tensor([False,  True])")
logical_and = _binary(
    "logical_and", "Whether a and b hold", "logical_and([True, False], True)", "Tensor([ True, False])"
)
logical_or = _binary("logical_or", "Whether a or b holds", "logical_or([True, False], True)", "Tensor([ True,  True])")
logical_xor = _binary(
    "logical_xor", "Whether just one of a and b holds", "logical_xor([True, False], True)", "Tensor([False,  True])"
)
logical_not = _unary("logical_not", "Whether x does not hold", "logical_not([True, False])", "Tensor([False,  True])")
isfinite = _unary(
    "isfinite", "Whether x is neither infinite nor NaN", "isfinite([1.0, tn.inf])", "Tensor([ True, False])"
)
isinf = _unary("isinf", "Whether x is +∞ or -∞", "isinf([1.0, tn.inf])", "Tensor([False,  True])")
isnan = _unary("isnan", "Whether x is not a number", "isnan([1.0, tn.nan])", "Tensor([False,  True])")
signbit = _unary("signbit", "Whether the sign bit is set", "signbit([-1.0, 1.0])", "Tensor([ True, False])")
sign = _unary("sign", "The sign of x: -1, 0 or 1", "sign([-2.0, 0.0, 3.0])", "Tensor([-1.,  0.,  1.])", "bools")
floor = _unary("floor", "⌊x⌋, the largest integer ≤ x", "floor([1.5, -1.5])", "Tensor([ 1., -2.])")
ceil = _unary("ceil", "⌈x⌉, the smallest integer ≥ x", "ceil([1.5, -1.5])", "Tensor([ 2., -1.])")
round = _unary("round", "The nearest integer, halves to even", "round([0.5, 1.5, -1.2])", "Tensor([ 0.,  2., -1.])")
trunc = _unary("trunc", "The nearest integer towards 0", "trunc([1.5, -1.5])", "Tensor([ 1., -1.])")
nextafter = _binary(
    "nextafter", "The floating-point number after a, towards b", "nextafter([0.0], 1) > 0", "Tensor([ True])"
)
bitwise_and = _binary("bitwise_and", "The bits set in both", "bitwise_and(6, [3])", "Tensor([2])", "floats")
bitwise_or = _binary("bitwise_or", "The bits set in either", "bitwise_or([6], 3)", "Tensor([7])", "floats")
bitwise_xor = _binary("bitwise_xor", "The bits set in just one", "bitwise_xor([6], 3)", "Tensor([5])", "floats")
bitwise_invert = _unary("bitwise_invert", "The bits not set", "bitwise_invert([0])", "Tensor([-1])", "floats")
bitwise_left_shift = _binary("bitwise_left_shift", "a 2^b", "bitwise_left_shift([3], 2)", "Tensor([12])", "floats")
bitwise_right_shift = _binary(
    "bitwise_right_shift", "⌊a / 2^b⌋", "bitwise_right_shift([13], 2)", "Tensor([3])", "floats"
)


@explained
def floor_divide(a, b, /):
    """⌊a / b⌋; by an infinity 0 or -0, and an infinity divided stays one.  (...), (...) -> broadcast

    A constant of the graph: its derivative is 0. Raises ShapeError where the shapes do not broadcast, DtypeError for
    what is no array or number.

    >>> tn.floor_divide([7, -7], 2)
    Tensor([ 3, -4])
    """
    a, b = operand(a), operand(b)
    with np.errstate(invalid="ignore"):  # NumPy takes an infinity divided for NaN
        y = constant("floor_divide", a, b)
        if y.dtype.kind != "f":
            return y
        infinite = constant("isinf", constant("maximum", abs(a), abs(b)))
        return constant("where", infinite, constant("divide", a, b), y) if infinite.data.any() else y


@explained
def imag(x, /):
    """The imaginary part, 0: there are no complex tensors.  (...) -> (...)

    A constant of the graph. Raises DtypeError for what is no array or number.

    >>> tn.imag([1.0, -2.0])
    Tensor([0., 0.])
    """
    return constant("zeros_like", x)
