"""CUDA sources for launchers: CuPy compiles and runs them for GPU arrays, the simulator for NumPy ones."""

from __future__ import annotations

import functools
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nlp_kernels import simulator

DTYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def serves(x: Any) -> bool:
    """Whether CUDA kernels take this array: one of CuPy, or of NumPy inside `use_backend("cuda", simulate=True)`."""
    if type(x) is np.ndarray:
        return simulator.simulating() and x.dtype in DTYPES
    return type(x).__module__.partition(".")[0] == "cupy" and x.dtype in DTYPES


class Source:
    """The `cuda.cu` beside a launcher and the template instances it uses, with `T` for the type."""

    def __init__(self, launcher: str, *instances: str):
        self.path = Path(launcher).with_suffix(".cu")
        self.instances = instances

    @property
    def code(self) -> str:
        return f'#line 1 "{self.path}"\n{self.path.read_text()}'

    @property
    def options(self) -> tuple[str, ...]:
        return ("-std=c++17", f"-I{self.path.parent}")

    def names(self, dtype: Any) -> tuple[str, ...]:
        """The name expressions for a dtype, as `softmax_forward<float, 32, 8, 4>`."""
        return tuple(re.sub(r"\bT\b", DTYPES[np.dtype(dtype)], name) for name in self.instances)

    def kernel(self, instance: str, x: Any) -> Any:
        """The kernel for arrays like x."""
        library = "numpy" if type(x) is np.ndarray else "cupy"
        return self._kernel(instance, np.dtype(x.dtype), library)

    @functools.cache  # noqa: B019  sources live as long as the program
    def _kernel(self, instance: str, dtype: np.dtype, library: str) -> Any:
        name = self.names(dtype)[self.instances.index(instance)]
        return self._module(dtype, library).get_function(name)

    @functools.cache  # noqa: B019
    def _module(self, dtype: np.dtype, library: str) -> Any:
        module: Any = simulator.RawModule if library == "numpy" else import_module("cupy").RawModule
        return module(code=self.code, options=self.options, name_expressions=self.names(dtype))


def empty_like(x: Any) -> Any:
    """A fresh array; for the simulator one of NaN, so that a place that no thread writes shows."""
    return np.full(x.shape, np.nan, x.dtype) if type(x) is np.ndarray else import_module("cupy").empty_like(x)


def address(x: Any) -> int:
    return x.ctypes.data if type(x) is np.ndarray else x.data.ptr


def width(C: int, *arrays: Any) -> int:
    """How many numbers an access moves: 16 bytes of them where every row starts at a multiple of that, else one."""
    wide = 16 // arrays[0].itemsize
    return wide if C % wide == 0 and all(address(a) % 16 == 0 for a in arrays) else 1


def blocks(x: Any, needed: int, per_processor: int = 8) -> int:
    """The size of a persistent grid: as many blocks as there is work for, or as the GPU runs at once."""
    if type(x) is np.ndarray:
        return min(needed, 3)  # few, so that small tests go round
    processors = import_module("cupy").cuda.Device().attributes["MultiProcessorCount"]
    return min(needed, processors * per_processor)
