"""Inputs on the device: the work of a hot path's benchmark, several sets of it, made without waiting for the host."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.hot_path import Benchmark, Work

DRAWN = (1 << 22) - 3  # numbers drawn on the host; an odd number, so that no two rows of an array are the same


class Random:
    """A NumPy generator whose normal numbers are on the device: few are drawn, and repeated from another place."""

    def __init__(self, drawn: int, seed: int = 0):
        self.cupy = import_module("cupy")
        self.host = np.random.default_rng(seed)
        self.drawn = self.host.standard_normal(drawn)
        self.there: dict[np.dtype, Any] = {}

    def standard_normal(self, shape: Any, dtype: Any = np.float32) -> Any:
        dtype = np.dtype(dtype)
        if dtype not in self.there:
            self.there[dtype] = self.cupy.asarray(self.drawn.astype(dtype))
        source, x = self.there[dtype], self.cupy.empty(shape, dtype)
        flat, at = x.reshape(-1), int(self.host.integers(len(self.drawn)))
        done = 0
        while done < flat.size:
            n = min(flat.size - done, source.size - at)
            flat[done : done + n] = source[at : at + n]
            done, at = done + n, 0
        return x

    def take(self, n: int) -> Any:
        return self.standard_normal(n)

    def integers(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.host.integers(*args, **kwargs)

    def choice(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.host.choice(*args, **kwargs)


def work(benchmark: Benchmark, random: Random, dtype: Any, size: tuple) -> Work:
    """The work of a size, all of its arrays on the device."""
    dtype = np.dtype(dtype)
    made = benchmark.work(random, drawn_in(dtype), *size)
    arrays = {name: random.cupy.asarray(x) if isinstance(x, np.ndarray) else x for name, x in made.arrays.items()}
    if dtype.name == "bfloat16":
        arrays = {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in arrays.items()}
    return replace(made, arrays=arrays, bytes=made.bytes * dtype.itemsize // drawn_in(dtype).itemsize)


def drawn_in(dtype: Any) -> np.dtype:
    """bfloat16 is rounded from float32: CuPy computes next to nothing with it."""
    return np.dtype(np.float32 if str(dtype) == "bfloat16" else dtype)


def sets(nbytes: tuple[int, int], copy_bytes_per_s: float, memory: int, window_s: float = 1e-3, most: int = 64) -> int:
    """How many sets of inputs a window has: about a millisecond's, as far as a sixteenth of the memory goes.

    nbytes: what the smallest pass over a set moves, and the largest.
    """
    wanted = math.ceil(window_s * copy_bytes_per_s / max(nbytes[0], 1))
    return max(1, min(wanted, memory // 16 // max(nbytes[1], 1), most))
