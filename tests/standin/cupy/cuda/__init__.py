"""Devices, streams, memory: names of `cupy.cuda`."""

from cupy._machine import machine as _machine
from cupy._memory import (
    Memory,
    MemoryPointer,
    MemoryPool,
    UnownedMemory,
    alloc,
    alloc_pinned_memory,
    get_allocator,
    set_allocator,
    set_pinned_memory_allocator,
    using_allocator,
)  # fmt: skip
from cupy.cuda import device, graph, nvrtc, runtime, stream
from cupy.cuda.device import Device
from cupy.cuda.graph import Graph
from cupy.cuda.stream import Event, Stream, get_current_stream, get_elapsed_time

__all__ = [
    "Device", "Event", "Graph", "Memory", "MemoryPointer", "MemoryPool", "Stream", "UnownedMemory", "alloc",
    "alloc_pinned_memory", "device",
    "get_allocator", "get_current_stream", "get_device_id", "get_elapsed_time", "get_local_runtime_version", "graph",
    "is_available", "nvrtc", "runtime", "set_allocator",
    "set_pinned_memory_allocator", "stream", "using_allocator",
]  # fmt: skip


def get_device_id():
    return _machine.current


def is_available():
    return _machine.fails is None and _machine.devices > 0


def get_local_runtime_version():
    return 13000
