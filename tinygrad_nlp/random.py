"""One counter-based generator for everything random: Philox, the same numbers on the CPU and on a GPU.

The whole state is two integers, the seed and how many numbers were drawn; a checkpoint stores both.
"""

from __future__ import annotations

import math

import numpy as np
from nlp_kernels.common import philox
from nlp_kernels.errors import DtypeError, ShapeError

_BLOCK = 4  # numbers of one counter value: draws start at a multiple of it


class Generator:
    """Random arrays as a pure function of (seed, counter); drawing advances the counter.

    Raises ValueError unless the seed is an integer from 0 to 2^64 - 1.

    >>> generator = tn.random.Generator(7)
    >>> generator.integers(0, 10, 3)
    array([9, 7, 1])
    >>> generator
    Generator(seed=7, counter=4)
    """

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
        """Take the next n numbers of the stream without computing them: counter ← counter + 4⌈n/4⌉.  n -> offset

        The offset is that of the first, the old counter. Raises ValueError for n < 0.

        >>> generator = tn.random.Generator(7)
        >>> generator.reserve(3), generator.reserve(1)
        (0, 4)
        """
        if n < 0:
            raise ValueError(f"reserve: n must not be negative, got {n}")
        offset = self.counter
        self.counter += -(-n // _BLOCK) * _BLOCK
        return offset

    def uniform(self, shape=(), low: float = 0.0, high: float = 1.0, *, dtype=np.float32) -> np.ndarray:
        """x ~ U[low, high).  -> shape

        Raises ShapeError for a negative size, ValueError for low > high, DtypeError for a dtype that is not float32 or
        float64, for bounds that are no numbers and sizes that are no integers.

        >>> tn.random.Generator(7).uniform(2, dtype=np.float64).round(3)
        array([0.955, 0.75 ])
        """
        shape, n = _sized("uniform", shape)
        _numbers("uniform", low=low, high=high)
        if not low <= high:
            raise ValueError(f"uniform: high must not be below low, got {low} and {high}")
        u = philox.uniform(self.seed, self.reserve(n), n, dtype).reshape(shape)
        return u if (low, high) == (0.0, 1.0) else u * np.dtype(dtype).type(high - low) + np.dtype(dtype).type(low)

    def normal(self, shape=(), mean: float = 0.0, std: float = 1.0, *, dtype=np.float32) -> np.ndarray:
        """x ~ N(mean, std²), x = mean + std √(-2 ln(1-u)) cos 2πv, and sin 2πv  (Box and Muller 1958).  -> shape

        Raises ShapeError for a negative size, ValueError for std < 0, DtypeError for a dtype that is not
        floating-point, for moments that are no numbers and sizes that are no integers.

        >>> tn.random.Generator(7).normal(2, dtype=np.float64).round(1)
        array([ 0. , -2.5])
        """
        shape, n = _sized("normal", shape)
        _numbers("normal", mean=mean, std=std)
        if not std >= 0:
            raise ValueError(f"normal: std must not be negative, got {std}")
        if np.dtype(dtype).kind != "f":
            raise DtypeError(f"normal: dtype must be floating-point, not {np.dtype(dtype)}")
        half = -(-n // 2)
        u, v = self.uniform((2, half), dtype=np.float64)
        r, angle = np.sqrt(-2 * np.log1p(-u)), 2 * math.pi * v
        z = np.concatenate([r * np.cos(angle), r * np.sin(angle)])[:n].reshape(shape)
        return (z * std + mean).astype(dtype)

    def integers(self, low: int, high: int, shape=()) -> np.ndarray:
        """n = low + ⌊u (high - low)⌋, int64 from low to high - 1.  -> shape

        Raises ValueError unless low < high and high - low <= 2^53, the numbers that u has; ShapeError for a negative
        size, DtypeError for bounds that are no numbers and sizes that are no integers.

        >>> tn.random.Generator(7).integers(0, 10, 3)
        array([9, 7, 1])
        """
        _numbers("integers", low=low, high=high)
        if high <= low:
            raise ValueError(f"integers: high must be above low, got {low} and {high}")
        if high - low > 2**53:
            raise ValueError(f"integers: from {low} to {high} there are more than 2**53 integers")
        shape, _ = _sized("integers", shape)
        u = self.uniform(shape, dtype=np.float64)
        return np.minimum(np.floor(u * (high - low)).astype(np.int64) + low, high - 1)

    def permutation(self, n: int) -> np.ndarray:
        """0 … n-1 in random order, int64.  n -> (n,)

        Raises ShapeError for n < 0, DtypeError for what is no integer.

        >>> tn.random.Generator(7).permutation(4)
        array([3, 2, 1, 0])
        """
        shape, _ = _sized("permutation", (n,))
        return np.argsort(self.uniform(shape, dtype=np.float64), kind="stable")

    def choice(self, probabilities: np.ndarray) -> int:
        """An index drawn with the given probabilities, which need not sum to 1: P(i) = p_i / Σ_j p_j.  (N,) -> ()

        Raises ShapeError unless there is one axis and something on it, ValueError for a probability that is negative or
        not finite and for a sum of 0.

        >>> tn.random.Generator(7).choice([0.0, 2.0, 0.0])
        1
        """
        p = np.asarray(probabilities, np.float64)
        if p.ndim != 1 or not p.size:
            raise ShapeError(f"choice: probabilities have shape {p.shape}, expected (N,), N > 0")
        total = np.cumsum(p)
        if not (p.min() >= 0 and 0 < total[-1] < np.inf):
            raise ValueError(f"choice: probabilities must not be negative, and have a positive, finite sum, got {p}")
        return int(
            min(np.searchsorted(total, float(self.uniform(dtype=np.float64)) * total[-1], side="right"), len(total) - 1)
        )


def _checked(seed: int) -> int:
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"a seed is an integer from 0 to 2**64 - 1, not {seed!r}")
    return int(seed)


def _sized(function: str, shape) -> tuple[tuple[int, ...], int]:
    shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) for n in shape):
        raise DtypeError(f"{function}: sizes are integers, not {', '.join(map(repr, shape))}")
    if any(n < 0 for n in shape):
        raise ShapeError(f"{function}: sizes must not be negative, got {shape}")
    return shape, math.prod(shape)


def _numbers(function: str, **values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float, np.number)):
            raise DtypeError(f"{function}: {name} is {type(value).__name__}, not a number")


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Restart the default generator: (seed, counter) = (seed, 0).  seed -> Generator

    Raises ValueError unless the seed is an integer from 0 to 2^64 - 1.

    >>> tn.manual_seed(7).seed
    7
    """
    default_generator.state = (seed, 0)
    return default_generator
