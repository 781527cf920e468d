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

    Results in bfloat16 are compared with float32 ones: sums are of float32, what goes into them and comes out is
    rounded a few times, so 4 ε of bfloat16 come to that. as_array makes a result an array of the library that `right`
    is of; it is compared where that is.
    """
    if results.keys() != right.keys():
        raise DisagreementError(f"{who} gives {', '.join(results)}, expected {', '.join(right)}")
    for name, expected in right.items():
        x = as_array(results[name])
        low = x.dtype.name == "bfloat16" and expected.dtype == np.float32
        if x.shape != expected.shape or not (low or x.dtype == expected.dtype):
            raise DisagreementError(f"{who}: {name} is {x.dtype}{x.shape}, expected {expected.dtype}{expected.shape}")
        error = _largest((x.astype(np.float32) if low else x) - expected)
        roundings = math.sqrt(terms) * np.finfo(expected.dtype).eps + (2**-7 if low else 0)
        allowed = 4 * roundings * _largest(expected)
        if not error <= allowed:  # NaN too
            raise DisagreementError(
                f"{who}: {name} is off by {error:.3g}, more than {allowed:.3g}, 4 √{terms} roundings of {x.dtype}"
            )


def _largest(x: Any) -> float:
    return float(abs(x).max()) if x.size else 0.0
