"""What a wrong gradient looks like, II: factors, terms, precision; and the order in which all this is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb

import numpy as np

from tinygrad_nlp.autograd.checking.evidence import Evidence
from tinygrad_nlp.autograd.checking.places import (
    leak,
    lost,
    misplaced,
    shifted,
    some_leak,
    transposed,
    transposed_operand,
    wrong_axis,
)

UNKNOWN = "no known pattern"


def diagnosis(e: Evidence) -> str:
    """The first hypothesis that explains the error."""
    for hypothesis in HYPOTHESES:
        if found := hypothesis(e):
            return found
    if e.T.size == 1:
        factor = e.W.item() / e.T.item() if e.T.any() else np.inf
        return f"{UNKNOWN} in one number: it is {factor:.6g} times what it should be"
    bad = int(e.wrong.any(axis=0).sum())
    return f"{UNKNOWN}: {bad} of {e.x.size} elements of the gradient are wrong"


def right_for_unit_cotangents(e: Evidence) -> str | None:
    if e.ignores_g:
        return "the cotangent is forgotten: the gradient is the same whatever it is"
    if e.gap <= 20 * e.doubt and e.off < 2e-6:
        return f"float32 inside float64: a relative error of {e.off:.0e}, and none for one-hot cotangents"
    if e.gap <= 20 * e.doubt:
        return "right for one-hot cotangents and wrong for others: it is not linear in the cotangent"
    return None


def rounded(e: Evidence) -> str | None:
    """float32 has 24 bits: an error of its size, and no factor that is larger."""
    c = _factor(e)
    if e.gap > 2e-6 * np.max(np.abs(e.T)) or (c is not None and abs(c - 1) > 2.0**-24):
        return None
    relative = e.gap / np.max(np.abs(e.T))
    return f"float32 accumulation inside float64: a relative error of {relative:.0e} without pattern"


def nothing(e: Evidence) -> str | None:
    if not e.zero(e.W).all():
        return None
    if e.order > 1:
        return "the first gradient is taken as a constant: nothing flows back through it (frozen)"
    return "nothing flows back: the graph is cut on the way (detach, .data, a new Tensor), or a primitive has no rule"


def constant_factor(e: Evidence) -> str | None:
    c = _factor(e)
    if c is None:
        return None
    if abs(c + 1) < 1e-6:
        return "the sign is flipped"
    return f"wrong by a constant factor {_written(c, 1e-5, 6)}"


def _written(c: float, near: float = 0.01, digits: int = 3) -> str:
    """A factor to some digits, or by what it differs from 1."""
    return f"1 {'+' if c > 1 else '-'} {abs(c - 1):.2g}" if 0 < abs(c - 1) < near else f"{c:.{digits}g}"


def _factor(e: Evidence) -> float | None:
    c = float((e.W * e.T).sum() / (e.T * e.T).sum()) if e.T.any() else 0.0
    enough = (~e.zero(e.T)).sum() > 1
    return c if enough and c != 0 and e.same(e.W, c * e.T) else None


def only_some_values(e: Evidence) -> str | None:
    """Right or wrong by the size or the sign of the element; believed where chance does it less than 1 in 100 times."""
    own = np.abs(e.T).max(axis=0)
    wrong = np.abs(e.D).max(axis=0) > 1e-6 * own + 10 * e.doubt  # each by its own measure: no error is small there
    matters = (own > 10 * e.doubt) | wrong
    x, wrong = e.x.reshape(-1)[matters], wrong[matters]
    if comb(int(x.size), int(wrong.sum())) < 400:
        return None
    for name, values in (("|x|", np.abs(x)), ("x", x)):
        right, bad = values[~wrong], values[wrong]
        if right.max() < bad.min():
            return f"right only for {name} < {_between(right.max(), bad.min())}"
        if bad.max() < right.min():
            return f"right only for {name} > {_between(bad.max(), right.min())}"
    return None


def _between(low: float, high: float) -> str:
    """The simplest number from low to high."""
    for candidate in (0.0, 1.0, -1.0, 2.0, 0.5):
        if low <= candidate <= high:
            return f"{candidate:g}"
    return f"{(low + high) / 2:.2g}"


def other_factor(e: Evidence) -> str | None:
    """W = T times something that depends on the element of the input, or of the output."""
    for axis, shape, what in ((0, e.x.shape, "gradient"), (1, e.out_shape, "cotangent")):
        T, W = (e.T, e.W) if axis == 0 else (e.T.T, e.W.T)
        weight = (T * T).sum(axis=0)
        if shape is None or (weight > 0).sum() < 2:
            continue
        ratio = np.where(weight > 0, (T * W).sum(axis=0) / np.where(weight > 0, weight, 1), 1.0)
        if not e.same(W, T * ratio):
            continue
        telling = bool(((np.abs(T) > 0).sum(axis=0) > 1).any())  # one number a column has a ratio to any other
        for name, values in (e.inputs | e.outputs).items():
            for text, q in _slips(name, values):
                if (fitted := _broadcast(q, shape)) is not None and e.same(W, T * fitted):
                    return f"the {what} is {text}"
        if not telling:
            continue
        ratio = ratio.reshape(shape)
        span = f"from {_written(ratio.min())} to {_written(ratio.max())}"
        for a, n in enumerate(shape):
            if n > 1 and ratio.size > n and np.allclose(ratio, np.take(ratio, [0], a), rtol=1e-4, atol=1e-6):
                return f"wrong by a factor for each row, the same along axis {a}, {span}"
        return f"wrong by another factor for each element of the {what}, {span}"
    return None


def _slips(name: str, q: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield f"multiplied by {name}: a factor too many", q
    yield f"divided by {name}: a factor {name} is missing", 1 / q
    yield f"multiplied by |{name}|", np.abs(q)
    yield f"multiplied by the sign of {name}", np.sign(q)
    yield f"multiplied by {name}²", q * q
    yield f"divided by {name}²: a factor {name}² is missing", 1 / (q * q)


def _broadcast(q: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        fitted = np.broadcast_to(q, shape).reshape(-1)
    except ValueError:
        return None
    return fitted if np.isfinite(fitted).all() else None


def dropped_term(e: Evidence) -> str | None:
    """D along an axis of the input is c(g) q: with q = 1, x̂, y or x the term of a well-known gradient."""
    if not e.x.ndim:
        return None
    for axis in range(e.x.ndim - 1, -1, -1):
        n = e.x.shape[axis]
        if n < 3:
            continue
        errors = np.moveaxis(e.D.reshape(-1, *e.x.shape), axis + 1, -1).reshape(len(e.D), -1, n)
        x = np.moveaxis(e.x, axis, -1).reshape(-1, n)
        centred = x - x.mean(axis=-1, keepdims=True)
        xhat = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-300)
        one = np.ones_like(x)
        along = f"along axis {axis - e.x.ndim}"
        if e.order > 1 and n > 3 and 0 < (rank := _rank(e, errors)) <= 2:
            return (
                f"right at first order; at second the missing part has rank {rank} {along}, as if {rank} saved "
                f"statistic{'s' if rank > 1 else ''} of it (a mean, a norm, a log-sum-exp) had been taken as constant"
            )
        guesses: list[tuple[str, list[np.ndarray]]] = [
            (f"the mean term is dropped: the difference is constant {along}", [one]),
            (f"the term x̂·mean(x̂ …) is dropped: the difference is a multiple of x̂ = (x - mean)/std {along}", [xhat]),
        ]
        for name, values in ({e.name: e.x} | e.outputs).items():
            if values.shape == e.x.shape:
                q = np.moveaxis(values, axis, -1).reshape(-1, n)
                text = f"the term {name}·⟨g, {name}⟩ is dropped: the difference is a multiple of {name} {along}"
                guesses.append((text, [q]))
        guesses.append(("the mean and the x̂ terms are dropped: mean and variance are taken as constants", [one, xhat]))
        for text, vectors in guesses:
            if _spanned(e, errors, vectors):
                return text
    return None


def small(e: Evidence) -> str | None:
    relative = e.gap / np.max(np.abs(e.T), initial=0.0)
    if relative > 0.01:
        return None
    return f"a small error, {relative:.0e} of the gradient: a small constant (an ε?) is missing or in the wrong place"


def _spanned(e: Evidence, errors: np.ndarray, vectors: list[np.ndarray]) -> bool:
    """Whether the errors (outputs, rows, n) of every row are combinations of that row's vectors."""
    for row in range(errors.shape[1]):
        basis = np.stack([v[row] for v in vectors], axis=1)
        part = errors[:, row].T
        fit, *_ = np.linalg.lstsq(basis, part, rcond=None)
        if not e.same(part, basis @ fit):
            return False
    return True


def _rank(e: Evidence, errors: np.ndarray) -> int:
    values = [np.linalg.svd(errors[:, row], compute_uv=False) for row in range(errors.shape[1])]
    return max(int((s > 1e-3 * e.gap + 10 * e.doubt).sum()) for s in values)


HYPOTHESES: list[Callable[[Evidence], str | None]] = [
    right_for_unit_cotangents,
    nothing,
    rounded,
    constant_factor,
    transposed,
    transposed_operand,
    misplaced,
    only_some_values,
    leak,
    lost,
    wrong_axis,
    shifted,
    other_factor,
    dropped_term,
    some_leak,
    small,
]
