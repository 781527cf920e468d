"""checkpoint: keep a segment's inputs instead of its activations, and compute it again in the sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlp_kernels.errors import DtypeError

from tinygrad_nlp import random
from tinygrad_nlp.autograd.arrays import writes
from tinygrad_nlp.autograd.modes import enable_grad, is_recording
from tinygrad_nlp.autograd.node import Node, tick
from tinygrad_nlp.autograd.outputs import cotangents_of, outputs_of
from tinygrad_nlp.autograd.sweep import lent, refuse_changed, sweep
from tinygrad_nlp.autograd.tensor import Tensor, wrap


def checkpoint(f: Callable, *inputs: Any) -> Any:
    """f(*inputs), keeping only the inputs; the gradient runs f again  (Chen et al. 2016, arXiv:1604.06174).  -> as f

    `f` may use any tensors (a layer's parameters): their gradients are found too. Random numbers of the library's
    default generator are drawn again the same, so dropout keeps its mask; of another generator they would not be. f
    must not depend on anything else, and what it uses must not change in between. Raises DtypeError for what f returns
    that is no Tensor.

    >>> x = tn.Tensor(2.0, requires_grad=True)
    >>> tn.grad(tn.checkpoint(lambda x: x**3, x), x)
    (Tensor(12.),)
    """
    if not is_recording():
        return f(*inputs)
    return Checkpoint(f)(*inputs)


class Checkpoint:
    """The node's function: what was outside the segment are its sources."""

    broadcasts = False
    rules = None

    def __init__(self, f: Callable):
        self.f = f
        self.__name__ = f"checkpoint({getattr(f, '__name__', type(f).__name__)})"

    def __call__(self, *inputs):
        state = random.default_generator.state
        start = tick()
        ys = self.f(*inputs)
        several = isinstance(ys, (tuple, list))
        outputs = ys if several else (ys,)
        for y in outputs:
            if not isinstance(y, Tensor):
                raise DtypeError(f"{self.__name__}: the function returned a {type(y).__name__}, not a Tensor")
        sources, _ = _parted([y.node for y in outputs if y.node is not None], start)
        if not sources:
            return ys
        node = Node(self, sources, (inputs, state), [(y.shape, y.dtype) for y in outputs])
        tied = outputs_of(node, tuple(y.data for y in outputs))
        tensors = tuple(t if y.node is not None else wrap(y.data) for t, y in zip(tied, outputs, strict=True))
        return tensors if several else tensors[0]

    def gradients(self, node: Node, parts: dict, needed: set | None, create_graph: bool):
        inputs, state = node.kept
        now = random.default_generator.state
        random.default_generator.state = state
        start = tick()
        try:
            with enable_grad():
                ys = self.f(*inputs)
        finally:
            random.default_generator.state = now
        outputs = ys if isinstance(ys, (tuple, list)) else (ys,)
        gs = cotangents_of(node, parts, create_graph)
        roots = [(y.node, g) for y, g in zip(outputs, gs, strict=True) if y.node is not None]
        if writes.last > node.order:
            for inner in _parted([root for root, _ in roots], start)[1]:
                refuse_changed(inner, node)
        wanted = {s for s in node.sources if needed is None or s in needed}
        found, owned = sweep(roots, wanted, create_graph=create_graph, retain_graph=create_graph, through=False)
        if not create_graph:  # one array for two sources, or a cotangent handed on
            found = lent(found, owned)
        return [(s, found.get(s)) for s in node.sources]


def _parted(roots: list[Node], start: int) -> tuple[list[Node], list[Node]]:
    """The nodes made before `start` that the segment reaches, with its leaves; and those made in it."""
    outside, inside = [], []
    seen, stack = set(roots), list(roots)
    while stack:
        node = stack.pop()
        if node.order < start or not node.sources:
            outside.append(node)
            continue
        inside.append(node)
        for source in node.sources:
            if source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    return outside, inside
