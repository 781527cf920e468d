"""Tensor maps: how the copy engine (TMA) of sm_90 finds an array of CuPy, or a simulated one of NumPy, and its tiles.

A kernel takes one as `const __grid_constant__ ptx::TensorMap` (common/hopper.cuh); the launcher passes what
`tensor_map` returns, and keeps the array. In the kernel, coordinates come innermost first: {column, row}.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from nlp_kernels.common.cuda import address
from nlp_kernels.errors import DtypeError, ShapeError
from nlp_kernels.simulator.tensor_map import described

# NVIDIA's numbers of the types and swizzles: cuda.h, CUtensorMapDataType and CUtensorMapSwizzle
_TYPES = {"uint8": 0, "uint16": 1, "uint32": 2, "int32": 3, "uint64": 4, "int64": 5, "float16": 6, "float32": 7,
          "float64": 8, "bfloat16": 9}  # fmt: skip
_SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}
_L2_PROMOTION = 3  # fetch 256 bytes at a time into the second-level cache

_OPAQUE = np.dtype([("opaque", "u8", 16)])


def tensor_map(x: Any, box: tuple[int, ...], *, swizzle: int = 128) -> np.ndarray:
    """The 128 bytes that describe x, of 1 to 5 axes, and a tile of it: (…, R, C), box (…, r, c) -> one structure.

    swizzle: the bytes of a tile's row whose 16-byte pieces are exchanged, 0, 32, 64 or 128; c · itemsize is at most
    that. Rows may lie apart, numbers of a row not; an axis of one number has any stride. Raises ShapeError or
    DtypeError where the copy engine cannot.
    """
    strides = _strides(x)
    _check(x, strides, box, swizzle)
    if type(x) is np.ndarray:
        return described(x, strides, box, swizzle)
    inner = tuple(reversed(x.shape)), tuple(reversed(strides)), tuple(reversed(box))
    return _encoded(address(x), x.dtype.name, *inner, swizzle)


def _strides(x):
    """Those of x; where an axis has one number, which is never left, the least that the copy engine takes."""
    strides: list[int] = []
    least = x.itemsize
    for n, stride in zip(reversed(x.shape), reversed(x.strides), strict=True):
        strides.insert(0, stride if n > 1 else least)
        least = -(-n * strides[0] // 16) * 16
    return tuple(strides)


def _check(x, strides, box, swizzle):
    name = f"tensor_map of {x.dtype} {tuple(x.shape)}, box {tuple(box)}"
    if x.dtype.name not in _TYPES:
        raise DtypeError(f"{name}: the copy engine has the types {', '.join(_TYPES)}")
    if not 1 <= x.ndim <= 5 or len(box) != x.ndim:
        raise ShapeError(f"{name}: expected 1 to 5 axes, and a box of as many")
    if swizzle not in _SWIZZLES:
        raise ShapeError(f"{name}: a swizzle of {swizzle} bytes, expected 0, 32, 64 or 128")
    if 0 in x.shape or not all(1 <= n <= 256 for n in box):
        raise ShapeError(f"{name}: an axis of a box has 1 to 256 numbers, one of the array at least 1")
    if strides[-1] != x.itemsize or address(x) % 16 or any(s % 16 or s < 0 for s in strides[:-1]):
        raise ShapeError(
            f"{name}: strides of {strides} bytes from address {address(x):#x}: the last must be the item's "
            f"size, {x.itemsize}, the others and the address multiples of 16; copy x into an array with longer rows"
        )
    row = box[-1] * x.itemsize
    if row % 16 or (swizzle and row > swizzle):
        raise ShapeError(f"{name}: a row of {row} bytes, expected a multiple of 16, at most the swizzle's {swizzle}")


@functools.lru_cache(maxsize=1024)
def _encoded(address, dtype, sizes, strides, box, swizzle):
    """cuTensorMapEncodeTiled of NVIDIA's driver; everything innermost first."""
    rank = len(sizes)
    buffer = (ctypes.c_uint8 * (128 + 64))()  # it writes to a multiple of 64
    aligned = (ctypes.addressof(buffer) + 63) // 64 * 64
    status = _driver().cuTensorMapEncodeTiled(
        ctypes.c_void_p(aligned),
        ctypes.c_int(_TYPES[dtype]),
        ctypes.c_uint32(rank),
        ctypes.c_void_p(address),
        (ctypes.c_uint64 * rank)(*sizes),
        (ctypes.c_uint64 * max(rank - 1, 1))(*strides[1:]),
        (ctypes.c_uint32 * rank)(*box),
        (ctypes.c_uint32 * rank)(*[1] * rank),
        ctypes.c_int(0),  # not interleaved
        ctypes.c_int(_SWIZZLES[swizzle]),
        ctypes.c_int(_L2_PROMOTION),
        ctypes.c_int(0),  # zeros outside
    )
    if status:
        raise ShapeError(
            f"NVIDIA's driver refuses a tensor map (error {status}): {dtype}, innermost first sizes {sizes}, strides "
            f"{strides} bytes, box {box}, swizzle {swizzle}"
        )
    return np.frombuffer(ctypes.string_at(aligned, 128), _OPAQUE).reshape(())


@functools.cache
def _driver():
    return ctypes.CDLL("libcuda.so.1")
