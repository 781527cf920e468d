"""A wrong gradient as a pair of matrices (outputs, inputs): the true Jacobian T, and W, the one of the rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """Both matrices for the input x, called `name`; `inputs` and `outputs` may have slipped into the rule.

    T comes from differences, column by column, and is good to `doubt`; W from the rule, row by row, with one-hot
    cotangents. A hypothesis predicts W from T, and is believed when the prediction misses by less than a thousandth of
    the error it explains.
    """

    T: np.ndarray
    W: np.ndarray
    name: str
    x: np.ndarray
    out_shape: tuple[int, ...] | None  # None where there are several outputs
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    doubt: float  # of T
    order: int = 1
    ignores_g: bool = False
    off: float = 1.0  # the relative error along the direction that found it

    @property
    def D(self) -> np.ndarray:  # noqa: N802
        return self.W - self.T

    @property
    def gap(self) -> float:
        return float(np.max(np.abs(self.D), initial=0.0))

    @property
    def wrong(self) -> np.ndarray:
        """Where W is not T."""
        return np.abs(self.D) > 1e-3 * self.gap + 10 * self.doubt

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.max(np.abs(a - b), initial=0.0) <= 1e-3 * self.gap + 10 * self.doubt)

    def zero(self, a: np.ndarray) -> np.ndarray:
        """Where a is 0 for all that can be told."""
        return np.abs(a) <= 10 * self.doubt + 1e-9 * np.max(np.abs(self.T), initial=0.0)
