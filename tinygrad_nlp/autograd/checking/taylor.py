"""The Taylor test of a whole model: what is left of L(θ + h v) after each term must fall with the next power of h."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.checking.errors import CheckError, GradientError, NondeterministicError, NonFiniteError
from tinygrad_nlp.autograd.functional import grad
from tinygrad_nlp.autograd.modes import enable_grad
from tinygrad_nlp.autograd.tensor import Tensor


@dataclass(frozen=True)
class TaylorReport:
    """`slopes[k]`: the order in h of the remainder after k derivatives; it must be k + 1."""

    steps: list[float]
    remainders: list[list[float]]
    slopes: list[float]

    def __str__(self) -> str:
        head = "step     " + "".join(f"  after {k}" + " " * 3 for k in range(len(self.slopes)))
        lines = [f"{h:8.2e} " + "".join(f" {r[j]:10.3e}" for r in self.remainders) for j, h in enumerate(self.steps)]
        return "\n".join([head, *lines, "order    " + "".join(f" {s:10.2f}" for s in self.slopes)])

    __repr__ = __str__


def taylor_test(
    loss: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    *,
    order: int = 2,
    dtype: Any = np.float64,
    rng: np.random.Generator | None = None,
    seed: int = 0,
) -> TaylorReport:
    """|L(θ + hv) - L(θ) - h <∇L, v> - h²/2 <v, Hv>| = O(h³), and O(h²) without the last term.

    `loss()` reads the parameters, which are moved along a random direction v, in `dtype`, and put back. For models of
    many parameters, where no difference by each is affordable: one direction tests them all. Raises GradientError if a
    remainder falls slower than it must, down to the rounding of L.
    """
    rng = rng if rng is not None else np.random.default_rng(seed)
    with _as(parameters, np.dtype(dtype)):
        start = [p.data for p in parameters]
        vs = [rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape) * _size(x) for x in start]
        vs = [v.astype(dtype) for v in vs]
        terms = _terms(loss, parameters, vs, order)
        eps = float(np.finfo(terms[0].dtype).eps)
        steps = [2.0**-k for k in range(2, 24 if eps < 1e-10 else 12)]

        def at(h: float) -> float:
            for p, x, v in zip(parameters, start, vs, strict=True):
                p.data = (x + h * v).astype(dtype)
            return float(loss().data.item())

        values, near = [at(h) for h in steps], [at(j * 2**8 * eps) for j in (-1, 0, 1)]
    if not np.isfinite(values).all():
        raise NonFiniteError(f"taylor_test: the loss is {float(terms[0]):g} at the start, and not finite next to it")
    if abs(near[1] - float(terms[0])) > 100 * eps * abs(near[1]):
        raise NondeterministicError(
            f"taylor_test: two calls of the loss differ by {abs(near[1] - float(terms[0])):.3g}: fix its random numbers"
        )
    noise = 2 * abs(near[0] - 2 * near[1] + near[2]) + 4 * eps * max(map(abs, values))
    remainders, slopes, left = [], [], []
    for k in range(order + 1):
        series = [sum(float(t) * h**j / (1, 1, 2)[j] for j, t in enumerate(terms[: k + 1])) for h in steps]
        signed = [y - s for y, s in zip(values, series, strict=True)]
        remainders.append([abs(r) for r in signed])
        slopes.append(_slope(remainders[-1], 4 * noise, k + 1))
        left.append(_limit([r / h**k for r, h in zip(signed, steps, strict=True)], [noise / h**k for h in steps]))
    report = TaylorReport(steps, remainders, slopes)
    for k, (rest, error) in enumerate(left):
        if k and abs(rest) > 10 * error:
            what = ("", "the gradient", "the Hessian-vector product")[k]
            term = float(terms[k]) / (1, 1, 2)[k]
            raise GradientError(
                f"taylor_test: {what} is wrong: its term is {term:.6g} h^{k} and leaves {rest:.3g} h^{k}, where only "
                f"h^{k + 1} should be left\n{report}",
                argument="parameters",
                order=k,
                diagnosis=f"the remainder falls as h^{slopes[k]:.2f}, not h^{k + 1}",
                report=report,
            )
    return report


def _terms(loss: Callable[[], Tensor], parameters: Sequence[Tensor], vs: Sequence[np.ndarray], order: int) -> list:
    """L, <∇L, v>, <v, Hv>"""
    if order not in (1, 2):
        raise CheckError(f"taylor_test: order={order}; a gradient has 1, a Hessian-vector product 2")
    with enable_grad():
        y = loss()
        if y.size != 1:
            raise CheckError(f"taylor_test: the loss has shape {y.shape}, a scalar is needed")
        used = [(p, v) for p, v in zip(parameters, vs, strict=True) if p.node is not None]
        if not used or y.node is None:
            raise CheckError("taylor_test: the loss depends on no parameter that requires a gradient")
        leaves, along = [p for p, _ in used], [v for _, v in used]
        first = grad(y, leaves, create_graph=order > 1, allow_unused=True)
        terms = [y.data, np.asarray(sum((g.data * v).sum() for g, v in zip(first, along, strict=True)))]
        live = [(g, v) for g, v in zip(first, along, strict=True) if g.node is not None]
        if order > 1:
            second = grad([g for g, _ in live], leaves, [v for _, v in live], allow_unused=True) if live else []
            terms.append(np.asarray(sum(((h.data * v).sum() for h, v in zip(second, along, strict=False)), 0.0)))
    return terms


def _slope(remainders: list[float], floor: float, wanted: int) -> float:
    """log₂ of how a remainder falls when h halves, over the smallest four steps at which it is above rounding."""
    last = [k for k, r in enumerate(remainders) if r > floor][-4:]
    if len(last) < 3:
        return float(wanted)  # below rounding at once: the loss has no such term
    return float(np.log2(remainders[last[0]] / remainders[last[-1]]) / (last[-1] - last[0]))


def _limit(quotients: list[float], noises: list[float]) -> tuple[float, float]:
    """(a, error) of a + b h + c h² + … as h halves: its value at h = 0, extrapolated (Richardson).

    The smallest steps are uncertain, but no others know of what happens there: a value from larger steps counts only
    where it agrees with them.
    """
    found, row = [], [quotients[0]]
    for q, noise in zip(quotients[1:], noises[1:], strict=True):
        new, best = [q], (0.0, float("inf"))
        for j, before in enumerate(row[:4]):
            new.append(new[j] + (new[j] - before) / (2 ** (j + 1) - 1))
            doubt = max(abs(new[-1] - new[-2]), abs(new[-1] - before)) + 4 * noise
            best = min(best, (new[-1], doubt), key=lambda pair: pair[1])
        found.append(best)
        row = new
    value, error = found[-1]
    for other, doubt in reversed(found):
        if doubt < error and abs(other - value) <= 3 * error:
            value, error = other, doubt
    return value, error


def _size(x: np.ndarray) -> float:
    """The root mean square of a parameter, or 1."""
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2))) or 1.0 if x.size else 1.0


@contextmanager
def _as(parameters: Sequence[Tensor], dtype: np.dtype) -> Iterator[None]:
    """The parameters in another precision, for as long as this lasts."""
    kept = [p.data for p in parameters]
    try:
        for p in parameters:
            p.data = p.data.astype(dtype)
        yield
    finally:
        for p, x in zip(parameters, kept, strict=True):
            p.data = x
