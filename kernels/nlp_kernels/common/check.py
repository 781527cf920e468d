"""What a hot path asserts of its inputs, once, before any backend sees them."""

from typing import Any

import numpy as np

from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.common.xp import array_namespace, library
from nlp_kernels.errors import DtypeError, ShapeError


def shape(function: str, name: str, x: Any, expected: tuple[int | str, ...]) -> None:
    """Assert a shape; a string stands for a free axis. Raises ShapeError naming the function and both shapes."""
    actual = x.shape
    if actual == expected:
        return
    if len(actual) == len(expected):
        for n, m in zip(actual, expected):  # noqa: B905  an argument more would take as long as the loop
            if n != m and type(m) is not str:
                break
        else:
            return
    wanted = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
    raise ShapeError(f"{function}: {name} has shape {tuple(actual)}, expected ({wanted})")


def floating(function: str, **arrays: Any) -> None:
    """Assert one floating-point dtype for all that are not None. Raises DtypeError naming the function and both.

    bfloat16 (of `ml_dtypes`) is one of them: `dispatch` says what computes it.
    """
    first = dtype = None
    for name, x in arrays.items():
        if x is None or (first is not None and x.dtype == dtype):
            continue
        if not (x.dtype is BFLOAT16 or _is(x, "f", "real floating")):
            raise DtypeError(f"{function}: {name} is {x.dtype}, expected a floating-point dtype; convert it first")
        if first is not None:
            raise DtypeError(f"{function}: {name} is {x.dtype} but {first} is {dtype}; kernels do not mix dtypes")
        first, dtype = name, x.dtype


def boolean(function: str, name: str, x: Any) -> None:
    """Assert a mask. Raises DtypeError naming the function."""
    if not _is(x, "b", "bool"):
        raise DtypeError(f"{function}: {name} is {x.dtype}, expected bool (True = keep)")


def indices(function: str, name: str, x: Any, size: int, *, ignore: int | None = None) -> None:
    """Assert int32 or int64 indices in 0 … size - 1, but for `ignore`.

    Raises DtypeError; IndexError naming the value and the size (NumPy; looking would stall a GPU).
    """
    wide = x.dtype.itemsize >= 4 if type(x) is np.ndarray else str(x.dtype)[-2:] in ("32", "64")
    if not (wide and _is(x, "i", "signed integer")):
        raise DtypeError(f"{function}: {name} is {x.dtype}, expected int32 or int64")
    if type(x) is np.ndarray and x.size:
        unsigned = x.view(f"u{x.dtype.itemsize}")  # in which a negative number is a large one
        if unsigned.max() < size:
            return
        wrong = unsigned >= size
        if ignore is not None:
            wrong &= x != ignore
        if wrong.any():
            raise IndexError(f"{function}: {name} contains {x[wrong][0]}, out of range for size {size}")


def contiguous(x: Any) -> Any:
    """The array itself, or a copy in C order; None stays None."""
    if type(x) is np.ndarray:
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)
    if x is None:
        return None
    match library(array_namespace(x)):
        case "cupy":
            return x if x.flags.c_contiguous else array_namespace(x).ascontiguousarray(x)
        case "torch":
            return x.contiguous()
        case _:
            return x  # the others have no strides to choose


def rows(x: Any) -> Any:
    """The array itself if its last axis is contiguous, whatever the strides of the others, or a copy in C order."""
    if type(x) is np.ndarray and x.ndim and (x.strides[-1] == x.itemsize or x.shape[-1] == 1):
        return x
    return contiguous(x)


def _is(x, numpy_kind, kind):
    return x.dtype.kind == numpy_kind if type(x) is np.ndarray else array_namespace(x).isdtype(x.dtype, kind)
