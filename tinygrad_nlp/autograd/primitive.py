"""primitive: a function of arrays and, beside it, how a gradient flows back through it.

    @primitive
    def tanh(x):
        return namespace(x).tanh(x)

    @tanh.vjp("x")
    def _(g, y):                          # dL/dx = dL/dy * (1 - y^2)
        return g * (1 - y * y)

A rule asks by name for what it needs: `g` the cotangent of the output, `y` the output, an input (`x`), an input's shape
(`x_shape`), a parameter (`axis`). What no rule asks for is not kept. A rule runs on plain arrays when only first
gradients are wanted, and on Tensors when the gradient itself is to be differentiated: the same text, to any order.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp.autograd import anomaly, operators
from tinygrad_nlp.autograd.arrays import is_array, namespace
from tinygrad_nlp.autograd.modes import ANOMALY, mode
from tinygrad_nlp.autograd.node import Node, Output
from tinygrad_nlp.autograd.tensor import Tensor, wrap

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Plan:
    """What one application of a primitive keeps and calls, for one choice of inputs that require a gradient.

    `keep(inputs, params, y)` is the tuple of everything the rules ask for; `rules[k](g, kept)` is the gradient of the
    k-th of them. Both are lambdas written out from the names the rules ask for, so that a call does no look-ups.
    """

    __slots__ = ("keep", "lifts", "output_at", "places", "rules", "several")

    def __init__(self, primitive: Primitive, places: list[int]):
        self.places = places
        self.several = _collect if primitive.several else None
        asked = [primitive.asked[i] for i in places]
        kept = sorted({name for names in asked for name in names})
        self.keep: Callable = eval(f"lambda inputs, params, y: ({''.join(primitive.fetch(n) + ',' for n in kept)})")
        self.rules = [
            eval(f"lambda g, kept: rule(g{''.join(f', kept[{kept.index(n)}]' for n in names)})", {"rule": rule})
            for rule, names in zip([primitive.rules[i] for i in places], asked, strict=True)
        ]
        order = {i: k for k, i in enumerate(places)}  # input position -> position among the sources
        self.lifts = [(k, order[i]) for k, n in enumerate(kept) if (i := primitive.position.get(n)) in order]
        self.output_at = kept.index("y") if "y" in kept else None

    def lift(self, node: Node) -> list:
        """What the node kept, as Tensors tied to the graph, so that a rule differentiates through it."""
        kept = list(node.kept)
        for k, source in self.lifts:
            kept[k] = wrap(kept[k], node.sources[source])
        if self.output_at is not None:
            y = kept[self.output_at]
            kept[self.output_at] = outputs_of(node, y) if type(y) is tuple else wrap(y, node)
        return kept


class Primitive:
    """A function of arrays with a vector-Jacobian rule for each input that has a gradient.

    Positional parameters are inputs (Tensors, arrays, numbers, shapes), keyword-only ones are hyperparameters. With
    `broadcasts` (elementwise functions) a gradient is summed over broadcast axes, and inputs of different dtypes are
    promoted. A function that returns a tuple has several outputs: its rules get the tuple of their cotangents.
    """

    def __init__(self, forward: Callable, *, broadcasts: bool = False, several: bool = False):
        functools.update_wrapper(self, forward)
        self.forward, self.broadcasts, self.several = forward, broadcasts, several
        self.__name__: str = forward.__name__
        parameters = inspect.signature(forward).parameters
        self.names = [n for n, p in parameters.items() if p.kind in _POSITIONAL]
        self.variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
        self.defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
        self.hyper = {n for n, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
        self.position = {n: i for i, n in enumerate(self.names)}
        self.rules: dict[int, Callable] = {}
        self.asked: dict[int, list[str]] = {}
        self.plans: dict[int, Plan | None] = {}

    def vjp(self, input_name: str) -> Callable[[Callable], Callable]:
        """Declare the rule of one input: `rule(g, ...)` returns dL/d(input) for the cotangent `g` of the output."""
        if input_name not in self.position:
            raise ValueError(f"{self.__name__} has no input named {input_name!r}; it has {', '.join(self.names)}")

        def add(rule: Callable) -> Callable:
            names = list(inspect.signature(rule).parameters)[1:]
            for name in names:
                self.fetch(name)
            i = self.position[input_name]
            self.rules[i], self.asked[i] = rule, names
            self.plans.clear()
            return rule

        return add

    def fetch(self, name: str) -> str:
        """The expression that finds what a rule asks for by name in (inputs, params, y)."""
        if name == "y":
            return "y"
        if name in self.position:
            return f"inputs[{self.position[name]}]"
        owner, _, attribute = name.rpartition("_")
        if owner in self.position and attribute in ("shape", "dtype", "device"):
            return f"inputs[{self.position[owner]}].{attribute}"
        if name in self.hyper:
            default = self.defaults.get(name)
            return f"params.get({name!r}, {default!r})" if default is not None else f"params.get({name!r})"
        raise ValueError(f"a rule of {self.__name__} asks for {name!r}: not y, an input, its _shape or _dtype, or a parameter")

    def __call__(self, *inputs, **params):
        if len(inputs) != len(self.names):
            inputs = self._bind(inputs, params)
        arrays, sources, tracked, bit = [], [], 0, 1
        for x in inputs:
            if type(x) is Tensor:
                arrays.append(x.data)
                if x.node is not None:
                    sources.append(x.node)
                    tracked |= bit
            else:
                arrays.append(x.item() if isinstance(x, np.generic) else x)
            bit += bit
        try:
            y = self.forward(*arrays, **params)
        except (ValueError, IndexError, TypeError) as error:
            raise self._explained(error, arrays) from error
        flags = mode.get()
        if not tracked or not flags & 1:
            if flags & ANOMALY:
                anomaly.check_forward(None, self, self.names, arrays, y if type(y) is tuple else (y,))
            return wrap(y) if type(y) is not tuple else tuple(map(wrap, y))
        try:
            plan = self.plans[tracked]
        except KeyError:
            plan = self._plan(tracked)
        if plan is None:  # none of the tracked inputs has a rule: a comparison, say
            return wrap(y)
        if len(plan.places) != len(sources):
            sources = [inputs[i].node for i in plan.places]
        if self.broadcasts and len(inputs) > 1:
            for i in plan.places:
                if arrays[i].dtype is not y.dtype and arrays[i].dtype != y.dtype:
                    return self(*(self._promoted(x, y.dtype) for x in inputs), **params)
        node = Node(self, plan, sources, plan.keep(arrays, params, y), None if self.several else y.shape)
        if self.several:
            node.shape = [(part.shape, part.dtype) for part in y]
        if flags & ANOMALY:
            anomaly.check_forward(node, self, self.names, arrays, y if self.several else (y,))
        return outputs_of(node, y) if self.several else wrap(y, node)

    def _plan(self, tracked: int) -> Plan | None:
        places = [i for i in range(len(self.names)) if tracked >> i & 1 and i in self.rules]
        self.plans[tracked] = plan = Plan(self, places) if places else None
        return plan

    def _bind(self, inputs: tuple, params: dict) -> tuple:
        """All inputs in order: those given by name leave `params`, missing ones take their default."""
        if len(inputs) > len(self.names):
            raise TypeError(f"{self.__name__}() takes {len(self.names)} positional arguments, got {len(inputs)}")
        rest = []
        for name in self.names[len(inputs) :]:
            if name not in params and name not in self.defaults:
                raise TypeError(f"{self.__name__}() is missing its argument {name!r}")
            rest.append(params.pop(name) if name in params else self.defaults[name])
        return (*inputs, *rest)

    @staticmethod
    def _promoted(x: Any, dtype: Any) -> Any:
        if type(x) is Tensor and x.dtype != dtype and x.dtype.kind == "f":
            return operators.ops.astype(x, dtype)
        return x

    def _explained(self, error: Exception, arrays: list) -> Exception:
        shapes = ", ".join(f"{tuple(x.shape)}" if is_array(x) else repr(x) for x in arrays)
        kinds = {namespace(x).__name__ for x in arrays if is_array(x)}
        if isinstance(error, TypeError):
            message = f"{self.__name__}: {error}" + ("; the arrays are on different devices" if len(kinds) > 1 else "")
            return DtypeError(message)
        if isinstance(error, IndexError) and not isinstance(error, ValueError):
            return IndexError(f"{self.__name__}: {error}")
        return ShapeError(f"{self.__name__}: arguments {shapes}: {error}")


def primitive(forward: Callable | None = None, *, broadcasts: bool = False, several: bool = False) -> Any:
    """Make a function of arrays differentiable: `broadcasts` for elementwise ones, `several` for tuples of outputs."""
    if forward is None:
        return lambda f: Primitive(f, broadcasts=broadcasts, several=several)
    return Primitive(forward)


def outputs_of(node: Node, arrays: tuple) -> tuple[Tensor, ...]:
    """The outputs of a node that has several; its `shape` is the list of their (shape, dtype)."""
    return tuple(wrap(a, Output(node, i, a.shape)) for i, a in enumerate(arrays))


def _collect(node: Node, parts: dict, create_graph: bool) -> tuple:
    """The cotangents of all outputs of a node, zeros where an output was not used."""
    given = next(iter(parts.values()))
    xp = namespace(given.data if type(given) is Tensor else given)
    zeros = (lambda s, d: wrap(xp.zeros(s, dtype=d))) if create_graph else (lambda s, d: xp.zeros(s, dtype=d))
    return tuple(parts[i] if i in parts else zeros(s, d) for i, (s, d) in enumerate(node.shape))
