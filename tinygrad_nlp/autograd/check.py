"""Check a function's gradients against oracles that know nothing of its rules  (E60).

    check_grads(swish, [x])                               # two orders, in float64
    check_grads(layer_norm, [x, gamma, beta], order=3)
    check_grads(transpose, [x], linear=True)              # <A v, g> = <v, Aᵀ g>
    check_grads(relu, [np.zeros(3)], kinks="zero", order=1)

Random cotangents and directions for every input and order; the same in other memory layouts, for some of the inputs and
of the outputs; tolerances from the oracle's own error. What fails is explained: where, and what it looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.checking.errors import (
    CheckError,
    GradientError,
    MutationError,
    NondeterministicError,
    NonFiniteError,
    NotDifferentiableError,
    OutputError,
    VacuousError,
)
from tinygrad_nlp.autograd.checking.examination import Examination
from tinygrad_nlp.autograd.checking.kinks import CONVENTIONS, Convention, check_kinks
from tinygrad_nlp.autograd.checking.report import Report, Row
from tinygrad_nlp.autograd.checking.subject import Arrays, Subject, argument_names, examined, name_of
from tinygrad_nlp.autograd.checking.taylor import TaylorReport, taylor_test
from tinygrad_nlp.autograd.tensor import Tensor

__all__ = [
    "CheckError",
    "GradientError",
    "MutationError",
    "NonFiniteError",
    "NondeterministicError",
    "NotDifferentiableError",
    "OutputError",
    "Report",
    "Row",
    "TaylorReport",
    "VacuousError",
    "check_grads",
    "taylor_test",
]

ORACLES = ("auto", "richardson", "complex", "adjoint")


def check_grads(
    f: Callable,
    inputs: Sequence[Any],
    *,
    order: int = 2,
    wrt: Sequence[int | str] | None = None,
    dtype: Any = np.float64,
    oracle: str = "auto",
    linear: bool = False,
    reference: Callable | None = None,
    kinks: Convention | None = None,
    vacuous: bool = False,
    cotangents: Sequence[Any] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    rng: np.random.Generator | None = None,
    seed: int = 0,
    name: str = "",
) -> Report:
    """Assert <v, Jᵀ g> = <g, d f(x + t v)/dt> at t = 0 for every input, then the same of Jᵀ g, to the order asked for.

    `inputs`: floating-point arrays (converted to `dtype`, never changed) are differentiated, or those named in `wrt`;
    anything else is handed to f as it is. `oracle`: "richardson" extrapolates central differences; "complex" steps
    along the imaginary axis, of `reference` if given: the same function, analytic, and able to take complex arrays;
    "adjoint" is for what is declared `linear`. "auto" is adjoint for linear functions, else richardson. `kinks`
    declares what the derivative is at kinks: "between" the one-sided slopes, "zero", "mean", "left", "right", or a
    function (left, right) -> derivative. `vacuous` permits a gradient that is zero everywhere. `cotangents` replace the
    random ones of order 1. `rtol` and `atol` allow an error beyond the oracle's own.

    Returns a Report: error and visible floor of each comparison. Raises GradientError (an AssertionError) where a
    gradient is wrong, a subclass of CheckError where there is no telling.
    """
    rng = rng if rng is not None else np.random.default_rng(seed)
    oracle = _oracle(oracle, linear, kinks, order)
    arguments, places = _arguments(f, inputs, wrt, np.dtype(dtype), name or name_of(f))
    subject = Subject(f, arguments, places, dtype, name)
    truth = subject if reference is None else Subject(reference, arguments, places, dtype)
    report = Report(subject.name, str(subject.dtype))

    def draw(shape):
        """Random cotangents: a constant one, as that of f(x).sum(), is blind to most wrong gradients."""
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)

    with np.errstate(all="ignore"):  # a step may leave the domain; what is not finite at the point has its message
        ys = examined(subject)
        if not ys and not vacuous:
            raise VacuousError(f"{subject.name} returned no floating-point Tensor: no gradient (vacuous=True permits)")
        if reference is not None:
            _same_values(subject, ys, truth)
        gs = _given(cotangents, ys) if cotangents is not None else [draw(y.shape).astype(y.dtype) for y in ys]
        exam: Examination | None = Examination(subject, truth, gs, oracle, rng, report, vacuous, rtol, atol)
        while exam is not None:
            dxs = exam.gradients()
            if kinks is not None and exam.subject.order == 1:
                exam.kinked = check_kinks(subject, exam.xs, gs, dxs, kinks)
                report.rows += [_kink_row(*part) for part in zip(subject.names, exam.xs, exam.kinked, strict=True)]
            exam.run(dxs)
            exam = exam.next(draw) if exam.subject.order < order else None
    return report


def refuse_constant(g: np.ndarray, what: str) -> None:
    """Raise CheckError for a cotangent of several equal numbers."""
    if g.size > 1 and np.all(g == g.flat[0]):
        raise CheckError(
            f"{what} is {float(g.flat[0]):g} in all of its {g.size} places: a constant cotangent sees only the sum of "
            "the outputs and misses most wrong gradients; draw it at random"
        )


def _oracle(oracle: str, linear: bool, kinks: Convention | None, order: int) -> str:
    if oracle not in ORACLES:
        raise CheckError(f"oracle={oracle!r} is not one of {', '.join(ORACLES)}")
    if order < 1:
        raise CheckError(f"order={order}: the first order is 1")
    if isinstance(kinks, str) and kinks not in CONVENTIONS:
        raise CheckError(f"kinks={kinks!r} is not one of {', '.join(CONVENTIONS)}, nor a function of the two slopes")
    if oracle == "adjoint" and not linear:
        raise CheckError("oracle='adjoint' is for linear functions: declare linear=True, which is then verified")
    if oracle == "auto":
        return "adjoint" if linear else "richardson"
    return oracle


def _arguments(
    f: Callable, inputs: Sequence[Any], wrt: Sequence[int | str] | None, dtype: np.dtype, name: str
) -> tuple:
    """(arguments with C-contiguous copies of the floating-point arrays in `dtype`, places to differentiate by)."""
    if dtype not in (np.float64, np.float32):
        raise CheckError(f"dtype={dtype}: gradients are checked in float64 or float32")
    if isinstance(inputs, (np.ndarray, Tensor)):
        raise CheckError(f"{name}: inputs is one array of shape {inputs.shape}: write check_grads({name}, [x])")
    arguments: list[Any] = [x.data if isinstance(x, Tensor) else x for x in inputs]
    for i, x in enumerate(arguments):
        if isinstance(x, (float, list, np.floating)) or (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
            arguments[i] = np.array(x, dtype, order="C")
    floating = [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if wrt is None:
        places = floating
    else:
        names = argument_names(f, range(len(arguments)))
        places = [names.index(w) if isinstance(w, str) and w in names else w for w in wrt]  # type: ignore[misc]
        if wrong := [w for w in places if w not in floating]:
            raise CheckError(f"wrt={wrong[0]!r} is none of the floating-point inputs {floating} ({', '.join(names)})")
    if not places:
        raise CheckError(f"{name}: no floating-point array among the inputs: nothing to differentiate by")
    return arguments, places


def _given(cotangents: Sequence[Any], ys: Arrays) -> Arrays:
    gs = [np.array(g, y.dtype) for g, y in zip(cotangents, ys, strict=False)]
    if len(cotangents) != len(ys) or any(g.shape != y.shape for g, y in zip(gs, ys, strict=True)):
        raise CheckError(f"cotangents of shapes {[g.shape for g in gs]} for outputs {[y.shape for y in ys]}")
    for k, g in enumerate(gs):
        refuse_constant(g, f"cotangent {k}")
    return gs


def _kink_row(name: str, x: np.ndarray, mask: np.ndarray) -> Row:
    return Row(f"{name} {x.shape}", 1, "one-sided", 0.0, 0.0, f"{mask.sum() or 'none'} at kinks")


def _same_values(subject: Subject, ys: Arrays, truth: Subject) -> None:
    zs = truth.values(truth.point)
    tolerance = float(np.finfo(subject.dtype).eps) ** 0.75
    for y, z in zip(ys, zs, strict=False):
        if len(ys) != len(zs) or y.shape != z.shape or not np.allclose(y, z, rtol=tolerance, atol=tolerance):
            raise CheckError(f"the reference {truth.name} does not give the values of {subject.name}")
