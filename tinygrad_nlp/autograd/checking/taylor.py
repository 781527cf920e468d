"""The Taylor test of a whole model: what is left of L(θ + h v) after each term must fall with the next power of h."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.checking import oracles
from tinygrad_nlp.autograd.checking.errors import (
    CheckError,
    GradientError,
    NondeterministicError,
    NonFiniteError,
    NotDifferentiableError,
    VacuousError,
)
from tinygrad_nlp.autograd.functional import grad
from tinygrad_nlp.autograd.modes import enable_grad
from tinygrad_nlp.autograd.tensor import Tensor

CERTAIN = 10.0  # as in a check of one function: the oracle's error is good to about a factor of 3


@dataclass(frozen=True)
class TaylorReport:
    """`slopes[k]`: the order in h of the remainder after k derivatives; it is k + 1 where L is smooth."""

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
    many parameters, where no difference by each is affordable: one direction tests them all. The verdict is that of
    Richardson's extrapolation of L, and of <∇L, v> for the second order. Raises GradientError if a term is wrong, a
    subclass of CheckError where there is no telling.
    """
    if order not in (1, 2):
        raise CheckError(f"taylor_test: order={order}; a gradient has 1, a Hessian-vector product 2")
    parameters = [p for p in parameters if p.requires_grad]
    if not parameters:
        raise CheckError("taylor_test: none of the parameters requires a gradient")
    rng = rng if rng is not None else np.random.default_rng(seed)
    with _as(parameters, np.dtype(dtype)), np.errstate(all="ignore"):
        for attempt in range(3):  # a wrong gradient is wrong along every direction
            line = _Line(loss, parameters, rng, order)
            report, wrong = line.report(), line.wrong(last=attempt == 2)
            if not wrong:
                return report
    raise GradientError(
        f"taylor_test: {wrong}\n{report}",
        argument="parameters",
        order=line.failed,
        diagnosis=f"the remainder falls as h^{report.slopes[line.failed]:.2f}, not h^{line.failed + 1}",
        report=report,
    )


class _Line:
    """The loss along θ + t v, and the terms of its series at t = 0 by the rules: L, <∇L, v>, <v, Hv>."""

    failed = 0  # the order of the term that is wrong

    def __init__(self, loss: Callable[[], Tensor], parameters: list[Tensor], rng: np.random.Generator, order: int):
        self.loss, self.parameters = loss, parameters
        self.start = [p.data for p in parameters]
        self.vs = [
            (rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape) * _size(x)).astype(x.dtype)
            for x in self.start
        ]
        self.terms, self.sums, self.eps = self._terms(order)
        if not np.isfinite(self.terms).all():
            raise NonFiniteError(f"taylor_test: the loss, its gradient and its curvature are {self.terms}")
        if not abs(self.at(0.0) - self.terms[0]) <= 100 * self.eps * abs(self.terms[0]):
            gap = abs(self.at(0.0) - self.terms[0])
            raise NondeterministicError(
                f"taylor_test: two calls of the loss differ by {gap:.3g}: fix its random numbers"
            )

    def at(self, t: float, order: int = 0) -> float:
        """L(θ + t v), or its slope there by the rules."""
        try:
            for p, x, v in zip(self.parameters, self.start, self.vs, strict=True):
                p.data = (x + t * v).astype(x.dtype)
            return self._terms(1)[0][1] if order else float(self.loss().data.item())
        finally:
            for p, x in zip(self.parameters, self.start, strict=True):
                p.data = x

    def report(self) -> TaylorReport:
        steps = [2.0**-k for k in range(2, 24 if self.eps < 1e-10 else 12)]
        values = [self.at(h) for h in steps]
        if not np.isfinite(values).all():
            raise NonFiniteError(f"taylor_test: the loss is {self.terms[0]:g} at the start, and not finite next to it")
        remainders, series = [], np.zeros(len(steps))
        for k, term in enumerate(self.terms):
            series = series + term * np.array(steps) ** k / (1, 1, 2)[k]
            remainders.append(np.abs(values - series).tolist())
        floor = 4 * self._rounding(0)
        return TaylorReport(steps, remainders, [_slope(r, floor, k + 1) for k, r in enumerate(remainders)])

    def wrong(self, last: bool) -> str:
        """What is said of the first term that differences of the one before it do not give; nothing if all are right.

        At the last attempt, a loss whose differences cannot be trusted is refused.
        """
        for k, what in enumerate(("the gradient", "the Hessian-vector product")[: len(self.terms) - 1]):
            y = lambda t, k=k: np.array([self.at(t, k)])  # noqa: E731
            y0, g = np.array([self.terms[k]]), np.ones(1)
            sizes = np.array([max(*self.sums[k : k + 2], self._rounding(k) / self.eps)])  # θ is rounded too
            truth = oracles.richardson(y, y0, sizes, g, self.eps)
            ours, value = self.terms[k + 1], float(truth.value)
            tolerance = CERTAIN * float(truth.error) + 64 * self.eps * (self.sums[k + 1] + truth.size)
            settled = CERTAIN * float(truth.error) <= 0.2 * (truth.scale + self.eps**0.5 * truth.size)
            vacuous = k == 0 and max(self.sums[1], truth.scale) <= tolerance
            if settled and abs(ours - value) <= tolerance and not vacuous:
                continue
            if (last or vacuous) and (trouble := oracles.trouble(y, y0, sizes, g, self.eps)):
                raise NotDifferentiableError(
                    f"taylor_test: the loss has no derivative of order {k + 1} here: along a random direction "
                    f"{trouble} there, or closer than any usable step"
                )
            if vacuous:
                raise VacuousError(
                    "taylor_test: the gradient is zero, or lost in the rounding of the loss: a rule that gives nothing "
                    "would pass"
                )
            if last and not (settled and self._stays(y, ours, value, self.eps * truth.size)):
                raise CheckError(
                    f"taylor_test: differences for {what} do not settle in {self.start[0].dtype} (are there kinks "
                    f"nearby?): they give {value:.6g} ± {float(truth.error):.1g}, the rules {ours:.6g}"
                )
            self.failed = k + 1
            return (
                f"{what} is wrong: along a random direction the rules give {ours:.12g}, differences give {value:.12g} "
                f"(seen from {tolerance:.0e} on)"
            )
        return ""

    def _stays(self, y: oracles.Path, ours: float, value: float, noise: float) -> bool:
        """Whether the smallest step that rounding leaves legible still gives `value`, not `ours`, and sees no kink."""
        steps = oracles.steps(self.eps)
        h = next((h for h in reversed(steps) if 10 * noise < h * abs(ours - value)), steps[0])
        (left, centre, right), (far_left, far_right) = (
            (y(t)[0] for t in (-h, 0.0, h)),
            (y(t)[0] for t in (-2 * h, 2 * h)),
        )
        slope = (right - left) / (2 * h)
        bend = 2 * abs(right + left - 2 * centre) / h - abs(far_right + far_left - 2 * centre) / (2 * h)  # 0 if smooth
        return abs(slope - value) < abs(slope - ours) and 10 * abs(bend) < abs(ours - value)

    def _rounding(self, order: int) -> float:
        """The rounding of L or of its slope: second differences over steps so small that nothing else is left."""
        near = [self.at(j * 2**8 * self.eps, order) for j in range(-3, 4)]
        return float(np.abs(np.diff(near, 2)).max()) + 2 * self.eps * abs(self.terms[order])

    def _terms(self, order: int) -> tuple[list[float], list[float], float]:
        """The terms; the sums of the magnitudes they are made of, whose rounding is in them; the precision."""
        with enable_grad():
            y = self.loss()
            if not isinstance(y, Tensor):
                raise CheckError(f"taylor_test: the loss is a {type(y).__name__}, not a Tensor: its graph ends there")
            if y.size != 1:
                raise CheckError(f"taylor_test: the loss has shape {y.shape}, a scalar is needed")
            if y.node is None:
                raise CheckError("taylor_test: the loss depends on no parameter that requires a gradient")
            first = grad(y, self.parameters, create_graph=order > 1, allow_unused=True)
            products = [[y.data], [g.data * v for g, v in zip(first, self.vs, strict=True)]]
            live = [(g, v) for g, v in zip(first, self.vs, strict=True) if g.node is not None]
            if order > 1:
                gs, vs = [g for g, _ in live], [v for _, v in live]
                second = grad(gs, self.parameters, vs, allow_unused=True) if live else []
                products.append([h.data * v for h, v in zip(second, self.vs, strict=False)])
        terms = [float(sum(z.sum(dtype=np.float64) for z in some)) for some in products]
        sums = [float(sum(np.abs(z).sum(dtype=np.float64) for z in some)) for some in products]
        return terms, sums, max(float(np.finfo(a.dtype).eps) for a in (y, *self.start))


def _slope(remainders: list[float], floor: float, wanted: int) -> float:
    """log₂ of how a remainder falls when h halves, over the smallest four steps at which it is above rounding."""
    last = [k for k, r in enumerate(remainders) if r > floor][-4:]
    if len(last) < 3:
        return float(wanted)  # below rounding at once: the loss has no such term
    return float(np.log2(remainders[last[0]] / remainders[last[-1]]) / (last[-1] - last[0]))


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
