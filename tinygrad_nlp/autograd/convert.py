"""From Python objects to arrays, and back to the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp.autograd.arrays import Array, is_array, namespace
from tinygrad_nlp.autograd.bfloat16 import is_numeric
from tinygrad_nlp.autograd.modes import is_recording
from tinygrad_nlp.autograd.operators import Operators


def as_array(data: Any, dtype: Any = None) -> Array:
    """The array of a Tensor, an array as it is, or a new array: Python floats become float32."""
    if isinstance(data, Operators):
        data = data.data
    if is_array(data):
        if not is_numeric(data.dtype):
            raise _not_numbers(data)
        return data if dtype is None or data.dtype == dtype else namespace(data).astype(data, dtype)
    if isinstance(data, np.generic):
        return np.asarray(data, dtype)
    if isinstance(data, (list, tuple)):
        data = _plain_nest(data)
    try:
        array = np.asarray(data, dtype)
    except ValueError as error:
        if isinstance(data, list):
            raise ShapeError("cannot make a Tensor of a list whose rows have different lengths") from error
        raise DtypeError(f"cannot make a Tensor of {type(data).__name__}: {error}") from error
    if not is_numeric(array.dtype):
        raise _not_numbers(data, array.dtype)
    return array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array


def operand(x: Any) -> Any:
    """The array of a Tensor or a list; a number stays one (of Python's), which does not promote."""
    if isinstance(x, Operators):
        return x.data
    if isinstance(x, np.generic) and is_numeric(x.dtype):
        return x.item()
    return x if type(x) in (float, int, bool, complex) or (is_array(x) and is_numeric(x.dtype)) else as_array(x)


def as_optional(x: Any) -> Any:
    """`operand` of an input that may be None."""
    return None if x is None else operand(x)


def as_input(x: Any) -> Any:
    """`as_array` of an input that may be None."""
    return None if x is None else as_array(x)


def as_parameter(x: Any) -> Any:
    """A number of NumPy as one of Python; everything else as it is."""
    return x.item() if isinstance(x, np.generic) else x


def _not_numbers(data, dtype=None):
    return DtypeError(f"cannot make a Tensor of {type(data).__name__} (dtype {dtype or data.dtype})")


def _plain_nest(data):
    if is_recording() and any(isinstance(d, Operators) and d.node is not None for d in data):
        raise RuntimeError(
            "an array made from a list of tensors that require a gradient would cut the graph: "
            "stack or concat them, or x.detach()"
        )
    plain = (d.data if isinstance(d, Operators) else d for d in data)
    return [_plain_nest(d) if isinstance(d, (list, tuple)) else d for d in plain]


def to_host(data: Array) -> np.ndarray:
    """The array in the CPU's memory."""
    return data if isinstance(data, np.ndarray) else data.get()
