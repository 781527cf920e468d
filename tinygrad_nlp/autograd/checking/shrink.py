"""Smaller cases that are still wrong: first the shapes, then the values, down to a few small integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_nlp.autograd.checking.report import Report
from tinygrad_nlp.autograd.checking.subject import PulledBack, Subject

if TYPE_CHECKING:
    from tinygrad_nlp.autograd.checking.examination import Examination

ATTEMPTS = 80  # each costs about twenty calls of the function

Draw = Callable[[tuple[int, ...]], np.ndarray]


def innermost(subject: Subject) -> Subject:
    """The function itself, below all orders."""
    while isinstance(subject, PulledBack):
        subject = subject.inner
    return subject


def posed(exam: Examination, arguments: Sequence[Any], draw: Draw) -> Examination | None:
    """The same question about the same order at another point, with other cotangents; it reports to nobody."""
    base, truth = innermost(exam.subject), innermost(exam.truth)
    xs = [arguments[i] for i in base.places]
    subject = base.at(xs, arguments)
    truth = subject if truth is base else truth.at(xs, arguments)
    case: Examination | None = replace(
        exam,
        subject=subject,
        truth=truth,
        gs=[draw(y.shape).astype(subject.dtype) for y in subject.values(xs)],
        report=Report("", ""),
        kinked=[],
        sizes=np.zeros(()),
    )
    for _ in range(exam.subject.order - 1):
        case = case and case.next(draw)
    return case


def integers(rng: np.random.Generator) -> Draw:
    """Cotangents of the integers 1, 2, 3 of either sign."""
    return lambda shape: rng.integers(1, 4, shape) * rng.choice([-1, 1], shape)


def shrunk(exam: Examination, i: int) -> Examination | None:
    """The smallest case found in which input i of this order is still wrong; None if not even this one is."""
    attempts = iter(range(ATTEMPTS))

    def still_wrong(arguments: list) -> Examination | None:
        if next(attempts, None) is None:
            return None
        try:
            case = posed(exam, arguments, integers(np.random.default_rng(0)))
            return case if case and case.is_wrong(i) else None
        except Exception:  # a smaller shape or another value need not suit the function
            return None

    arguments = list(innermost(exam.subject).arguments)
    best = still_wrong(arguments)
    for smaller in (_indices_of_zero, _smaller_shapes, _simpler_values, _simpler_elements):
        candidates = smaller(arguments)
        candidate = next(candidates, None)
        while candidate is not None:
            case = still_wrong(candidate)
            if case is not None:
                arguments, best = candidate, case
            try:
                candidate = candidates.send(case is not None)
            except StopIteration:
                break
    return best


def sliced(arguments: Sequence[Any], shorter: Callable[[int, int, int], int]) -> list:
    """Every array cut to `shorter(argument, axis, size)` along each axis."""
    return [
        a[tuple(slice(shorter(i, b, n)) for b, n in enumerate(a.shape))].copy() if isinstance(a, np.ndarray) else a
        for i, a in enumerate(arguments)
    ]


def _smaller_shapes(arguments: list):
    """All axes of one size together, for they may have to agree; then each axis alone. Yields, is sent the verdict."""
    sizes = {n for a in arguments if isinstance(a, np.ndarray) for n in a.shape if n > 1}
    one = [(i, axis) for i, a in enumerate(arguments) for axis in range(getattr(a, "ndim", 0))]
    for which in (*sorted(sizes, reverse=True), *one):
        for m in (1, 2, 3):

            def shorter(i, axis, n, which=which, m=m):
                return min(m, n) if which in (n, (i, axis)) else n

            candidate = sliced(arguments, shorter)
            if _shapes(candidate) != _shapes(arguments) and (yield candidate):
                arguments = candidate
                break


def _indices_of_zero(arguments: list):
    """All arrays of integers 0, so that what they index may be cut; else as they are."""
    zero = [np.zeros_like(a) if isinstance(a, np.ndarray) and a.dtype.kind in "iu" else a for a in arguments]
    if any(a is not b for a, b in zip(zero, arguments, strict=True)):
        yield zero


def _floating(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _shapes(arguments: list) -> list:
    return [getattr(a, "shape", None) for a in arguments]


def _simpler_values(arguments: list):
    """Rounded; else small integers of any sign; else positive ones; else halves."""
    rng = np.random.default_rng(0)

    def with_values(value):
        return [value(a) if _floating(a) else a for a in arguments]

    for value in (
        lambda a: np.clip(np.rint(a), -9, 9),
        lambda a: rng.integers(-3, 4, a.shape).astype(a.dtype),
        lambda a: rng.integers(1, 4, a.shape).astype(a.dtype),
        lambda a: np.rint(2 * a) / 2,
    ):
        if (yield with_values(value)):
            return


def _simpler_elements(arguments: list):
    """One element after the other to 0, else to ±1."""
    for i in [i for i, a in enumerate(arguments) if _floating(a)]:
        for place in np.ndindex(arguments[i].shape):
            for value in (0.0, 1.0, -1.0):
                if abs(arguments[i][place]) <= abs(value):
                    break
                candidate = list(arguments)
                candidate[i] = arguments[i].copy()
                candidate[i][place] = value
                if (yield candidate):
                    arguments = candidate
                    break


def shown(exam: Examination) -> str:
    """`x = [[1, 2]], g = [3, -1]`"""
    inputs, gs = zip(exam.subject.names, exam.xs, strict=True), zip(_cotangent_names(exam), exam.gs, strict=True)
    return ", ".join(f"{name} = {listed(a)}" for name, a in (*inputs, *exam.subject.constants().items(), *gs))


def listed(a: np.ndarray) -> str:
    """An array as a list in one line, to six digits."""
    if a.size > 24:
        return f"(an array of shape {a.shape})"
    return np.array2string(a + 0, separator=", ", formatter={"float_kind": "{:.6g}".format}).replace("\n", "")


def _cotangent_names(exam: Examination) -> Iterator[str]:
    mark = "g" * exam.subject.order
    return (mark if len(exam.gs) == 1 else f"{mark}{k}" for k in range(len(exam.gs)))
