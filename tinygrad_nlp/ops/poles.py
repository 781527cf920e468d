"""Derivatives with poles, such as 1/x at 0: they must not reach a branch that `where` did not take."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nlp.autograd import namespace


def times(g: Any, d: Any) -> Any:
    """g d, but 0 where g = 0 although d is infinite or undefined.

    where(x > 0, log(x), 0) hands log a cotangent of exactly 0 at x = 0, and 0 · ∞ is NaN: the double `where` that
    other libraries ask for is not needed. g and d are arrays or Tensors.
    """
    if type(d) is np.ndarray and np.isfinite(d).all():
        return g * d
    xp = namespace(d)
    return g * xp.where(xp.isfinite(d) | (g != 0), d, 0)
