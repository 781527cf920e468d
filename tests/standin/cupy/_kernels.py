"""Kernels of CUDA sources: the project's simulator runs them on the memory of the arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from cupy._array import ndarray
from cupy._call import effect
from cupy._driver import opened
from cupy._machine import machine
from cupy._memory import bytes_from
from nlp_kernels import simulator
from nlp_kernels.common import tensor_map
from nlp_kernels.common.cuda import span
from nlp_kernels.simulator.errors import SimulatorError
from nlp_kernels.simulator.tensor_map import TENSOR_MAP

opened()  # where the stand-in is found by PYTHONPATH nobody else says so


class RawModule:
    """CuPy's constructor; compiled, for the CPU, when the first kernel is asked for."""

    def __init__(self, code=None, *, path=None, options=(), backend="nvrtc", translate_cucomplex=False,
                 enable_cooperative_groups=False, name_expressions=None, jitify=False):  # fmt: skip
        if code is None:
            raise ValueError("the stand-in compiles sources only, not cubins")
        self.code, self.options, self.name_expressions = code, tuple(options), tuple(name_expressions or ())
        self.enable_cooperative_groups, self.backend, self.file_path = enable_cooperative_groups, backend, path
        self._simulated = simulator.RawModule(
            code=code, options=self.options, name_expressions=self.name_expressions,
            enable_cooperative_groups=enable_cooperative_groups,
        )  # fmt: skip

    def get_function(self, name: str) -> RawKernel:
        machine.check()
        kernel = RawKernel.__new__(RawKernel)
        kernel.name, kernel._kernel = name, self._simulated.get_function(name)
        kernel.code, kernel.options = self.code, self.options
        return kernel

    def compile(self, log_stream=None):
        machine.check()
        for name in self.name_expressions:
            self._simulated.get_function(name)


class RawKernel:
    """kernel(grid, block, arguments, shared_mem=bytes)."""

    def __init__(self, code, name, options=(), backend="nvrtc", **params):
        self.__dict__ = RawModule(code, options=options).get_function(name).__dict__

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self._kernel.max_dynamic_shared_size_bytes = size

    def __call__(self, grid, block, args, *, shared_mem=0):
        machine.check()
        plain = []
        for i, a in enumerate(args):
            if isinstance(a, np.ndarray) and a.size != 1:  # one of size 1 is passed by value, as its bytes
                raise TypeError(f"{self.name}: argument {i} is an array of the host")
            if isinstance(a, ndarray) and a.data.device_id != machine.current:
                raise ValueError(f"Array device must be same as the current device: argument {i} of {self.name}")
            if getattr(a, "dtype", None) == tensor_map._OPAQUE:
                a = a.view(TENSOR_MAP)
            plain.append(span(a._host) if isinstance(a, ndarray) else a)  # the simulator takes arrays without gaps
        machine.launches.append(self.name)
        effect(lambda: self._run(grid, block, plain, shared_mem))

    def _run(self, grid, block, args, shared_mem) -> None:
        kinds = self._kernel._entry.kinds.decode()
        args = [self._table(i, a) if kinds[i] in "tu" and a is not None else a for i, a in enumerate(args)]
        try:
            with any_array():
                self._kernel(grid, block, args, shared_mem=shared_mem)
        except SimulatorError as error:
            raise SimulatorError(f"on the stand-in for CuPy: {error}") from None

    def _table(self, i: int, addresses: np.ndarray) -> simulator.Pointers:
        """The arrays that a table in device memory leads to now; the simulator wants to know them all."""
        dtype = {1: np.uint8, 2: np.uint16, 4: np.float32, 8: np.float64}[self._kernel._entry.items[i]]
        ends = (bytes_from(int(address)) for address in addresses)
        return simulator.Pointers([end[: end.size // 8 * 8].view(dtype) for end in ends])


@contextlib.contextmanager
def any_array() -> Iterator[None]:
    """In the thread order that somebody has chosen, else the forward one."""
    if simulator.simulating():
        yield
    else:
        with simulator.simulate("forward"):
            yield
