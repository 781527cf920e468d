"""Where arrays are: `"cpu"` for NumPy's, `"cuda:0"` and so on for CuPy's, which is imported when it is first asked for.

One process computes on one GPU: the one that was named last is CuPy's current device.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from nlp_kernels.errors import DeviceError

from tinygrad_nlp.autograd.arrays import Array, is_array

INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100  # cudaError_t
INSTALL = 'install the extra cuda13, as by pip install "cupy-cuda13x[ctk]", or cuda12 for a driver older than 580'


def device_of(x: Array) -> str:
    """The device of an array."""
    return "cpu" if isinstance(x, np.ndarray) else f"cuda:{x.device.id}"


def library_of(device: str | None) -> Any:
    """The array module of a device: NumPy, or CuPy with this GPU made the current one. Raises DeviceError."""
    if device in (None, "cpu"):
        return np
    number = str(device)[5:]
    if not is_device(device):
        raise DeviceError(f'unknown device {device!r}: "cpu", "cuda" or "cuda:1"')
    try:
        cupy, count = cupy_and_count()
    except DeviceError as error:
        raise DeviceError(f"device {device!r} cannot be had: {error}; or use device 'cpu'") from error.__cause__
    if int(number or 0) >= count:
        there = "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"device {device!r}: this machine has {there}")
    cupy.cuda.Device(int(number or 0)).use()
    return cupy


def cupy_and_count() -> tuple[Any, int]:
    """CuPy and the number of GPUs, at least one; DeviceError says what is missing, and how to get it."""
    if "cupy" not in sys.modules and find_spec("cupy") is None:
        raise DeviceError(f"CuPy is not installed: {INSTALL}")
    try:
        cupy = import_module("cupy")
    except Exception as error:  # its libraries are looked for when it is imported
        said = next((line for line in str(error).splitlines() if line.strip("= ")), type(error).__name__)
        raise DeviceError(f"CuPy is installed, but cannot be imported ({said.strip()}): {INSTALL}") from error
    try:
        return cupy, cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(_failure(error, cupy)) from error


def _failure(error: Any, cupy: Any) -> str:
    """What a failed first call of CUDA means: no driver, one that is too old, or no GPU."""
    if error.status == NO_DEVICE:
        return (
            "there is an NVIDIA driver but no GPU that may be used (cudaErrorNoDevice): look at nvidia-smi -L and at "
            "the variable CUDA_VISIBLE_DEVICES"
        )
    if error.status != INSUFFICIENT_DRIVER:
        return f"CUDA does not start ({error}): look at nvidia-smi"
    driver, needed = driver_version(), cupy.cuda.runtime.runtimeGetVersion() // 1000
    if driver is None:
        return (
            "this machine has no NVIDIA driver (libcuda.so.1 is not there): install one from nvidia.com/drivers, or "
            "start the container with --gpus all"
        )
    extra = f"extra cuda{driver[0]} in place of cuda{needed}" if driver[0] < needed else "CuPy of the driver's version"
    return (
        f"the NVIDIA driver is too old for this CuPy (cudaErrorInsufficientDriver): it is for CUDA "
        f"{driver[0]}.{driver[1]}, CuPy for CUDA {needed}; update the driver, or install the {extra}"
    )


def driver_version() -> tuple[int, int] | None:
    """The version of CUDA that the driver is for, as (13, 0); None where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def moved(x: Array, device: str) -> Array:
    """The array on a device; itself if it is there. Raises DeviceError."""
    if device == "cpu":
        return x if isinstance(x, np.ndarray) else x.get()
    xp = library_of(device)
    return x if not isinstance(x, np.ndarray) and device_of(x) == device else xp.asarray(x)


def beside(like: Array, x: Any) -> Any:
    """Indices, targets, lengths or a mask where an array is: the host's are copied to its GPU; None stays None."""
    return x if x is None or type(like) is np.ndarray or not isinstance(x, np.ndarray) else moved(x, device_of(like))


def refuse_mixed(function: str, names: Sequence[str], inputs: Iterable[Any]) -> None:
    """Raise DeviceError, naming two inputs and their devices, where arrays are on different ones."""
    first = device = None
    for name, x in zip(names, inputs, strict=False):
        if not is_array(x):
            continue
        if device is None:
            first, device = name, device_of(x)
        elif device_of(x) != device:
            raise DeviceError(
                f"{function}: {first} is on {device} and {name} on {device_of(x)}; move one of them with .to(device)"
            )


def is_device(name: Any) -> bool:
    """Whether this is how devices are called."""
    return isinstance(name, str) and re.fullmatch(r"cpu|cuda(:\d+)?", name) is not None
