"""From a failed comparison to an error message: the worst element, what the error looks like, a small case."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_nlp.autograd.checking import oracles
from tinygrad_nlp.autograd.checking.diagnosis import UNKNOWN, diagnosis
from tinygrad_nlp.autograd.checking.errors import GradientError
from tinygrad_nlp.autograd.checking.evidence import Evidence
from tinygrad_nlp.autograd.checking.shrink import innermost, listed, posed, shown, shrunk, sliced
from tinygrad_nlp.autograd.checking.subject import split

if TYPE_CHECKING:
    from tinygrad_nlp.autograd.checking.examination import Examination

ELEMENTS = 256  # gradients of at most so many elements are looked at one by one
MATRIX = 4096  # Jacobians of at most so many entries are compared whole


def explained(exam: Examination, i: int, along: tuple[float, float, float]) -> GradientError:
    """The error of the gradient by input i; `along` = (rule, oracle, tolerance) along the direction that found it."""
    subject = exam.subject
    ours, truth, tolerance = along
    relative = abs(ours - truth) / (abs(truth) or 1.0)
    lines = [
        f"{subject.name}: gradient of order {subject.order} by input {i} ({subject.names[i]}) of shape "
        f"{exam.xs[i].shape} is wrong: along a random direction the rule gives {ours:.12g}, {exam.oracle} gives "
        f"{truth:.12g} (relative error {relative:.1e}, seen from {tolerance / (abs(truth) or 1.0):.0e} on)"
    ]
    lines.append("  worst element: " + _worst(exam, i))
    look = _look(exam, i, relative)
    lines.append("  it looks like: " + look)
    if (small := shrunk(exam, i)) is not None:
        dx = small.subject.gradients(small.xs, small.gs)[i]
        text = f"  a small case: {shown(small)}: the rule gives {listed(dx)}"
        if dx.size <= 24:
            text += f", {small.oracle} {listed(elements(small, i))}"
        lines.append(text)
    return GradientError(
        "\n".join(lines), argument=subject.names[i], order=subject.order, diagnosis=look, report=exam.report
    )


def wrong_presentation(exam: Examination, i: int, how: str, expected: np.ndarray, found: np.ndarray) -> GradientError:
    """The error of a gradient that is right, but not when asked for in another way."""
    subject = exam.subject
    place = np.unravel_index(int(np.argmax(np.nan_to_num(np.abs(found - expected), nan=np.inf))), found.shape)
    look = "only right for contiguous " + how.split()[1] if how.startswith("for ") else f"wrong {how}"
    return GradientError(
        f"{subject.name}: gradient of order {subject.order} by input {i} ({subject.names[i]}) of shape "
        f"{exam.xs[i].shape} is wrong {how}\n"
        f"  worst element: {list(map(int, place))} is {float(found[place]):.12g}, else {float(expected[place]):.12g}\n"
        f"  it looks like: {look}",
        argument=subject.names[i],
        order=subject.order,
        diagnosis=look,
        report=exam.report,
    )


def elements(exam: Examination, i: int) -> np.ndarray:
    """The gradient by input i from the oracle, element by element."""
    x = exam.xs[i]
    out = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        v = np.zeros(x.shape)
        v[place] = oracles.scales(x)[0][place]
        out[place] = float(exam.along(i, v).value) / v[place]
    return out


def _worst(exam: Examination, i: int) -> str:
    x, dx = exam.xs[i], exam.subject.gradients(exam.xs, exam.gs)[i]
    if x.size <= ELEMENTS:
        truth = np.where(exam.kinked[i], dx, elements(exam, i)) if exam.kinked else elements(exam, i)
        worst = int(np.nanargmax(np.abs(dx - truth)))
        place, value = _place(worst, x.shape), float(truth.reshape(-1)[worst])
    else:
        place, value = _bisected(exam, i, dx)
    return f"{list(place)}, the rule gives {float(dx[place]):.12g}, {exam.oracle} gives {value:.12g}"


def _bisected(exam: Examination, i: int, dx: np.ndarray) -> tuple[tuple[int, ...], float]:
    """A wrong element of a large gradient: always on to the half in which more is wrong."""
    scale = oracles.scales(exam.xs[i])[0]
    some: np.ndarray = np.arange(dx.size)
    while len(some) > 1:
        halves = np.array_split(some, 2)
        gaps = []
        for half in halves:
            flat_v = np.zeros(dx.size)
            flat_v[half] = exam.rng.uniform(0.5, 1.5, half.size) * scale.reshape(-1)[half]
            v = flat_v.reshape(dx.shape)
            gaps.append(abs(float((v * dx).sum()) - float(exam.along(i, v).value)))
        some = halves[int(gaps[1] > gaps[0])]
    flat_v = np.zeros(dx.size)
    flat_v[some] = scale.reshape(-1)[some]
    value = float(exam.along(i, flat_v.reshape(dx.shape)).value) / float(flat_v[some[0]])
    return _place(int(some[0]), dx.shape), value


def _place(k: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(k, shape)))


def _look(exam: Examination, i: int, relative: float) -> str:
    """The diagnosis, on this case if its Jacobian is small enough, else on one cut to three entries an axis."""
    case: Examination | None = exam
    if exam.xs[i].size * exam.y0.size > MATRIX:
        arguments = sliced(innermost(exam.subject).arguments, lambda _, __, n: min(n, 3))
        rng = np.random.default_rng(1)
        try:
            case = posed(exam, arguments, lambda shape: rng.normal(size=shape))
            case = case if case and case.xs[i].size * case.y0.size <= MATRIX and case.is_wrong(i) else None
        except Exception:  # the function need not take smaller arguments
            case = None
    if case is None:
        return "too large to say: check it at smaller shapes"
    look = diagnosis(replace(_evidence(case, i), off=relative))
    for j, name in enumerate(case.subject.names):  # another gradient that is wrong may say more
        if look.startswith(UNKNOWN) and j != i and case.xs[j].size and case.is_wrong(j):
            other = diagnosis(_evidence(case, j))
            look = look if other.startswith(UNKNOWN) else f"that by {name} is wrong too, and {other}"
    return look


def _evidence(exam: Examination, i: int) -> Evidence:
    """Both Jacobians of input i: (outputs, inputs)."""
    x, subject, scale = exam.xs[i], exam.subject, oracles.scales(exam.xs[i])[0]
    true = np.zeros((exam.y0.size, x.size))
    doubt: float = 0.0
    for k, place in enumerate(np.ndindex(x.shape)):
        v = np.zeros(x.shape)
        v[place] = scale[place]
        column = oracles.richardson(exam.path(i, v), exam.y0, exam.sizes, None, exam.eps)
        true[:, k] = np.where(np.isfinite(column.value), column.value, 0.0) / v[place]
        error = float(np.max(column.error, where=np.isfinite(column.error), initial=0.0))
        doubt = max(doubt, error / float(v[place]))
    kinked = exam.kinked[i].reshape(-1) if exam.kinked else np.zeros(x.size, bool)
    true[:, kinked] = 0.0  # at a kink, neither has a derivative to compare
    rows = [subject.gradients(exam.xs, split(e, exam.gs))[i].reshape(-1) for e in np.eye(exam.y0.size)]
    forgotten = [subject.gradients(exam.xs, [c * g for g in exam.gs])[i] for c in (1, -2)]
    ys = exam.subject.values(exam.xs)
    inputs = dict(zip(subject.names, exam.xs, strict=True)) | subject.constants()
    return Evidence(
        T=true,
        W=np.where(kinked, 0.0, np.stack(rows).astype(np.float64)),
        name=subject.names[i],
        x=x.astype(np.float64),
        out_shape=ys[0].shape if len(ys) == 1 else None,
        inputs={name: z.astype(np.float64) for name, z in inputs.items()},
        outputs={"y" if len(ys) == 1 else f"y{k}": y.astype(np.float64) for k, y in enumerate(ys)},
        doubt=doubt,
        order=subject.order,
        ignores_g=bool(np.array_equal(forgotten[0], forgotten[1]) and forgotten[0].any()),
    )
