"""Memory for results, used again: a fresh page costs more than the arithmetic that fills it.

The C library returns a large block to the system as soon as it is freed, and the next one of the same size is handed
over page by page, each cleared first. A training step frees and asks for the same sizes every time, so `empty` keeps
what it lent. An array that was lent goes back when it and every view of it are gone: nothing else can refer to it.

At most `limit()` bytes lie idle, an eighth of the machine's memory unless set; `clear()` returns them to the system.

Arrays that NumPy makes itself are the C library's; `keep_freed_memory` tells glibc to do the same for them.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from typing import Any

import numpy as np

LARGE = 1 << 18  # bytes; the C library keeps smaller blocks itself, and lends them in less time
# bytes: a page. A load waits for an earlier store whose address has the same last 12 bits, so that x[i + 64] after
# y[i] costs up to a quarter where y begins 64 bytes further into its page than x
ALIGNMENT = 4096

_idle: dict[int, list[Block]] = {}  # by size
_idle_bytes = 0
_lock = threading.RLock()  # taken again where the garbage collector frees an array while it is held


def _default_limit() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8
    except (AttributeError, ValueError, OSError):
        return 1 << 30


_limit = _default_limit()


class Block:
    """Memory, and the address of the first page that begins in it."""

    __slots__ = ("__weakref__", "address", "memory", "nbytes")

    def __init__(self, nbytes: int):
        self.nbytes, self.memory = nbytes, np.empty(nbytes, np.uint8)
        address = self.memory.ctypes.data
        self.address = address + -address % ALIGNMENT


class Loan:
    """What an array's memory belongs to; when the last array that refers to it is gone, the block is idle again."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: Block, shape: tuple[int, ...], dtype: np.dtype):
        self.block = block
        data = (block.address, False)
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": data}

    def __del__(self) -> None:
        _take_back(self.block)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in C order that holds anything; like `numpy.empty`, aligned to a page where it is large."""
    global _idle_bytes
    if not isinstance(dtype, np.dtype):
        dtype = np.dtype(dtype)
    if (size := math.prod(shape) * dtype.itemsize) < LARGE:
        return np.empty(shape, dtype)
    size = _rounded(size + ALIGNMENT)
    try:
        with _lock:
            block = _idle[size].pop()
            _idle_bytes -= size
    except LookupError:
        block = Block(size)
    return np.asarray(Loan(block, shape, dtype))


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of 0, like `numpy.zeros`."""
    x = empty(shape, dtype)
    x[...] = 0
    return x


def limit(n: int | None = None) -> int:
    """The number of bytes that may lie idle, after setting it to n, if given; 0 keeps nothing."""
    global _limit
    if n is not None:
        with _lock:
            _limit = n
            if _idle_bytes > n:
                clear()
    return _limit


def clear() -> None:
    """Return all idle memory to the system."""
    global _idle_bytes
    with _lock:
        _idle.clear()
        _idle_bytes = 0


def keep_freed_memory() -> bool:
    """Have the C library keep the memory it gets back, for the whole process; False where it is not glibc.

    Freed blocks of up to 512 MB are reused instead of being returned to the system, which makes arithmetic on large
    NumPy arrays two to three times as fast. The process then holds the most memory it ever used, in a heap that can
    fragment: right for a program that trains, not for a library to decide. It cannot be undone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    return bool(mallopt(M_MMAP_THRESHOLD, 512 << 20) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def _take_back(block: Block) -> None:
    global _idle_bytes
    with _lock:
        if _idle_bytes + block.nbytes > _limit:
            clear()  # sizes that nobody asked for lately, as likely as not
        if block.nbytes <= _limit:
            _idle.setdefault(block.nbytes, []).append(block)
            _idle_bytes += block.nbytes


def _rounded(size: int) -> int:
    """Up to one of eight sizes between powers of two: at most an eighth is wasted, and sizes that vary find a block."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step
