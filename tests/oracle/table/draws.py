"""What the rows' arguments are drawn from: numbers away from kinks and poles, masks, indices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Draw:
    """`make(rng)` gives the array; a gradient is taken for the differentiable ones."""

    make: Callable[[np.random.Generator], np.ndarray]
    differentiable: bool = True


@dataclass(frozen=True)
class Leaf:
    """A draw's place among the arguments, by name."""

    name: str
    differentiable: bool


def named(arguments: dict[str, Any], draws: dict[str, Draw]) -> dict[str, Any]:
    """The arguments with a leaf for each draw; the draws go to `draws` by name, such as `x` or `params.0`."""

    def walk(path: str, x: Any) -> Any:
        if isinstance(x, Draw):
            draws[path] = x
            return Leaf(path, x.differentiable)
        return type(x)(walk(f"{path}.{i}", item) for i, item in enumerate(x)) if isinstance(x, (list, tuple)) else x

    return {key: walk(key, x) for key, x in arguments.items()}


def constant(draw: Draw) -> Draw:
    """The same numbers, without a gradient."""
    return replace(draw, differentiable=False)


def uniform(*shape: int, low: float = -3.0, high: float = 3.0) -> Draw:
    """Numbers from low to high."""
    return Draw(lambda rng: rng.uniform(low, high, shape))


def apart(*shape: int, offset: float = 0.0) -> Draw:
    """Numbers 0.2 apart and 0.02 from 0; two draws whose offsets are 0.1 apart have no ties either."""

    def make(rng):
        n = int(np.prod(shape))
        grid = 0.2 * (rng.permutation(n) - n // 2) + rng.uniform(0.03, 0.09, n)
        return (grid + offset).reshape(shape)

    return Draw(make)


def magnitudes(*shape: int, low: float, high: float) -> Draw:
    """Numbers of either sign, their logarithms uniform."""

    def make(rng):
        return rng.choice([-1.0, 1.0], shape) * np.exp(rng.uniform(np.log(low), np.log(high), shape))

    return Draw(make)


def points(*values: float) -> Draw:
    """These numbers."""
    return Draw(lambda rng: np.array(values, dtype=np.float64))


def integers(*shape: int, low: int = 0, high: int) -> Draw:
    """Integers from low to high - 1, in random order; each at least once where there is room."""

    def make(rng):
        n, values = int(np.prod(shape)), np.arange(low, high)
        drawn = np.concatenate([values, rng.integers(low, high, max(n - len(values), 0))])
        return rng.permutation(drawn)[:n].reshape(shape).astype(np.int64)

    return Draw(make, differentiable=False)


def places(*values: int) -> Draw:
    """These integers."""
    return Draw(lambda rng: np.array(values, dtype=np.int64), differentiable=False)


def truths(*rows: str) -> Draw:
    """A mask of rows such as "xx." with an x for True."""
    return Draw(lambda rng: np.array([[c == "x" for c in row] for row in rows]), differentiable=False)


def mask(*shape: int, keep: float = 0.6, first: bool = False, inverted: bool = False) -> Draw:
    """True with probability `keep`, and at the first place of each row if `first`; or all of it inverted."""

    def make(rng):
        chosen = np.asarray(rng.random(shape) < keep)
        if first:
            chosen[..., 0] = True
        return ~chosen if inverted else chosen

    return Draw(make, differentiable=False)


def additive(draw: Draw) -> Draw:
    """A mask as numbers to add: 0 where True, else -∞."""
    return replace(draw, make=lambda rng: np.where(draw.make(rng), 0.0, -np.inf))
