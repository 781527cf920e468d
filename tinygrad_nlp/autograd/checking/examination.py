"""One order of a check: the rules' gradients against an oracle along random directions, then other presentations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tinygrad_nlp.autograd.checking import oracles
from tinygrad_nlp.autograd.checking.errors import (
    CheckError,
    GradientError,
    MutationError,
    NotDifferentiableError,
    OutputError,
    VacuousError,
)
from tinygrad_nlp.autograd.checking.explanation import explained, wrong_presentation
from tinygrad_nlp.autograd.checking.oracles import Estimate
from tinygrad_nlp.autograd.checking.presentations import presented
from tinygrad_nlp.autograd.checking.report import Report, Row
from tinygrad_nlp.autograd.checking.subject import Arrays, Subject, flat, refuse_non_finite

CERTAIN = 10.0  # tolerances are this many estimated errors: the estimates are good to about a factor of 3

NON_FINITE = "0 · ∞ inside the rule, or a division by 0: the derivative is finite there"

Draw = Callable[[tuple[int, ...]], np.ndarray]


@dataclass
class Examination:
    """A subject at its point with cotangents; `truth` is what the oracle evaluates, often the same subject.

    `sizes` are the magnitudes of what the outputs are made of: where these have cancelled, their rounding is left.
    """

    subject: Subject
    truth: Subject
    gs: Arrays
    oracle: str
    rng: np.random.Generator
    report: Report
    vacuous: bool = False
    rtol: float = 0.0
    atol: float = 0.0
    kinked: Arrays = field(default_factory=list)  # masks of the elements at declared kinks: they are not moved
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(()))
    xs: Arrays = field(init=False)
    y0: np.ndarray = field(init=False)
    g: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.xs, self.g = self.subject.point, flat(self.gs).astype(np.float64)
        self.y0 = flat(self.truth.values(self.xs)).astype(np.float64)
        self.sizes = np.maximum(self.sizes, np.abs(self.y0))
        self.eps = float(np.finfo(self.subject.dtype).eps)

    def gradients(self) -> Arrays:
        """Jᵀg by the rules, asked of copies: a rule that writes into what it is given is found."""
        xs, gs = [x.copy() for x in self.xs], [g.copy() for g in self.gs]
        dxs = self.subject.gradients(xs, gs)
        for what, before, after in (("input", self.xs, xs), ("cotangent", self.gs, gs)):
            for i, (a, b) in enumerate(zip(before, after, strict=True)):
                if not np.array_equal(a, b):
                    raise MutationError(f"{self.subject.name}: the backward pass changed its {what} {i} in place")
        for i, (x, dx) in enumerate(zip(xs, dxs, strict=True)):
            if dx.dtype != x.dtype or dx.shape != x.shape:
                raise OutputError(f"{self._what(i)}: it is {dx.dtype} {dx.shape}, the input is {x.dtype} {x.shape}")
            if not np.isfinite(dx).all():
                self._non_finite(i, dx)
        return dxs

    def _non_finite(self, i: int, dx: np.ndarray) -> None:
        """A wrong gradient where the oracle finds a derivative; no verdict where it finds none."""
        x, place = self.xs[i], tuple(map(int, np.argwhere(~np.isfinite(dx))[0]))
        v = np.zeros(x.shape)
        v[place] = oracles.scales(x)[0][place]
        truth = self.along(i, v)
        smooth = self.oracle != "richardson" or not self._trouble(i, v)
        if smooth and np.isfinite(truth.value) and truth.resolved(self.eps):
            raise GradientError(
                f"{self._what(i)} of shape {x.shape} is wrong: it is {dx[place]} at {list(place)}, where {self.oracle} "
                f"gives {float(truth.value) / v[place]:.6g}\n  it looks like: {NON_FINITE}",
                argument=self.subject.names[i],
                order=self.subject.order,
                diagnosis=NON_FINITE,
                report=self.report,
            )
        refuse_non_finite(dx, self._what(i))

    def next(self, draw: Draw) -> Examination | None:
        """The examination of (x, g) -> Jᵀg at this point, with cotangents drawn; None where no gradient flows."""
        higher = self.subject.pulled_back()
        if not higher.used:
            return None
        subject = higher.at(self.xs + [self.gs[k] for k in higher.used])
        truth = subject if self.truth is self.subject else self.truth.pulled_back().at(subject.point)
        gs = [draw(x.shape).astype(subject.dtype) for x in self.xs]
        kinked = self.kinked and self.kinked + [np.zeros(self.gs[k].shape, bool) for k in higher.used]
        sizes = flat(self._gradient_sizes())
        return replace(self, subject=subject, truth=truth, gs=gs, vacuous=True, kinked=kinked, sizes=sizes)

    def run(self, dxs: Arrays) -> None:
        """Every input against the oracle, then every presentation against the one that was right."""
        noises, sizes = self._rounding(dxs), self._gradient_sizes()
        for i in range(len(self.xs)):
            self.report.rows.append(self._one_input(i, dxs[i], noises[i]))
        for how, places, expected, found in presented(self.subject, self.xs, self.gs, dxs, self.rng):
            for i, a, b in zip(places, expected, found, strict=True):
                same = np.isfinite(a) & np.isfinite(b)
                gap = np.max(np.abs(a - b), where=same, initial=0.0)
                allowed = self.eps**0.5 * np.max(np.abs(a), where=same, initial=0.0)
                allowed += 1e3 * np.max(noises[i], initial=0.0) + 1e4 * self.eps * np.max(sizes[i], initial=0.0)
                if gap > allowed or not np.array_equal(np.isfinite(a), np.isfinite(b)):
                    raise wrong_presentation(self, i, how, a, b)

    def is_wrong(self, i: int) -> bool:
        """Whether the rule for input i is wrong beyond doubt along one direction."""
        dx = self.subject.gradients(self.xs, self.gs)[i]
        v, truth = self._estimate(i, np.ones(dx.shape, bool))
        gap = abs(float((v * dx).sum()) - float(truth.value))
        if gap <= 10 * CERTAIN * float(truth.error) + 1e3 * self.eps * (truth.scale + truth.size):
            return False
        return self.oracle != "richardson" or not self._trouble(i, v)

    def along(self, i: int, v: np.ndarray) -> Estimate:
        """The oracle's derivative of <g, f> along v in input i."""
        y = self.path(i, v)
        if self.oracle == "complex":
            return oracles.complex_step(y, self.sizes, self.g, self.eps)
        if self.oracle == "adjoint":
            return self._adjoint(i, v)
        return oracles.richardson(y, self.y0, self.sizes, self.g, self.eps)

    def path(self, i: int, v: np.ndarray) -> oracles.Path:
        """t -> f(x + t v), x the input i."""
        x, name = self.xs[i], self.subject.names[i]

        def y(t):
            others, moved = self.xs, x + t * v
            if isinstance(t, complex):
                others = [z.astype(np.complex128) for z in others]
                values = flat(self._complex_values([*others[:i], moved, *others[i + 1 :]]))
            else:
                moved = moved.astype(x.dtype)
                if t and np.array_equal(moved, x):
                    raise CheckError(f"{self.subject.name}: x + h = x for {name} in {x.dtype}: no difference to take")
                values = flat(self.truth.values([*others[:i], moved, *others[i + 1 :]])).astype(np.float64)
            if values.shape != self.y0.shape:
                raise OutputError(
                    f"{self.subject.name} returned {self.y0.size} numbers at the drawn point and {values.size} a step "
                    "away: the shape of its output must not depend on the values of its inputs"
                )
            return values

        return y

    def _what(self, i: int) -> str:
        return f"{self.subject.name}: gradient of order {self.subject.order} by input {i} ({self.subject.names[i]})"

    def _gradient_sizes(self) -> Arrays:
        """The magnitude of a gradient whose terms have not cancelled: that of <g, y> over that of the input."""
        largest = np.max(np.abs(self.g) * self.sizes, initial=0.0)
        return [largest / oracles.scales(x)[0] for x in self.xs]

    def _rounding(self, dxs: Arrays) -> Arrays:
        """|dx(z + δ) - 2 dx(z) + dx(z - δ)|, z the inputs and cotangents, δ so small that only rounding is left."""
        if any(mask.any() for mask in self.kinked):
            return [np.zeros_like(dx) for dx in dxs]  # a perturbation would leave the kink
        point, n = [*self.xs, *self.gs], len(self.xs)
        deltas = [2**10 * self.eps * self.rng.choice([-1.0, 1.0], a.shape) for a in point]
        sides = []
        for sign in (1, -1):
            moved = [(a * (1 + sign * d)).astype(a.dtype) for a, d in zip(point, deltas, strict=True)]
            sides.append(self.subject.gradients(moved[:n], moved[n:]))
        return [np.abs((a - dx) + (b - dx)) for a, b, dx in zip(*sides, dxs, strict=True)]

    def _one_input(self, i: int, dx: np.ndarray, noise: np.ndarray) -> Row:
        subject, x = self.subject, self.xs[i]
        argument = f"{subject.names[i]} {x.shape}"
        movable = ~self.kinked[i] if self.kinked else np.ones(x.shape, bool)
        if not x.size or not self.y0.size or not movable.any():
            note = "all at kinks" if x.size and self.y0.size else "empty"
            return Row(argument, subject.order, self.oracle, 0.0, 0.0, note)
        for attempt in range(3):  # a wrong gradient is wrong along three directions
            v, truth = self._estimate(i, movable)
            ours, value = float((v * dx).sum()), float(truth.value)
            gap, tolerance = abs(ours - value), self._tolerance(v * dx, v * noise, truth)
            if gap <= tolerance:
                break
            if attempt == 0 and self.oracle == "richardson":
                self._refuse(i, self._trouble(i, v))
        else:
            raise explained(self, i, (ours, value, tolerance))
        seen = max(truth.scale, float(np.abs(v * dx).sum()))
        if seen <= tolerance and movable.all() and not self.vacuous:
            raise VacuousError(
                f"{subject.name}: the gradient by {argument} is zero in every direction, so a rule that gives nothing "
                "would pass: draw other inputs, leave it out (wrt=), or declare that it is so (vacuous=True)"
            )
        note = "zero" if seen <= tolerance else ""
        return Row(argument, subject.order, self.oracle, gap / (seen or 1.0), tolerance / (seen or 1.0), note)

    def _tolerance(self, terms: np.ndarray, noise: np.ndarray, truth: Estimate) -> float:
        """The oracle's error and the rounding of ours, of which `terms` are summed; then what the caller allows."""
        tolerance = CERTAIN * (float(truth.error) + float(np.sqrt((noise * noise).sum())))
        tolerance += 64 * self.eps * (float(np.abs(terms).sum()) + truth.size)
        tolerance += self.rtol * max(abs(float(terms.sum())), abs(float(truth.value)))
        return tolerance + self.atol * max(1.0, truth.size)

    def _estimate(self, i: int, movable: np.ndarray) -> tuple[np.ndarray, Estimate]:
        """A direction and the oracle's derivative along it, at the scale of the input where that settles best."""
        x = self.xs[i]
        signs = self.rng.choice([-1.0, 1.0], x.shape) * self.rng.integers(32, 97, x.shape) / 64
        found = []
        for scale in oracles.scales(x):
            v = signs * scale * movable
            found.append((v, self.along(i, v)))
            if found[-1][1].resolved(self.eps):
                break
        v, estimate = min(found, key=lambda pair: pair[1].relative)
        if self.oracle == "richardson" and (estimate.bend > 1e-3 or not estimate.resolved(self.eps)):
            self._refuse(i, self._trouble(i, v))
            if not estimate.resolved(self.eps):
                raise CheckError(
                    f"{self.subject.name}: differences by {self.subject.names[i]} do not settle at any step (relative "
                    f"error {estimate.relative:.1e}): it varies too fast, or its values are too uncertain, for a "
                    "verdict; draw inputs of another size"
                )
        return v, estimate

    def _complex_values(self, xs: Arrays) -> Arrays:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                return self.truth.values(xs)
        except (TypeError, ValueError, np.exceptions.ComplexWarning) as error:
            raise CheckError(
                f"oracle='complex': {self.truth.name} does not take complex numbers ({error}); give reference=, the "
                "same function in plain array operations, or use oracle='richardson'"
            ) from error

    def _adjoint(self, i: int, v: np.ndarray) -> Estimate:
        """A v with the other inputs 0, and what linearity leaves of A(2 v - 3 x)."""

        def image(zs):
            return flat(self.truth.values(zs)).astype(np.float64)

        alone = [np.zeros_like(x) for x in self.xs]
        alone[i] = v.astype(self.subject.dtype)
        along = image(alone)
        residual = image([2 * a - 3 * x for a, x in zip(alone, self.xs, strict=True)]) - (2 * along - 3 * self.y0)
        if np.max(np.abs(residual), initial=0.0) > self.eps**0.75 * np.max(np.abs(along) + self.sizes, initial=0.0):
            raise CheckError(
                f"{self.subject.name} is declared linear, but f(2v - 3x) is not 2 f(v) - 3 f(x), by "
                f"{np.max(np.abs(residual)):.3g}: name the inputs it is linear in (wrt=), or leave out linear=True"
            )
        return oracles.adjoint(along, residual, self.sizes, self.g, self.eps)

    def _trouble(self, i: int, v: np.ndarray) -> str:
        return oracles.trouble(self.path(i, v), self.y0, self.sizes, self.g, self.eps)

    def _refuse(self, i: int, trouble: str) -> None:
        if trouble == oracles.PRECISION:
            raise GradientError(
                f"{self._what(i)}: the values differentiated carry fewer digits than {self.subject.dtype} has: they "
                "were rounded to a coarser precision on the way (a float32 inside?), or nearly all digits cancel",
                argument=self.subject.names[i],
                order=self.subject.order,
                diagnosis="float32 inside float64",
                report=self.report,
            )
        if trouble:
            raise NotDifferentiableError(
                f"{self._what(i)}: not differentiable at the drawn point: {trouble} there, or closer than any usable "
                "step; draw another point, or declare what the derivative is there (kinks=)"
            )
