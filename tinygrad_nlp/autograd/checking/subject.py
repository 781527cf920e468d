"""The function under test as the check sees it: arrays in, one flat vector of numbers out, and its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.checking.errors import MutationError, NondeterministicError, NonFiniteError, OutputError
from tinygrad_nlp.autograd.functional import grad
from tinygrad_nlp.autograd.modes import enable_grad
from tinygrad_nlp.autograd.tensor import Tensor

Arrays = list[np.ndarray]


class Subject:
    """f at a point. `xs` are the arrays of the differentiable arguments; all others stay what they are."""

    order = 1

    def __init__(self, f: Callable, arguments: Sequence[Any], places: Sequence[int], dtype: Any, name: str = ""):
        self.f, self.arguments, self.places = f, list(arguments), list(places)
        self.dtype, self.name = np.dtype(dtype), name or name_of(f)
        self.names = argument_names(f, self.places)

    @property
    def point(self) -> Arrays:
        return [self.arguments[i] for i in self.places]

    def constants(self) -> dict[str, np.ndarray]:
        """The arrays among the other arguments of the function, by name."""
        others = [i for i, a in enumerate(self.arguments) if isinstance(a, np.ndarray) and i not in self.places]
        return {name: self.arguments[i] for i, name in zip(others, argument_names(self.f, others), strict=True)}

    def at(self, xs: Arrays, others: Sequence[Any] | None = None) -> Subject:
        """The same function with other arguments."""
        arguments = list(self.arguments if others is None else others)
        for i, x in zip(self.places, xs, strict=True):
            arguments[i] = x
        return Subject(self.f, arguments, self.places, self.dtype, self.name)

    def pulled_back(self) -> PulledBack:
        """(x, g) -> Jᵀg, the function whose gradients are those of the next order; g is drawn later."""
        return PulledBack(self)

    def apply(self, leaves: list[Tensor], create_graph: bool) -> Any:
        """The outputs as the function returns them; only gradients have use for `create_graph`."""
        arguments = list(self.arguments)
        for i, leaf in zip(self.places, leaves, strict=True):
            arguments[i] = leaf
        return self.f(*arguments)

    def outputs(self, xs: Arrays, create_graph: bool = True, tracked: Sequence[int] | None = None) -> tuple:
        """(leaves, floating-point outputs); the leaves not in `tracked` are constants."""
        leaves = [Tensor(x, requires_grad=tracked is None or i in tracked) for i, x in enumerate(xs)]
        with enable_grad():
            ys = self.apply(leaves, create_graph)
        return leaves, [y for y in self._several(ys) if y is not None and y.dtype.kind in "fc"]

    def values(self, xs: Arrays) -> Arrays:
        return [y.data for y in self.outputs(xs, create_graph=False)[1]]

    def gradients(
        self,
        xs: Arrays,
        gs: Sequence[Any],
        *,
        inputs: Sequence[int] | None = None,
        create_graph: bool = False,
    ) -> Arrays:
        """Jᵀg by the function's own rules, for all inputs or some; a cotangent None is not handed in."""
        tracked = inputs if self.order == 1 else None
        leaves, ys = self.outputs(xs, tracked=tracked)
        if len(ys) != len(gs) or any(g is not None and y.shape != g.shape for y, g in zip(ys, gs, strict=False)):
            raise OutputError(
                f"{self.name} returned outputs of shapes {', '.join(str(y.shape) for y in ys)} here and others at the "
                "drawn point: shapes must not depend on the values of the inputs, nor on chance"
            )
        wanted = leaves if inputs is None else [leaves[i] for i in inputs]
        used = [(y, g) for y, g in zip(ys, gs, strict=True) if y.node is not None and g is not None]
        if not used:
            return [np.zeros_like(leaf.data) for leaf in wanted]
        tensors = [Tensor(g, requires_grad=True) for _, g in used]
        found = grad([y for y, _ in used], wanted, tensors, create_graph=create_graph, allow_unused=True)
        return [dx.data for dx in found]

    def _several(self, ys: Any) -> tuple:
        several = tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)
        for y in several:
            if y is not None and not isinstance(y, Tensor):
                raise OutputError(
                    f"{self.name} returned {_kind(y)}, not a Tensor or a tuple of Tensors: its graph ends there"
                )
        return several


class PulledBack(Subject):
    """(x, g) -> Jᵀg of another subject; its own gradients are those of the next order."""

    def __init__(self, inner: Subject, arguments: Sequence[Any] | None = None):
        self.inner, self.order, self.dtype, self.name = inner, inner.order + 1, inner.dtype, inner.name
        _, ys = inner.outputs(inner.point)
        self.used = [k for k, y in enumerate(ys) if y.node is not None]
        several = "" if len(self.used) == 1 else "{}"
        mark = "g" * inner.order
        self.names = [*inner.names, *(mark + several.format(k) for k in self.used)]
        self.places = list(range(len(self.names)))
        self.arguments = list(arguments or [])

    def constants(self) -> dict[str, np.ndarray]:
        return self.inner.constants()

    def at(self, xs: Arrays, others: Sequence[Any] | None = None) -> Subject:
        n = len(self.inner.places)
        return PulledBack(self.inner.at(xs[:n], others), xs)

    def apply(self, leaves: list[Tensor], create_graph: bool) -> Any:
        n = len(self.inner.places)
        ys = [y for y in self._several(self.inner.apply(leaves[:n], True)) if y is not None and y.dtype.kind in "fc"]
        return grad([ys[k] for k in self.used], leaves[:n], leaves[n:], create_graph=create_graph, allow_unused=True)


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers of some arrays in one vector."""
    parts = [np.asarray(a).reshape(-1) for a in arrays]
    return np.concatenate(parts) if parts else np.zeros(0)


def split(vector: np.ndarray, like: Sequence[np.ndarray]) -> Arrays:
    """The inverse of `flat`."""
    parts = np.split(vector, np.cumsum([a.size for a in like])[:-1]) if like else []
    return [p.reshape(a.shape).astype(a.dtype, copy=False) for p, a in zip(parts, like, strict=True)]


def examined(subject: Subject) -> Arrays:
    """The outputs at the point, after every question that has nothing to do with gradients."""
    xs = [x.copy() for x in subject.point]
    others = {i: a.copy() for i, a in enumerate(subject.arguments) if isinstance(a, np.ndarray)}
    ys = subject.values(xs)
    for where, before, after in _pairs(subject, xs, others):
        if not np.array_equal(before, after, equal_nan=True):
            raise MutationError(f"{subject.name} changed its {where} in place: work on a copy")
    for k, y in enumerate(ys):
        if y.dtype != subject.dtype:
            raise OutputError(
                f"{subject.name}: output {k} is {y.dtype} where all inputs are {subject.dtype}: something inside "
                f"converts, or holds a constant of another precision (dtype={y.dtype} checks in that one)"
            )
        refuse_non_finite(y, f"{subject.name}: output {k}")
    again = subject.values([x.copy() for x in subject.point])
    for k, (y, z) in enumerate(zip(ys, again, strict=False)):
        same = y.shape == z.shape
        if not same or not np.allclose(y, z, rtol=100 * np.finfo(y.dtype).eps, atol=0):
            gap = f"by up to {np.abs(y - z).max():.3g}" if same else f"of shapes {y.shape} and {z.shape}"
            raise NondeterministicError(
                f"{subject.name}: two calls with the same inputs differ in output {k}, {gap}: "
                "fix its random numbers (a seed set inside), or carry its state in an argument"
            )
    return ys


def refuse_non_finite(x: np.ndarray, what: str) -> None:
    """Raise NonFiniteError if x holds NaN or Inf."""
    if not np.isfinite(x).all():
        nans, infs = int(np.isnan(x).sum()), int(np.isinf(x).sum())
        held = " and ".join(f"{n} {kind}" for n, kind in ((nans, "NaN"), (infs, "Inf")) if n)
        raise NonFiniteError(f"{what} holds {held} of {x.size} values at the drawn point: draw inside the domain")


def name_of(f: Callable) -> str:
    return getattr(f, "__name__", None) or type(f).__name__


def argument_names(f: Callable, places: Sequence[int]) -> list[str]:
    """The names in the signature of f; x0, x1, … where it has none."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"x{i}" for i in places]


def _pairs(subject: Subject, xs: Arrays, others: dict) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for i, before, after in zip(subject.places, subject.point, xs, strict=True):
        yield f"input {i} of shape {before.shape}", before, after
    for i, before in others.items():
        yield f"input {i} of shape {before.shape}", before, subject.arguments[i]


def _kind(y: Any) -> str:
    return f"an array of shape {y.shape}" if isinstance(y, np.ndarray) else f"a {type(y).__name__}"
