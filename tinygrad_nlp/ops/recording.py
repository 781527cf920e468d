"""What functions that are no primitives share: results become Tensors tied to a node, watched in anomaly mode."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from nlp_kernels.errors import AxisError

from tinygrad_nlp.autograd.anomaly import check_forward
from tinygrad_nlp.autograd.modes import ANOMALY, RECORD, mode
from tinygrad_nlp.autograd.node import Node, Output
from tinygrad_nlp.autograd.tensor import wrap


def record(function: Any, sources: Sequence, inputs: Sequence, kept: tuple, y: Any) -> Any:
    """The outputs as Tensors, tied to a node where something is to be differentiated. None stays None."""
    several = type(y) is tuple
    outputs = y if several else (y,)
    flags = mode.get()
    node = None
    if flags & RECORD and any(s is not None for s in sources):
        shape = [None if a is None else (a.shape, a.dtype) for a in outputs] if several else y.shape
        node = Node(function, sources, kept, shape)
    if flags & ANOMALY:
        check_forward(node, function, function.names, inputs, outputs)
    if not several:
        return wrap(y, node)
    return tuple(None if a is None else wrap(a, node and Output(node, i, a.shape)) for i, a in enumerate(outputs))


def axis_of(function: str, shape: tuple[int, ...], axis: Any) -> int:
    """The axis, counted from the front; raises AxisError for one that is not there."""
    n, axis = len(shape), index(axis)
    if not -n <= axis < n:
        raise AxisError(f"{function} of {shape}: there is no axis {axis}")
    return axis % n
