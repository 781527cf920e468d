"""Fused functions: a kernel for the value and the first gradient, the readable reference above that.

`saved` (a mean, a log-sum-exp, …) is a cache of functions of the inputs, never an input of the graph: the second
gradient recomputes it. Taking it for a constant leaves every first-order test green and every second gradient wrong.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.devices import refuse_mixed
from tinygrad_nlp.autograd.modes import enable_grad
from tinygrad_nlp.autograd.node import Node
from tinygrad_nlp.autograd.outputs import cotangents_of
from tinygrad_nlp.autograd.sweep import lent, sweep
from tinygrad_nlp.autograd.tensor import wrap
from tinygrad_nlp.ops.recording import record


class Fused:
    """`kernel.forward(*inputs) -> (y, saved)` and `kernel.backward(dy, *inputs, saved) -> gradients` as one node.

    `differentiable` are the positions of the inputs that have a gradient; indices, lengths and masks pass through.
    Where `y` is a tuple, `dy` is one.
    """

    broadcasts = False
    rules = None

    def __init__(self, kernel: ModuleType, names: str, differentiable: tuple[int, ...]):
        self.__name__ = kernel.__name__.rpartition(".")[2]
        self.kernel, self.names, self.differentiable = kernel, names.split(), differentiable

    def __call__(self, *inputs: Any, **hyper: Any) -> Any:
        arrays = [x.data if type(x) is Tensor else x for x in inputs]
        if any(x is not None and type(x) is not np.ndarray for x in arrays):
            refuse_mixed(self.__name__, self.names, arrays)
        y, saved = self.kernel.forward(*arrays, **hyper)
        sources = [x.node if type(x := inputs[i]) is Tensor else None for i in self.differentiable]
        return record(self, sources, arrays, (*arrays, saved, hyper), y)

    def gradients(self, node: Node, g: Any, needed: set | None, create_graph: bool) -> Any:
        *arrays, saved, hyper = node.kept
        gs = cotangents_of(node, g, create_graph) if type(node.shape) is list else (g,)
        if create_graph:
            for i, source in zip(self.differentiable, node.sources, strict=True):
                arrays[i] = arrays[i] if arrays[i] is None else wrap(arrays[i], source)
            dxs = FusedBackward(self, len(gs))(gs, arrays, saved, hyper, several=type(node.shape) is list)
        else:
            dxs = self.kernel.backward(gs if type(node.shape) is list else gs[0], *arrays, saved, **hyper)
        return zip(node.sources, _distinct(dxs), strict=True)


class FusedBackward:
    """The first gradient as a function of the cotangents and the inputs, differentiable through the reference."""

    broadcasts = False
    rules = None

    def __init__(self, fused: Fused, n_outputs: int):
        self.__name__, self.fused = fused.__name__ + "_backward", fused
        self.names = [f"g{i}" for i in range(n_outputs)] + [fused.names[i] for i in fused.differentiable]

    def __call__(self, gs: tuple, inputs: list, saved: Any, hyper: dict, *, several: bool) -> tuple:
        dy = tuple(g.data for g in gs)
        arrays = [x.data if type(x) is Tensor else x for x in inputs]
        dxs = self.fused.kernel.backward(dy if several else dy[0], *arrays, saved, **hyper)
        sources = [g.node for g in gs]
        sources += [x.node if type(x := inputs[i]) is Tensor else None for i in self.fused.differentiable]
        return record(self, sources, (*dy, *arrays), (*dy, *arrays, several, hyper), tuple(dxs))

    def gradients(self, node: Node, parts: dict, needed: set | None, create_graph: bool) -> Any:
        *values, several, hyper = node.kept
        n = len(values) - len(self.fused.names)
        places = [*range(n), *(n + i for i in self.fused.differentiable)]
        for place, source in zip(places, node.sources, strict=True):
            if values[place] is not None:
                tracked = source is not None and (needed is None or source in needed)
                values[place] = (
                    wrap(values[place], source) if create_graph else Tensor(values[place], requires_grad=tracked)
                )
        with enable_grad():
            dy = tuple(values[:n])
            dxs = self.fused.kernel.reference.backward(dy if several else dy[0], *values[n:], None, **hyper)
        roots = [(dxs[i].node, gg) for i, gg in parts.items() if dxs[i] is not None and dxs[i].node is not None]
        inside = [None if values[p] is None else values[p].node for p in places]
        wanted = {x for x in inside if x is not None}
        found, owned = sweep(roots, wanted, create_graph=create_graph, retain_graph=create_graph, through=False)
        if create_graph:  # one source may stand for several inputs (q, k and v of one x): its gradient is their sum
            return [(source, found.get(source)) for source in wanted]
        found = lent(found, owned)
        return [(source, found.get(x) if x else None) for source, x in zip(node.sources, inside, strict=True)]


def _distinct(dxs: tuple) -> tuple:
    """The same gradient handed to two inputs must not be added to in place by either: both become views."""
    if len({id(d) for d in dxs if d is not None}) == sum(d is not None for d in dxs):
        return dxs
    return tuple(d[...] if d is not None and type(d) is not Tensor else d for d in dxs)
