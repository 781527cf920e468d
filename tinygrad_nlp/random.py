"""One counter-based generator for everything random: Philox, the same numbers on the CPU and on a GPU.

The whole state is two integers, the seed and how many numbers were drawn; a checkpoint stores both.
"""

from __future__ import annotations

import math

import numpy as np
from nlp_kernels.common import philox

_BLOCK = 4  # numbers of one counter value: draws start at a multiple of it


class Generator:
    """Random arrays as a pure function of (seed, counter); drawing advances the counter."""

    def __init__(self, seed: int = 0):
        self.seed, self.counter = _checked(seed), 0

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, counter={self.counter})"

    @property
    def state(self) -> tuple[int, int]:
        """(seed, counter); assign it to return to that point."""
        return self.seed, self.counter

    @state.setter
    def state(self, state: tuple[int, int]) -> None:
        seed, counter = state
        self.seed, self.counter = _checked(seed), int(counter)

    def reserve(self, n: int) -> int:
        """Take the next n numbers of the stream without computing them; returns the offset of the first."""
        offset = self.counter
        self.counter += -(-n // _BLOCK) * _BLOCK
        return offset

    def uniform(self, shape=(), low: float = 0.0, high: float = 1.0, *, dtype=np.float32) -> np.ndarray:
        """Evenly distributed over [low, high)."""
        shape, n = _sized(shape)
        u = philox.uniform(self.seed, self.reserve(n), n, dtype).reshape(shape)
        return u if (low, high) == (0.0, 1.0) else u * np.dtype(dtype).type(high - low) + np.dtype(dtype).type(low)

    def normal(self, shape=(), mean: float = 0.0, std: float = 1.0, *, dtype=np.float32) -> np.ndarray:
        """Normally distributed: √(-2 ln(1-u)) cos 2πv, and sin 2πv  (Box and Muller 1958)."""
        shape, n = _sized(shape)
        half = -(-n // 2)
        u, v = self.uniform((2, half), dtype=np.float64)
        r, angle = np.sqrt(-2 * np.log1p(-u)), 2 * math.pi * v
        z = np.concatenate([r * np.cos(angle), r * np.sin(angle)])[:n].reshape(shape)
        return (z * std + mean).astype(dtype)

    def integers(self, low: int, high: int, shape=()) -> np.ndarray:
        """int64 from low to high - 1."""
        if high <= low:
            raise ValueError(f"integers: high must be above low, got {low} and {high}")
        u = self.uniform(shape, dtype=np.float64)
        return np.minimum(np.floor(u * (high - low)).astype(np.int64) + low, high - 1)

    def permutation(self, n: int) -> np.ndarray:
        """0 … n-1 in random order, int64."""
        return np.argsort(self.uniform((n,), dtype=np.float64), kind="stable")

    def choice(self, probabilities: np.ndarray) -> int:
        """An index drawn with the given probabilities, which need not sum to 1."""
        total = np.cumsum(np.asarray(probabilities, np.float64))
        return int(
            min(np.searchsorted(total, float(self.uniform(dtype=np.float64)) * total[-1], side="right"), len(total) - 1)
        )


def _checked(seed: int) -> int:
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"a seed is an integer from 0 to 2**64 - 1, not {seed!r}")
    return int(seed)


def _sized(shape) -> tuple[tuple[int, ...], int]:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return shape, math.prod(shape)


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Restart the default generator: (seed, counter) = (seed, 0).  seed -> Generator

    Raises ValueError unless the seed is an integer from 0 to 2^64 - 1.

    >>> tn.manual_seed(7).seed
    7
    """
    default_generator.state = (seed, 0)
    return default_generator
