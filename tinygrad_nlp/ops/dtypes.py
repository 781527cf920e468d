"""Dtypes and constants under the array API's names, what they promote to, and what the library can do."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.errors import DeviceError, DtypeError

from tinygrad_nlp.autograd.bfloat16 import compute_dtype, promoted
from tinygrad_nlp.autograd.devices import cupy_and_count
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.operators import Operators

__all__ = [
    "__array_namespace_info__",
    "bfloat16",
    "bool",
    "can_cast",
    "e",
    "finfo",
    "float32",
    "float64",
    "iinfo",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "nan",
    "newaxis",
    "pi",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

bool = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float32, float64 = np.dtype("float32"), np.dtype("float64")
bfloat16 = BFLOAT16  # beyond the array API: stored so, computed in float32
pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None

_ALL = {d.name: d for d in (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)}


@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating-point dtype, as Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


@dataclass(frozen=True)
class IntInfo:
    """The limits of an integer dtype, as Python numbers."""

    bits: int
    max: int
    min: int
    dtype: Any


@explained
def finfo(type, /):
    """The limits of a floating-point dtype or of a tensor's: bits, eps, max, min, smallest_normal.  dtype -> FloatInfo

    Raises DtypeError for another dtype.

    >>> tn.finfo(tn.float32).bits
    32
    """
    dtype = np.dtype(_dtype(type))
    f = ml_dtypes.finfo(dtype) if dtype is BFLOAT16 else np.finfo(_of_kind("finfo", dtype, "f"))
    return FloatInfo(f.bits, float(f.eps), float(f.max), float(f.min), float(f.smallest_normal), f.dtype)


@explained
def iinfo(type, /):
    """The limits of an integer dtype or of a tensor's: bits, max, min.  dtype -> IntInfo

    Raises DtypeError for another dtype.

    >>> tn.iinfo(tn.int8).max
    127
    """
    i = np.iinfo(_of_kind("iinfo", type, "iu"))
    return IntInfo(i.bits, int(i.max), int(i.min), i.dtype)


@explained
def isdtype(dtype, kind):
    """Whether a dtype is of a kind, or of one of several: "bool", "integral", "real floating", ….  dtype, kind -> bool

    Raises DtypeError for what is no dtype, ValueError for an unknown kind.

    >>> tn.isdtype(tn.float32, "real floating")
    True
    """
    return np.isdtype(compute_dtype(dtype), kind)


@explained
def result_type(*arrays_and_dtypes):
    """The dtype that arrays, dtypes and numbers promote to; Python's numbers are weak.  dtypes -> dtype

    Raises DtypeError for what is none of these, ValueError where nothing is given.

    >>> tn.result_type(tn.float32, tn.float64)
    dtype('float64')
    """
    return promoted(*(a.dtype if hasattr(a, "dtype") else a for a in arrays_and_dtypes))


@explained
def can_cast(from_, to, /):
    """Whether a dtype or a tensor's converts to another under the promotion rules.  dtype, dtype -> bool

    Raises DtypeError for what is no dtype, numbers included.

    >>> tn.can_cast(tn.int32, tn.int64)
    True
    """
    return np.can_cast(_dtype(from_), to)


def _of_kind(function, type, kinds):
    dtype = np.dtype(_dtype(type))
    if dtype.kind not in kinds:
        raise DtypeError(f"{function}: {dtype} is not {'a floating-point' if kinds == 'f' else 'an integer'} dtype")
    return dtype


def _dtype(x):
    return x.dtype if isinstance(x, (Operators, np.ndarray)) or hasattr(x, "__dlpack__") else x


class Info:
    """What the library can do, as the array API asks for it."""

    def capabilities(self) -> dict:
        """Boolean indexing works, shapes may depend on data, and NumPy has 64 dimensions at most."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where new tensors are made."""
        return "cpu"

    def devices(self) -> list[str]:
        """ "cpu", and each GPU that CuPy finds."""
        try:
            return ["cpu", *(f"cuda:{i}" for i in range(cupy_and_count()[1]))]
        except DeviceError:
            return ["cpu"]

    def default_dtypes(self, *, device: str | None = None) -> dict:
        """float32, and int64 for integers and indices, on every device."""
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None) -> dict:
        """The dtypes of a kind by name, on every device; there are no complex ones."""
        kinds = kind if kind is None or isinstance(kind, builtins.tuple) else (kind,)
        return {name: d for name, d in _ALL.items() if kinds is None or any(isdtype(d, k) for k in kinds)}


def __array_namespace_info__():  # noqa: N807
    """What this namespace can do: capabilities, devices, default and supported dtypes.  -> Info

    >>> tn.__array_namespace_info__().default_device()
    'cpu'
    """
    return Info()
