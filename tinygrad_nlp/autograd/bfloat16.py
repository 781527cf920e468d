"""bfloat16 in the tape: whatever is not a mere move of values is computed in float32 and rounded once, at the end.

Both conversions are recorded. So the rules of a function never meet bfloat16: sums do not accumulate in it, Python's
numbers do not promote it, as NumPy lets them, and a GPU needs no arithmetic in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16

from tinygrad_nlp.autograd import operators
from tinygrad_nlp.autograd.arrays import is_array
from tinygrad_nlp.autograd.operators import Operators

F = TypeVar("F", bound=Callable)

_NARROW = """
        if {tests}:
            return in_float32(primitive.call, primitive.tensors([{nodes}], [{inputs}]), {{{hyper}}})"""


def is_floating(dtype: Any) -> bool:
    """Whether a dtype is one of real floating-point numbers."""
    return dtype.kind == "f" or dtype is BFLOAT16


def is_inexact(dtype: Any) -> bool:
    """Whether gradients flow through a dtype: a floating-point or a complex one."""
    return dtype.kind in "fc" or dtype is BFLOAT16


def is_numeric(dtype: Any) -> bool:
    """Whether there are tensors of a dtype: numbers or bools."""
    return dtype.kind not in "OUSV" or dtype is BFLOAT16


def compute_dtype(dtype: Any) -> Any:
    """What sums, products and the state of an optimiser are held in: float32 for bfloat16."""
    return np.dtype(np.float32) if dtype is BFLOAT16 else dtype


def promoted(*dtypes: Any) -> Any:
    """What dtypes promote to, as `numpy.result_type`; bfloat16 gives way to any other float, integers to it."""
    if not any(dtype is BFLOAT16 for dtype in dtypes):
        return np.result_type(*dtypes)
    floats = [d for d in dtypes if isinstance(d, np.dtype) and d.kind == "f"]
    return np.result_type(*floats) if floats else BFLOAT16


def in_float32(call: Callable, inputs: tuple, hyper: dict[str, Any]) -> Any:
    """`call` of bfloat16 operands in float32; the result is bfloat16 if no operand was of a wider floating dtype.

    A parameter `dtype` has the last word.
    """
    astype, asked = operators.ops.astype, hyper.get("dtype")
    of_operands = [x.dtype for x in inputs if _is_operand(x)]
    narrow = promoted(*of_operands) is BFLOAT16 if asked is None else np.dtype(asked) is BFLOAT16
    if asked is not None and narrow:
        hyper = {**hyper, "dtype": np.float32}
    wide = [astype(x, np.float32) if _is_operand(x) and x.dtype is BFLOAT16 else x for x in inputs]
    y = call(*wide, **hyper)
    if not narrow:
        return y
    if isinstance(y, tuple):
        return tuple(astype(part, BFLOAT16) if part.dtype.kind == "f" else part for part in y)
    return astype(y, BFLOAT16) if y.dtype.kind == "f" else y


def narrowing(inputs: list[str], arrays: set[str], nodes: list[str], hyper: list[str]) -> str:
    """Lines of a primitive's call that send it through `in_float32`; of these inputs some are arrays by then."""
    tests = (f"{n}.dtype is bfloat16" if n in arrays else f"getattr({n}, 'dtype', None) is bfloat16" for n in inputs)
    return _NARROW.format(
        tests=" or ".join(tests),
        nodes=", ".join(nodes),
        inputs=", ".join(inputs),
        hyper=", ".join(f"{h!r}: {h}" for h in hyper),
    )


def widened(function: F) -> F:
    """A function made of others that computes in float32 throughout, so that nothing is rounded between them."""

    @functools.wraps(function)
    def call(*args, **params):
        if any(_is_operand(x) and x.dtype is BFLOAT16 for x in args):
            return in_float32(function, args, params)
        return function(*args, **params)

    return call  # type: ignore[return-value]


def _is_operand(x: Any) -> bool:
    return isinstance(x, Operators) or is_array(x)
