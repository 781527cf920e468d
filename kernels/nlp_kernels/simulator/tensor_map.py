"""What a tensor map is in the simulator: the fields of `TensorMap` in interface.h, and the memory they speak of."""

from __future__ import annotations

import ctypes

import numpy as np

TENSOR_MAP = np.dtype(
    [("base", "u8"), ("size", "u4", 5), ("rank", "u4"), ("stride", "u8", 5), ("box", "u4", 5), ("item", "u4"),
     ("swizzle", "u4"), ("", "V28")]
)  # fmt: skip


def described(x: np.ndarray, strides: tuple[int, ...], box: tuple[int, ...], swizzle: int) -> np.ndarray:
    """x, its strides and a tile of it, as one structure; innermost axis first."""
    fields = np.zeros((), TENSOR_MAP)
    fields["base"], fields["rank"], fields["item"], fields["swizzle"] = x.ctypes.data, x.ndim, x.itemsize, swizzle
    for name, values in (("size", x.shape), ("stride", strides), ("box", box)):
        fields[name][: x.ndim] = values[::-1]
    return fields


def memory(fields: np.ndarray) -> np.ndarray:
    """All numbers from the first to the last of the described array, and what lies between."""
    rank, item = int(fields["rank"]), int(fields["item"])
    last = sum((int(n) - 1) * int(s) for n, s in zip(fields["size"][:rank], fields["stride"][:rank], strict=True))
    pages = (ctypes.c_char * (last + item)).from_address(int(fields["base"]))
    return np.frombuffer(memoryview(pages), f"V{item}")
