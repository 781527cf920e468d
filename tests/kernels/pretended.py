"""A pretended CuPy, whose arrays are NumPy's and whose kernels run in the simulator.

So what launchers do for CuPy arrays alone, tables of addresses, uploads, what is kept from launch to launch, runs
without a GPU. It has the few functions that launchers call; `sent` are the arrays that went to the GPU, by size.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from nlp_kernels.common import gpu
from nlp_kernels.common.cuda import Source
from nlp_kernels.simulator import Pointers
from nlp_kernels.simulator import RawModule as SimulatedModule

_by_address: WeakValueDictionary[int, Any] = WeakValueDictionary()


class Array:
    """A NumPy array that says it is CuPy's; attributes and methods that it lacks are NumPy's."""

    def __init__(self, host: np.ndarray, device: int = 0):
        self.host, self.device = host, SimpleNamespace(id=device)
        self.data = SimpleNamespace(ptr=host.ctypes.data)
        _by_address[self.data.ptr] = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)

    def __getitem__(self, index: Any) -> Array:
        return Array(self.host[index])

    def __setitem__(self, index: Any, values: Any) -> None:
        self.host[index] = values.host if isinstance(values, Array) else values

    def __len__(self) -> int:
        return len(self.host)

    def copy(self) -> Array:
        return Array(self.host.copy())

    def reshape(self, *shape: Any) -> Array:
        return Array(self.host.reshape(*shape))


Array.__module__, Array.__name__ = "cupy", "ndarray"


class RawModule(SimulatedModule):
    def get_function(self, name: str) -> Any:
        kernel = super().get_function(name)
        kinds = kernel._entry.kinds.decode()

        def launch(grid: Any, block: Any, args: Any, **options: Any) -> None:
            kernel(grid, block, [_given(a, kind) for a, kind in zip(args, kinds, strict=True)], **options)

        return launch


def _given(argument: Any, kind: str) -> Any:
    """What the simulator takes in place of a CuPy array: a NumPy one, or the arrays of a table of addresses."""
    if not isinstance(argument, Array):
        return argument
    if kind in "tu":
        return Pointers([_by_address[address].host for address in argument.host.tolist()])
    return argument.host


def pretend(monkeypatch: Any, launcher: Any, current: int = 0) -> SimpleNamespace:
    """Until the test ends, `launcher` finds this CuPy, with nothing compiled or kept. -> what was `sent`"""
    cupy, seen = ModuleType("cupy"), SimpleNamespace(sent=[])

    def asarray(host: np.ndarray) -> Array:
        seen.sent.append(host.size)
        return Array(host.copy())

    def empty(shape: Any, dtype: Any) -> Array:
        return Array(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -2, dtype))

    processors = SimpleNamespace(id=current, attributes={"MultiProcessorCount": 1})
    vars(cupy).update(
        asarray=asarray, empty=empty, empty_like=lambda x: empty(x.shape, x.dtype), RawModule=RawModule,
        zeros=lambda shape, dtype: Array(np.zeros(shape, dtype)), cuda=SimpleNamespace(Device=lambda *_: processors),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    gpu._attribute.cache_clear()
    monkeypatch.setattr(launcher, "SOURCE", Source(str(launcher.SOURCE.path), *launcher.SOURCE.instances))
    return seen
