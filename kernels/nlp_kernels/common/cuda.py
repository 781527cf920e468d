"""CUDA sources for launchers: CuPy compiles and runs them for GPU arrays, the simulator for NumPy ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nlp_kernels import simulator
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError

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


def device_of(x: Any) -> int | None:
    """The number of a CuPy array's GPU; None for a NumPy array, which the simulator takes."""
    return None if type(x) is np.ndarray else x.device.id


def on_device(values: np.ndarray, device: int | None) -> Any:
    """An array of the host, on the current GPU; as it is for the simulator."""
    return values if device is None else import_module("cupy").asarray(values)


def pointers(arrays: Sequence[Any]) -> Any:
    """A table of addresses for a parameter `T* const*`, sent to the GPU if it is not there yet.

    The caller keeps the arrays alive until the kernel has run.
    """
    device = device_of(arrays[0])
    return simulator.Pointers(arrays) if device is None else _table(tuple(map(address, arrays)), device)


@functools.lru_cache(maxsize=256)  # addresses that come back, as those of a training step do, are sent once
def _table(addresses: tuple[int, ...], device: int) -> Any:
    return on_device(np.array(addresses, np.uint64), device)


def check_launch(function: str, **arrays: Any) -> None:
    """Assert what a launch takes: C-contiguous arrays on the current device, the floating ones of one dtype.

    None passes. Raises DeviceError, DtypeError, ShapeError naming the function and the array.
    """
    first, like = next((name, x) for name, x in arrays.items() if x is not None)
    device = device_of(like)
    if device is not None and (current := import_module("cupy").cuda.Device().id) != device:
        raise DeviceError(f"{function}: {first} is on cuda:{device}, but cuda:{current} is the current device")
    for name, x in arrays.items():
        if x is None:
            continue
        if type(x) is not type(like) or device_of(x) != device:
            raise DeviceError(f"{function}: {name} is {_described(x)}, {first} is {_described(like)}; move it there")
        if x.dtype.kind == "f" and x.dtype != like.dtype:
            raise DtypeError(f"{function}: {name} is {x.dtype} but {first} is {like.dtype}; kernels do not mix dtypes")
        if not x.flags.c_contiguous:
            raise ShapeError(f"{function}: {name}, of shape {tuple(x.shape)}, is not C-contiguous; copy it first")


def _described(x: Any) -> str:
    library = type(x).__module__.partition(".")[0]
    return f"on cuda:{x.device.id}" if library == "cupy" else f"a {library} {type(x).__name__}"


def empty_like(x: Any) -> Any:
    return empty(x, x.shape)


def empty(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A fresh array; for the simulator one of NaN or -2, so that a place that no thread writes shows."""
    dtype = np.dtype(dtype or like.dtype)
    if type(like) is np.ndarray:
        return np.full(shape, np.nan if dtype.kind == "f" else -2, dtype)
    return import_module("cupy").empty(shape, dtype)


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
