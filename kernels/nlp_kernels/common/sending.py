"""Arrays of the host for kernels: tables of addresses, and what is sent when a captured stream must not wait."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import numpy as np

from nlp_kernels import simulator
from nlp_kernels.common.cuda import address, device_of

_waiting: ContextVar[list[tuple[Any, np.ndarray]] | None] = ContextVar("arrays sent later", default=None)


def on_device(values: np.ndarray, device: int | None) -> Any:
    """An array of the host, on the current GPU; as it is for the simulator."""
    if device is None:
        return values
    cupy, waiting = import_module("cupy"), _waiting.get()
    if waiting is None:
        return cupy.asarray(values)
    with cupy.cuda.using_allocator(cupy.get_default_memory_pool().malloc):
        # not from the graph's memory: what was there before, earlier in the graph, is written again at each replay
        waiting.append((cupy.empty(values.shape, values.dtype), values))
    return waiting[-1][0]


@contextmanager
def sent_later() -> Iterator[list[Any]]:
    """Within this block nothing is sent to the GPU, as a stream that is captured forbids; it is when the block ends.

    Gives the arrays that `on_device` made, a list to keep: a captured kernel reads them at every launch of its graph.
    """
    waiting: list[tuple[Any, np.ndarray]] = []
    token = _waiting.set(waiting)
    kept: list[Any] = []
    try:
        yield kept
    finally:
        _waiting.reset(token)
        for array, values in waiting:  # also after an error: some may have been kept for the next time
            array.set(values)
            kept.append(array)


def pointers(arrays: Sequence[Any]) -> Any:
    """A table of addresses for a parameter `T* const*`, sent to the GPU if it is not there yet.

    The caller keeps the arrays alive until the kernel has run.
    """
    device = device_of(arrays[0])
    return simulator.Pointers(arrays) if device is None else _table(tuple(map(address, arrays)), device)


@functools.lru_cache(maxsize=256)  # addresses that come back, as those of a training step do, are sent once
def _table(addresses: tuple[int, ...], device: int) -> Any:
    return on_device(np.array(addresses, np.uint64), device)
