"""What checks draw: values on which gradients go wrong, and the memory layouts they come in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]

LARGEST = {np.dtype(np.float64): 60, np.dtype(np.float32): 12}  # a power of ten whose square and cube are finite


def transposed(x: np.ndarray) -> np.ndarray:
    """The values of x in Fortran order."""
    return np.array(x, order="F")


def backwards(x: np.ndarray) -> np.ndarray:
    """The values of x with negative strides."""
    return np.flip(np.flip(x).copy()) if x.ndim else x


def strided(x: np.ndarray) -> np.ndarray:
    """The values of x as every second entry of every axis of a larger array; NaN lies between them."""
    if not x.ndim:
        return x
    wide = np.full([2 * n for n in x.shape], np.nan, x.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def repeated(x: np.ndarray) -> np.ndarray:
    """The first entry of the first axis all along it, by a stride of 0."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim else x


def plain(x: np.ndarray) -> np.ndarray:
    """A copy of x in C order."""
    return np.array(x, order="C")


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": plain,
    "transposed": transposed,
    "strided": strided,
    "reversed": backwards,
    "broadcast": repeated,
}


def _huge(rng: np.random.Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
    return rng.normal(size=shape) * 10.0 ** rng.uniform(3, LARGEST[dtype])


def _tiny(rng: np.random.Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
    return rng.normal(size=shape) * 10.0 ** -rng.uniform(3, LARGEST[dtype])


def _kinks(rng: np.random.Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
    x = rng.normal(size=int(np.prod(shape)))
    for start, kink in enumerate((0.0, 1.0, -1.0)):  # half of the numbers; the first is 0
        x[2 * start :: 6] = kink
    return rng.permutation(x).reshape(shape)


VALUES: dict[str, Callable[[np.random.Generator, Shape, np.dtype], np.ndarray]] = {
    "ordinary": lambda rng, shape, dtype: rng.normal(size=shape),
    "positive": lambda rng, shape, dtype: np.exp(rng.normal(size=shape)),
    "huge": _huge,
    "tiny": _tiny,
    "ties": lambda rng, shape, dtype: rng.choice([-0.75, 0.5, 1.25], shape),
    "kinks": _kinks,
    "integers": lambda rng, shape, dtype: rng.integers(-5, 6, shape).astype(float),
}


def values(kind: str, rng: np.random.Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
    """An array of one kind: ordinary (normal), positive, huge, tiny, with ties, at kinks (0, ±1), integers."""
    return np.asarray(VALUES[kind](rng, shape, dtype)).astype(dtype)
