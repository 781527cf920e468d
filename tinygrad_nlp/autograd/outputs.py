"""Functions with several outputs: each is a place of its own in the graph, behind one node."""

from __future__ import annotations

from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.node import Node, Output
from tinygrad_nlp.autograd.tensor import Tensor, wrap


def outputs_of(node: Node, arrays: tuple) -> tuple[Tensor, ...]:
    """The outputs of a node that has several; its `shape` is the list of their (shape, dtype)."""
    return tuple(wrap(a, Output(node, i, a.shape)) for i, a in enumerate(arrays))


def cotangents_of(node: Node, parts: dict, create_graph: bool) -> tuple:
    """The cotangents of all outputs of a node, zeros where an output was not used."""
    given = next(iter(parts.values()))
    xp = namespace(given.data if type(given) is Tensor else given)
    missing = {i: xp.zeros(s, dtype=dtype) for i, (s, dtype) in enumerate(node.shape) if i not in parts}
    if create_graph:
        missing = {i: wrap(z) for i, z in missing.items()}
    return tuple((parts | missing)[i] for i in range(len(node.shape)))
