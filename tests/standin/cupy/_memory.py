"""Device memory: pools that hand freed blocks out again, as CuPy's do, last freed first."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
from cupy._machine import machine

ALIGNMENT, GARBAGE = 512, 0xFF  # memory that nobody has written reads as NaN or -1


_blocks: dict[int, Block] = {}  # by address; a weak reference is gone before a `__del__` rescues one
_released: dict[tuple[int, int], list[Block]] = {}  # what pools gave back to the driver, by size and device


class Block:
    """Memory of the host that plays memory of a device."""

    def __init__(self, size: int):
        raw = np.full(size + ALIGNMENT, GARBAGE, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self.bytes, self.size = raw[start : start + size], size
        self.ptr, self.device_id = self.bytes.ctypes.data, machine.current
        self.key: tuple = ()  # under which its pool keeps it


def release(block: Block) -> None:
    """Free it for good: whoever still reads it reads garbage, and the next pool that asks for this size gets it."""
    if not sys.is_finalizing():
        block.bytes[:] = GARBAGE
        _released.setdefault((block.size, block.device_id), []).append(block)


def bytes_from(address: int) -> np.ndarray:
    """The device memory from an address to the end of its block."""
    for block in _blocks.values():
        if block.ptr <= address < block.ptr + block.size:
            return block.bytes[address - block.ptr :]
    raise ValueError(f"no device memory at {address:#x}")


class Memory:
    """A block, until nothing refers to it any more: then it is its pool's again."""

    def __init__(self, block: Block, pool: MemoryPool | None):
        self.block, self.pool = block, pool and weakref.ref(pool)
        self.ptr, self.size, self.device_id = block.ptr, block.size, block.device_id

    def __del__(self) -> None:
        pool = self.pool and self.pool()
        if pool is not None:
            pool.take_back(self.block)
        else:
            release(self.block)


class UnownedMemory:
    """Memory of somebody else, as of an array that came by DLPack."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = 0):
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class MemoryPointer:
    def __init__(self, mem: Memory | UnownedMemory, offset: int):
        self.mem, self.offset = mem, offset
        self.ptr, self.device_id = mem.ptr + offset, mem.device_id

    @property
    def device(self):
        from cupy.cuda.device import Device

        return Device(self.device_id)

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.offset + offset)

    def __int__(self) -> int:
        return self.ptr


class MemoryPool:
    """Freed blocks by size, device and stream; `malloc` takes the last freed, or new memory."""

    def __init__(self, allocator: Callable | None = None):
        self.idle: dict[tuple, list[Block]] = {}
        self.taken = self.made = 0

    def malloc(self, size: int) -> MemoryPointer:
        machine.check()
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        blocks = self.idle.get(self._key(size))
        if blocks:
            block = blocks.pop()
        else:
            released = _released.get((size, machine.current))
            block, self.made = released.pop() if released else Block(size), self.made + size
            block.key = self._key(size)
        _blocks[block.ptr] = block
        self.taken += size
        return MemoryPointer(Memory(block, self), 0)

    def take_back(self, block: Block) -> None:
        self.taken -= block.size
        self.idle.setdefault(block.key, []).append(block)

    def _key(self, size: int) -> tuple:
        return size, machine.current, machine.streams[-1].ptr if machine.streams else 0

    def used_bytes(self) -> int:
        return self.taken

    def free_bytes(self) -> int:
        return self.made - self.taken

    def total_bytes(self) -> int:
        return self.made

    def free_all_blocks(self, stream: object = None) -> None:
        for block in (b for blocks in self.idle.values() for b in blocks):
            release(block)
        self.made = self.taken
        self.idle.clear()

    def __del__(self) -> None:
        if np is not None and not sys.is_finalizing():
            self.free_all_blocks()


default_pool = MemoryPool()


def forget() -> None:
    """Return to the host what no array has."""
    default_pool.idle.clear()
    _released.clear()
    _blocks.clear()


_chosen = threading.local()


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_chosen, "allocator", default_pool.malloc)


def alloc(size: int) -> MemoryPointer:
    return get_allocator()(size)


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    _chosen.allocator = allocator or default_pool.malloc


def alloc_pinned_memory(size: int) -> None:
    """Where numbers of the host wait to be sent; only that it is asked for matters here."""
    _pinned[0](size)


def set_pinned_memory_allocator(allocator: Callable | None = None) -> None:
    _pinned[0] = allocator or PinnedMemoryPool().malloc


class PinnedMemoryPool:
    def malloc(self, size: int) -> None:
        pass


_pinned = [PinnedMemoryPool().malloc]


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before = get_allocator()
    set_allocator(allocator)
    try:
        yield
    finally:
        set_allocator(before)
