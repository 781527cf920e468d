"""What the tape needs to know of plain arrays: their namespace, how broadcasting is undone, which were written to."""

from __future__ import annotations

import math
import weakref
from typing import Any

import array_api_compat
import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def namespace(x: Any) -> Any:
    """The array API namespace of an array or Tensor; NumPy's for a number."""
    if type(x) is np.ndarray or isinstance(x, (np.generic, int, float)):
        return np
    if type(x).__module__.startswith("tinygrad_nlp"):
        return x.__array_namespace__()
    return array_api_compat.array_namespace(x)


def is_array(x: Any) -> bool:
    """A NumPy or CuPy array (not a Tensor, not a scalar)."""
    return type(x) is np.ndarray or hasattr(x, "__cuda_array_interface__") or isinstance(x, np.ndarray)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Broadcasting copies a value forward, so its gradient sums the copies.  g: array or Tensor -> `shape`"""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    if lead:
        g = g.sum(axis=tuple(range(lead)))
    axes = tuple([i for i, (n, m) in enumerate(zip(shape, g.shape, strict=True)) if n != m])
    return g.sum(axis=axes, keepdims=True) if axes else g


def broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated to a shape: a view, except that for a few values a copy is quicker to make than a view."""
    if type(x) is np.ndarray and math.prod(shape) <= 1024:
        copy = np.empty(shape, x.dtype)
        copy[...] = x
        return copy
    return namespace(x).broadcast_to(x, shape)


class Writes:
    """When each buffer was last written to in place by the library (an optimiser, `x[i] = v`, `load_state_dict`).

    A node that kept an array before it was written must not be swept: `last` makes that one comparison for a node,
    and only where something was written since does a look at the kept arrays follow.
    """

    def __init__(self) -> None:
        self.last = -1
        self._ticks: dict[int, tuple[weakref.ref, int]] = {}

    def note(self, array: Array, tick: int) -> None:
        owner = _owner(array)
        key = id(owner)
        self._ticks[key] = weakref.ref(owner, lambda _: self._ticks.pop(key, None)), tick
        self.last = tick

    def since(self, array: Array, tick: int) -> bool:
        _, written = self._ticks.get(id(_owner(array)), (None, -1))
        return written > tick


def _owner(array: Array) -> Array:
    while is_array(array.base):
        array = array.base
    return array


writes = Writes()
