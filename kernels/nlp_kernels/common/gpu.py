"""What the GPU of an array can do; for NumPy arrays, what the simulator can."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

import numpy as np


def capability(x: Any) -> int:
    """The compute capability of the GPU of x, 90 for 9.0; the simulator has what Hopper has."""
    return 90 if type(x) is np.ndarray else _capability(x.device.id)


def clusters(x: Any) -> bool:
    """Whether blocks can share a row: on compute capability 9.0 and newer, and in the simulator."""
    return capability(x) >= 90


def has_wgmma(x: Any) -> bool:
    """Whether kernels of sm_90a run and can be compiled: capability 9.0 alone, and NVRTC from 12.9 on.

    Older ones refuse a second -arch beside CuPy's.
    """
    return capability(x) == 90 and _nvrtc(type(x) is np.ndarray) >= (12, 9)


def blocks(x: Any, needed: int, per_processor: float = 8) -> int:
    """The size of a persistent grid: as many blocks as there is work for, or as the GPU runs at once."""
    if type(x) is np.ndarray:
        return min(needed, 3)  # few, so that small tests go round
    return min(needed, max(1, int(processors(x) * per_processor)))


def processors(x: Any) -> int:
    """How many the GPU of x has; in the simulator few, so that blocks share work in small tests."""
    return 4 if type(x) is np.ndarray else _attribute(x.device.id, "MultiProcessorCount")


def shared_memory(x: Any) -> int:
    """The bytes that a block may have on the GPU of x; in the simulator those of Hopper."""
    return 227 << 10 if type(x) is np.ndarray else _attribute(x.device.id, "MaxSharedMemoryPerBlockOptin")


@functools.cache  # asking takes longer than a launch
def _attribute(device: int, name: str) -> int:
    return int(import_module("cupy").cuda.Device(device).attributes[name])


@functools.cache
def _nvrtc(simulated: bool) -> tuple[int, int]:
    return (13, 0) if simulated else import_module("cupy").cuda.nvrtc.getVersion()


@functools.cache
def _capability(device: int) -> int:
    return int(import_module("cupy").cuda.Device(device).compute_capability)
