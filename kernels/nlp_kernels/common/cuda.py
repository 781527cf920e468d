"""CUDA sources for launchers: CuPy compiles and runs them for GPU arrays, the simulator for NumPy ones."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nlp_kernels import simulator
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError
from nlp_kernels.simulator import translate

DTYPES = {"float32": "float", "float64": "double", "bfloat16": "__nv_bfloat16"}  # of arrays, and in CUDA


def serves(x: Any) -> bool:
    """Whether CUDA kernels take this array: one of CuPy, or of NumPy inside `use_backend("cuda", simulate=True)`."""
    if type(x) is np.ndarray:
        return simulator.simulating() and x.dtype.name in DTYPES
    return type(x).__module__.partition(".")[0] == "cupy" and x.dtype.name in DTYPES


class Source:
    """The `cuda.cu` beside a launcher and the template instances it uses, with `T` for the type.

    Those in `clusters` are for devices whose blocks can share a row. `dtypes` are those that it is for, where they are
    not what its arithmetic says; `oldest` is the compute capability that it needs, or `only` the architecture that
    alone has its instructions, as "sm_90a".
    """

    def __init__(
        self,
        launcher: str,
        *instances: str,
        clusters: tuple[str, ...] = (),
        dtypes: tuple[str, ...] = (),
        oldest: int = 75,
        only: str = "",
    ):
        self.path = Path(launcher).with_suffix(".cu")
        self.instances, self.clusters, self.dtypes = instances, clusters, dtypes
        self.oldest, self.only = oldest, only

    @property
    def code(self) -> str:
        """The source; at its end, a digest of it and its headers: CuPy keeps kernels by this text."""
        text = f'#line 1 "{self.path}"\n{self.path.read_text()}'
        return f"{text}\n// {hashlib.sha256(translate.flatten(text, []).encode()).hexdigest()[:16]}\n"

    def options(self, dtype: Any) -> tuple[str, ...]:
        """What the compiler is told; of CuPy's own -arch=sm_90 and sm_90a NVRTC takes the latter (gpu.has_wgmma)."""
        wanted = ("-DNLP_BFLOAT16",) if str(dtype) == "bfloat16" else ()
        architecture = (f"-arch={self.only}",) if self.only else ()
        return ("-std=c++17", f"-I{self.path.parent}", *wanted, *architecture)

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


def device_of(x: Any) -> int | None:
    """The number of a CuPy array's GPU; None for a NumPy array, which the simulator takes."""
    return None if type(x) is np.ndarray else x.device.id


def check_launch(function: str, *, computed: tuple[str, ...] = (), **arrays: Any) -> None:
    """Assert what a launch takes: C-contiguous arrays on the current device, the floating ones of one dtype.

    The first is floating; those that `computed` names have the dtype that it is computed in. None passes.
    Raises DeviceError, DtypeError, ShapeError naming the function and the array.
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
        expected = arithmetic(like.dtype) if name in computed else like.dtype
        if (x.dtype.kind == "f" or x.dtype.name == "bfloat16") and x.dtype != expected:
            fits = "kernels do not mix dtypes" if expected == like.dtype else f"expected {expected}"
            raise DtypeError(f"{function}: {name} is {x.dtype} but {first} is {like.dtype}; {fits}")
        if not x.flags.c_contiguous:
            raise ShapeError(f"{function}: {name}, of shape {tuple(x.shape)}, is not C-contiguous; copy it first")


def _described(x: Any) -> str:
    library = type(x).__module__.partition(".")[0]
    return f"on cuda:{x.device.id}" if library == "cupy" else f"a {library} {type(x).__name__}"


def empty_like(x: Any) -> Any:
    return empty(x, x.shape)


def empty(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A fresh array; for the simulator one of NaN or of numbers that stand out, so that unwritten places show."""
    dtype = np.dtype(dtype or like.dtype)
    if type(like) is np.ndarray:
        value = -2 if dtype.kind == "i" else np.iinfo(dtype).max if dtype.kind == "u" else np.nan
        return np.full(shape, value, dtype)
    return import_module("cupy").empty(shape, dtype)


def zeros(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    return (np if type(like) is np.ndarray else import_module("cupy")).zeros(shape, dtype or like.dtype)


def address(x: Any) -> int:
    return x.ctypes.data if type(x) is np.ndarray else x.data.ptr


def width(C: int, *arrays: Any) -> int:
    """How many numbers an access moves: 16 bytes of them where every row starts at a multiple of that, else one."""
    wide = 16 // arrays[0].itemsize
    return wide if C % wide == 0 and all(address(a) % 16 == 0 for a in arrays) else 1


def span(x: Any) -> Any:
    """The memory from the first to the last element, for kernels that are told the strides.

    The simulator knows arrays without gaps only; on a GPU the array itself will do.
    """
    if type(x) is not np.ndarray or x.flags.c_contiguous:
        return x
    length = 1 + sum((n - 1) * stride // x.itemsize for n, stride in zip(x.shape, x.strides, strict=True))
    return np.lib.stride_tricks.as_strided(x, (length,), (x.itemsize,), writeable=False)
