"""One comparison run in one library: what the generator does with PyTorch, the tests do with ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from table.draws import Leaf


class Library(Protocol):
    """What it takes to evaluate an expression and differentiate it."""

    names: dict[str, Any]

    def leaf(self, array: np.ndarray) -> Any: ...
    def constant(self, array: np.ndarray) -> Any: ...
    def numbers(self, x: Any) -> np.ndarray: ...
    def in_float64(self, module: Any) -> Any: ...
    def pull_back(self, outputs: list, cotangents: list, inputs: list) -> list: ...


Given = Callable[[str, tuple, Any], np.ndarray]


def run(kind: str, text: str, then: str, library: Library, arguments: dict, given: Given) -> dict[str, np.ndarray]:
    """The results by name: outputs, and the gradients of all differentiable arrays and weights.

    `given(name, shape, dtype)` are the numbers of an array: an argument's, a weight's (`weight.NAME`), a cotangent's.
    """
    leaves: dict[str, Any] = {}

    def placed(leaf: Leaf) -> Any:
        array = given(leaf.name, (), None)
        if not leaf.differentiable:
            return library.constant(array)
        return leaves.setdefault(leaf.name, library.leaf(array))

    scope = filled(arguments, placed)
    match kind:
        case "function":
            return _differentiated(library, evaluate(text, library, scope), leaves, given)
        case "layer":
            module = library.in_float64(evaluate(text, library, scope))
            weights = {f"weight.{name}": w for name, w in module.named_parameters()}
            state = {name: given(name, tuple(w.shape), np.float64) for name, w in weights.items()}
            module.load_state_dict(
                {name.removeprefix("weight."): library.constant(x) for name, x in state.items()}, strict=False
            )
            y = evaluate(then, library, {**scope, "layer": module})
            return _differentiated(library, y, leaves | weights, given)
        case "optimizer":
            return _trained(library, evaluate(text, library, scope), scope)
        case "clipping":
            return _clipped(library, text, scope)
        case "schedule":
            return _scheduled(library, text, scope)
    raise ValueError(f"a comparison of the unknown kind {kind!r}")


def evaluate(text: str, library: Library, scope: dict[str, Any]) -> Any:
    """The value of one of the table's expressions."""
    return eval(text, {**library.names, "inf": float("inf")}, scope)


def filled(arguments: Any, place: Callable[[Leaf], Any]) -> Any:
    """The arguments with place(leaf) for each leaf."""
    match arguments:
        case Leaf():
            return place(arguments)
        case list() | tuple():
            return type(arguments)(filled(x, place) for x in arguments)
        case dict():
            return {key: filled(x, place) for key, x in arguments.items()}
    return arguments


def _differentiated(library: Library, value: Any, leaves: dict[str, Any], given: Given) -> dict[str, np.ndarray]:
    outputs = dict(enumerate(value)) if isinstance(value, (tuple, list)) else {0: value}
    results = {f"output.{i}": library.numbers(y) for i, y in outputs.items()}
    tracked = {i: y for i, y in outputs.items() if y.requires_grad}
    if tracked:
        gs = [given(f"cotangent.{i}", tuple(y.shape), results[f"output.{i}"].dtype) for i, y in tracked.items()]
        found = library.pull_back(list(tracked.values()), [library.constant(g) for g in gs], list(leaves.values()))
        results |= {f"gradient.{name}": library.numbers(g) for name, g in zip(leaves, found, strict=True)}
    return results


def _trained(library: Library, optimizer: Any, scope: dict[str, Any]) -> dict[str, np.ndarray]:
    path = []
    for gradients in scope["gradients"]:
        _give(scope["params"], gradients)
        optimizer.step()
        path.append([library.numbers(p).copy() for p in scope["params"]])
    return {f"parameter.{i}": np.stack(steps) for i, steps in enumerate(zip(*path, strict=True))}


def _clipped(library: Library, text: str, scope: dict[str, Any]) -> dict[str, np.ndarray]:
    _give(scope["params"], scope["gradients"][0])
    value = evaluate(text, library, scope)
    results = {f"gradient.{i}": library.numbers(p.grad) for i, p in enumerate(scope["params"])}
    return results if value is None else results | {"output.0": np.array(float(value))}


def _give(params: list, gradients: list) -> None:
    for p, g in zip(params, gradients, strict=True):
        p.grad = g.detach()


def _scheduled(library: Library, text: str, scope: dict[str, Any]) -> dict[str, np.ndarray]:
    optimizer = evaluate("optim.SGD([x], lr=lr)", library, {**scope, "x": library.leaf(np.zeros(1))})
    schedule, rates = evaluate(text, library, {**scope, "optimizer": optimizer}), []
    for _ in range(scope["steps"]):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return {"rates": np.array(rates)}
