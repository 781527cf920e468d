"""Four ways to know a directional derivative without the rule under test  (E60).

Each returns the derivative of y(t) = f(x + t v) at t = 0 and an estimate of its own error, from which the tolerance
of the check follows: nothing is picked by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.checking.errors import CheckError

Path = Callable[[Any], np.ndarray]  # t -> all outputs of f(x + t v), one vector

KINK = "it has a kink"
JUMP = "it jumps, or varies too fast to follow,"
PRECISION = "its values are too coarse"

WIDTH = 6  # levels that one extrapolated value rests on: older, larger steps may lie beyond a kink


@dataclass(frozen=True)
class Estimate:
    """d<g, y>/dt with its error bound; `scale` = Σ|g_j dy_j/dt|, `size` = Σ|g_j| size_j, `bend` = the jump of dy/dt."""

    value: np.ndarray
    error: np.ndarray
    scale: float
    size: float
    bend: float = 0.0

    @property
    def relative(self) -> float:
        """The error over the derivative's own magnitude."""
        return float(np.max(self.error, initial=0.0)) / (self.scale or 1.0)

    def resolved(self, eps: float) -> bool:
        """Whether the error is small enough to judge by: a few half-precision digits of what is measured."""
        return bool(np.max(self.error, initial=0.0) <= 4 * eps**0.5 * (self.scale + self.size / 32))


def steps(eps: float) -> list[float]:
    """Powers of two, from where extrapolation works on smooth functions down to the last useful difference."""
    first, last = (-5, -26) if eps < 1e-10 else (-3, -12)
    return [2.0**k for k in range(first, last - 1, -1)]


def scales(x: np.ndarray) -> list[np.ndarray]:
    """Powers of two to move the elements by: of their own size but at least 1, then their own size, then 1."""
    size = np.abs(x.astype(np.float64))
    own = np.where(size > 0, size, np.min(size, where=size > 0, initial=1.0))
    candidates = [np.maximum(own, 1.0)]
    if np.min(own, initial=1.0) < 1 / 8:
        candidates.append(own)
    eps = float(np.finfo(x.dtype).eps)
    if 8 < np.max(own, initial=1.0) < steps(eps)[-1] / eps:  # else a step of 1 would not move it
        candidates.append(np.ones(x.shape))
    return [2.0 ** np.ceil(np.log2(c)) for c in candidates]


def richardson(y: Path, y0: np.ndarray, sizes: np.ndarray, g: np.ndarray | None, eps: float) -> Estimate:
    """dy/dt = (y(h) - y(-h)) / 2h + c₂ h² + c₄ h⁴ + …, extrapolated to h = 0 from h, h/2, h/4, …

    Richardson (1911); the choice among the extrapolated values by their own differences is Ridders' (1982). With a
    cotangent g the estimate is that of <g, y>, else of every output. `sizes` are the magnitudes whose rounding is in y.
    Stops when the error is near rounding.
    """
    weights = np.ones_like(y0) if g is None else g
    size = float(np.abs(weights * sizes).sum())
    noise = eps * (sizes if g is None else np.linalg.norm(weights * sizes))
    best, error = np.full(np.shape(noise), np.nan), np.full(np.shape(noise), np.inf)
    row: list[np.ndarray] = []
    scale, bends = 0.0, []
    for h in steps(eps):
        right, left = y(h), y(-h)
        slope = (right - left) / (2 * h)
        bends.append(np.abs((right - y0) + (left - y0)) / h)
        new = [slope if g is None else np.asarray(g @ slope)]
        for j, before in enumerate(row[:WIDTH]):
            new.append(new[j] + (new[j] - before) / (4 ** (j + 1) - 1))
            doubt = np.maximum(np.abs(new[-1] - new[-2]), np.abs(new[-1] - before)) + noise / h
            better = doubt < error
            best, error = np.where(better, new[-1], best), np.where(better, doubt, error)
        row, scale = new, float(np.abs(weights * slope).sum())
        if len(bends) > 2 and np.all(error <= eps**0.8 * scale + 2 * noise / h):
            break
    bend = np.max(2 * bends[-1] - bends[-2], initial=0.0)  # the limit as h -> 0: 0 for a smooth function
    largest = np.max(np.abs(slope), initial=0.0) + 1e-3 * np.max(sizes, initial=0.0)
    return Estimate(best, error, scale, size, float(bend / (largest or 1.0)))


def complex_step(y: Path, sizes: np.ndarray, g: np.ndarray, eps: float) -> Estimate:
    """dy/dt = Im y(ih) / h + O(h²), without a difference and so without cancellation: h may be 1e-30.

    Squire and Trapp (1998). Only analytic functions; a real difference guards against those that are not.
    """
    h = 2.0**-100
    slope = y(1j * h)
    if slope.dtype.kind != "c":
        raise CheckError(
            "oracle='complex': real numbers came back for complex ones, so the function is not analytic (an absolute "
            "value, a comparison, a rounding); use oracle='richardson'"
        )
    slope = slope.imag / h
    coarse, rough = ((y(t) - y(-t)).real / (2 * t) for t in (2.0**-14, 2.0**-15))
    doubt = 4 * np.abs(coarse - rough) + 1e-4 * np.max(np.abs(rough), initial=0.0) + 1e-9 * np.max(sizes, initial=0.0)
    if np.any(np.abs(slope - rough) > doubt):
        raise CheckError(
            "oracle='complex': the derivative along the imaginary axis is not the one along the real axis: the "
            "function is not analytic at the drawn point; use oracle='richardson'"
        )
    scale, size = float(np.abs(g * slope).sum()), float(np.abs(g * sizes).sum())
    return Estimate(np.asarray(g @ slope), np.asarray(32 * eps * (scale + eps * size)), scale, size)


def adjoint(image: np.ndarray, residual: np.ndarray, sizes: np.ndarray, g: np.ndarray, eps: float) -> Estimate:
    """<A v, g> = <v, Aᵀ g> of a linear map: its derivative along v is its value A v, to rounding.

    `residual` is what is left of A(a v + b w) - a A v - b A w, in which rounding shows.
    """
    scale = float(np.abs(g * image).sum())
    error = 16 * eps * scale + float(np.abs(g * residual).sum())
    return Estimate(np.asarray(g @ image), np.asarray(error), scale, float(np.abs(g * sizes).sum()))


def one_sided(y: Path, y0: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(left, right) slopes of every output: (y(h) - y(0)) / h extrapolated to h = ±0 from h, h/2, h/4."""
    slopes = []
    for sign in (-1, 1):
        a, b, c = ((y(sign * h) - y0) / (sign * h) for h in (2.0**k * eps**0.25 for k in (0, -1, -2)))
        ab, bc = 2 * b - a, 2 * c - b
        slopes.append((4 * bc - ab) / 3)
    return slopes[0], slopes[1]


def trouble(y: Path, y0: np.ndarray, sizes: np.ndarray, g: np.ndarray, eps: float) -> str:
    """Why differences along y do not settle: KINK, JUMP, PRECISION, or "" for none of them.

    B(h) = |y(h) - 2 y(0) + y(-h)|: of order h² where y is smooth, h at a kink, 1 at a jump, and never below the
    rounding of y.
    """
    near, nearer = 2.0 ** round(np.log2(eps) / 3 + 2), 2.0 ** round(np.log2(eps) / 3 - 2)

    def second(h):
        return np.abs(g * ((y(h) - y0) + (y(-h) - y0)))

    wide, narrow = second(near), second(nearer)
    size = np.abs(g * sizes)
    rounding = 1e3 * eps * (size + np.max(size, initial=0.0) * 1e-3)
    if not np.isfinite(narrow).all():
        return JUMP
    worst = int(np.argmax(narrow)) if narrow.size else 0
    if not narrow.size or narrow[worst] <= rounding[worst]:
        return ""
    if narrow[worst] > 0.2 * wide[worst]:
        return JUMP if narrow[worst] > 1e-5 * size[worst] else PRECISION
    return KINK if narrow[worst] > 0.5 * wide[worst] * nearer / near else ""
