"""Whoever is timed must first agree with the readable reference: values and gradients, names, shapes and dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class DisagreementError(AssertionError):
    """A candidate's results are not the reference's."""


def to_numpy(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    return x.get() if hasattr(x, "get") else np.asarray(x)


def assert_agreement(
    who: str,
    results: Mapping[str, Any],
    right: Mapping[str, Any],
    terms: int,
    as_array: Callable[[Any], Any] = to_numpy,
) -> None:
    """|x - x_reference| <= 4 √n ε max |x_reference|, ε one ulp of 1, n the terms of the work's longest sum.

    as_array makes a result an array of the library that `right` is of; it is compared where that is.
    """
    if results.keys() != right.keys():
        raise DisagreementError(f"{who} gives {', '.join(results)}, expected {', '.join(right)}")
    for name, expected in right.items():
        x = as_array(results[name])
        if (x.shape, x.dtype) != (expected.shape, expected.dtype):
            raise DisagreementError(f"{who}: {name} is {x.dtype}{x.shape}, expected {expected.dtype}{expected.shape}")
        error = _largest(x - expected)
        allowed = 4 * math.sqrt(terms) * np.finfo(x.dtype).eps * _largest(expected)
        if not error <= allowed:  # NaN too
            raise DisagreementError(
                f"{who}: {name} is off by {error:.3g}, more than {allowed:.3g}, 4 √{terms} roundings of {x.dtype}"
            )


def _largest(x: Any) -> float:
    return float(abs(x).max()) if x.size else 0.0
