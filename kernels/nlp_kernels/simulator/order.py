"""In which order the simulator runs threads; context-local, and what says that NumPy arrays may run on it at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from nlp_kernels.simulator.errors import SimulatorError

ORDERS = ("forward", "random:1", "random:2", "random:3")  # what tests run every kernel under

_order: ContextVar[str | None] = ContextVar("the simulator's thread order", default=None)


def simulating() -> bool:
    """Whether NumPy arrays run in the simulator here: inside `simulate()`."""
    return _order.get() is not None


@contextmanager
def simulate(order: str = "forward") -> Iterator[None]:
    """Run CUDA kernels on NumPy arrays inside a `with` block; order: "forward", "reverse" or "random:SEED"."""
    _parsed(order)
    token = _order.set(order)
    try:
        yield
    finally:
        _order.reset(token)


def current_order() -> tuple[str, int]:
    """(kind, seed) of the running block, else ("forward", 0)."""
    return _parsed(_order.get() or "forward")


def every_order(function: Callable[[], Any], orders: tuple[str, ...] = ORDERS) -> Any:
    """What a function of kernels returns (an array, or a tuple of them), the same to the last bit in every order.

    Raises SimulatorError naming the first element that an order changes: a race, a missing barrier, or sums whose order
    is left to chance.
    """
    first = None
    for order in orders:
        with simulate(order):
            result = function()
        arrays = [np.asarray(a) for a in (result if isinstance(result, tuple) else (result,))]
        if first is None:
            first = arrays
        for k, (a, b) in enumerate(zip(first, arrays, strict=True)):
            differ = np.argwhere(~((a == b) | ((a != a) & (b != b))))
            if len(differ):
                i = tuple(map(int, differ[0]))
                raise SimulatorError(
                    f"the thread order changes result {k}: element {i} is {a[i]} in order {orders[0]}, {b[i]} in order "
                    f"{order} ({len(differ)} of {a.size} differ): a barrier is missing, or the order of a sum is open"
                )
    return result


def _parsed(order):
    kind, colon, seed = order.partition(":")
    if kind in ("forward", "reverse") and not colon:
        return kind, 0
    if kind == "random" and seed.isdigit():
        return kind, int(seed)
    raise SimulatorError(f'there is no thread order {order!r}: "forward", "reverse" or "random:SEED"')
