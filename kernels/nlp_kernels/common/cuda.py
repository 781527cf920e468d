"""CUDA sources for launchers: CuPy compiles and runs them for GPU arrays, the simulator for NumPy ones."""

from __future__ import annotations

import functools
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nlp_kernels import simulator

DTYPES = {"float32": "float", "float64": "double", "bfloat16": "__nv_bfloat16"}  # of arrays, and in CUDA


def serves(x: Any) -> bool:
    """Whether CUDA kernels take this array: one of CuPy, or of NumPy inside `use_backend("cuda", simulate=True)`."""
    if type(x) is np.ndarray:
        return simulator.simulating() and x.dtype.name in DTYPES
    return type(x).__module__.partition(".")[0] == "cupy" and x.dtype.name in DTYPES


class Source:
    """The `cuda.cu` beside a launcher and the template instances it uses, with `T` for the type.

    Those in `clusters` are for devices whose blocks can share a row. `dtypes` are those that it is for, where they are
    not what its arithmetic says; `oldest` is the compute capability that it needs.
    """

    def __init__(
        self,
        launcher: str,
        *instances: str,
        clusters: tuple[str, ...] = (),
        dtypes: tuple[str, ...] = (),
        oldest: int = 75,
    ):
        self.path = Path(launcher).with_suffix(".cu")
        self.instances, self.clusters, self.dtypes, self.oldest = instances, clusters, dtypes, oldest

    @property
    def code(self) -> str:
        return f'#line 1 "{self.path}"\n{self.path.read_text()}'

    def options(self, dtype: Any) -> tuple[str, ...]:
        """What the compiler is told."""
        wanted = ("-DNLP_BFLOAT16",) if str(dtype) == "bfloat16" else ()
        return ("-std=c++17", f"-I{self.path.parent}", *wanted)

    def names(self, dtype: Any, *, clusters: bool = True) -> tuple[str, ...]:
        """The name expressions for a dtype, as `softmax_forward<float, 32, 8, 4>`."""
        instances = (*self.instances, *self.clusters) if clusters else self.instances
        return tuple(_named(instance, dtype) for instance in instances)

    def kernel(self, instance: str, x: Any) -> Any:
        """The kernel for arrays like x.

        CuPy compiles one by one what is asked for; a compiler for the CPU is faster with all of them at once.
        """
        if type(x) is np.ndarray:
            every = (*self.instances, *self.clusters)
            return self._module(x.dtype.name, every, "simulated").get_function(_named(instance, x.dtype))
        return self._module(x.dtype.name, (instance,), "cupy").get_function(_named(instance, x.dtype))

    @functools.cache  # noqa: B019  sources live as long as the program
    def _module(self, dtype: str, instances: tuple[str, ...], library: str) -> Any:
        module: Any = import_module("cupy").RawModule if library == "cupy" else simulator.RawModule
        names = tuple(_named(instance, dtype) for instance in instances)
        return module(code=self.code, options=self.options(dtype), name_expressions=names)


def _named(instance: str, dtype: Any) -> str:
    return re.sub(r"\bT\b", DTYPES[str(dtype)], instance)


def arithmetic(dtype: Any) -> np.dtype:
    """What numbers of a dtype are computed in: bfloat16 in float32."""
    return np.dtype(np.float32) if str(dtype) == "bfloat16" else np.dtype(dtype)


def empty(x: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A fresh array beside x, of its dtype unless told; for the simulator one of NaN, so that unwritten places show.

    Bits of numbers (uint16) are all set, which is a NaN, too.
    """
    dtype = np.dtype(dtype or x.dtype)
    if type(x) is np.ndarray:
        return np.full(shape, np.iinfo(dtype).max if dtype.kind == "u" else np.nan, dtype)
    return import_module("cupy").empty(shape, dtype)


def empty_like(x: Any) -> Any:
    """`empty` with the shape of x."""
    return empty(x, x.shape)


def address(x: Any) -> int:
    return x.ctypes.data if type(x) is np.ndarray else x.data.ptr


def width(C: int, *arrays: Any) -> int:
    """How many numbers an access moves: 16 bytes of them where every row starts at a multiple of that, else one."""
    wide = 16 // arrays[0].itemsize
    return wide if C % wide == 0 and all(address(a) % 16 == 0 for a in arrays) else 1


def shared_memory(x: Any) -> int:
    """The bytes that a block may have on the GPU of x; in the simulator those of Hopper."""
    return 227 << 10 if type(x) is np.ndarray else x.device.attributes["MaxSharedMemoryPerBlockOptin"]


def span(x: Any) -> Any:
    """The memory from the first to the last element, for kernels that are told the strides.

    The simulator knows arrays without gaps only; on a GPU the array itself will do.
    """
    if type(x) is not np.ndarray or x.flags.c_contiguous:
        return x
    length = 1 + sum((n - 1) * stride // x.itemsize for n, stride in zip(x.shape, x.strides, strict=True))
    return np.lib.stride_tricks.as_strided(x, (length,), (x.itemsize,), writeable=False)


def capability(x: Any) -> int:
    """The compute capability of the GPU of x, 90 for 9.0; the simulator has what Hopper has."""
    return 90 if type(x) is np.ndarray else int(x.device.compute_capability)


def clusters(x: Any) -> bool:
    """Whether blocks can share a row: on compute capability 9.0 and newer, and in the simulator."""
    return capability(x) >= 90


def blocks(x: Any, needed: int, per_processor: int = 8) -> int:
    """The size of a persistent grid: as many blocks as there is work for, or as the GPU runs at once."""
    if type(x) is np.ndarray:
        return min(needed, 3)  # few, so that small tests go round
    return min(needed, processors(x) * per_processor)


def processors(x: Any) -> int:
    """How many the GPU of x has; in the simulator few, so that blocks share work in small tests."""
    return 4 if type(x) is np.ndarray else x.device.attributes["MultiProcessorCount"]
