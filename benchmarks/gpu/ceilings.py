"""What the card can do at most, measured beside the kernels: launchers of ceilings.cu, and CuPy's own copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from nlp_kernels.common.cuda import Source
from nlp_kernels.common.gpu import blocks

THREADS, FLIGHT, CHAINS = 512, 4, 8

COPIED, SUMMED, MULTIPLIED = (
    f"copied<T, {THREADS}, {FLIGHT}>",
    f"summed<T, {THREADS}, {FLIGHT}>",
    f"multiplied<T, {CHAINS}>",
)
SOURCE = Source(__file__, COPIED, SUMMED, MULTIPLIED, "nothing", "held_up")


def grid(x: Any, *, persistent: bool) -> int:
    """A block for each tile, or as many as the card runs at once."""
    tiles = max(-(-x.nbytes // (16 * THREADS * FLIGHT)), 1)
    return blocks(x, tiles, 2048 // THREADS) if persistent else tiles


def copy_to(y: Any, x: Any, of_blocks: int) -> None:
    """y ← x, both (n,), n a multiple of 16 bytes."""
    SOURCE.kernel(COPIED, x)((of_blocks,), (THREADS,), (y, x, np.int64(x.size)))


def sums(x: Any, out: Any) -> None:
    """The sums of the parts of x (n,) that each block reads; as many blocks as out has entries."""
    SOURCE.kernel(SUMMED, x)((out.size,), (THREADS,), (out, x, np.int64(x.size)))


def multiply_adds(y: Any, turns: int, threads: int = 256) -> int:
    """FLOPs of the launch: 2 CHAINS `turns` for each entry of y (n,), n a multiple of `threads`."""
    one = y.dtype.type(1)
    SOURCE.kernel(MULTIPLIED, y)((y.size // threads,), (threads,), (y, one, one, np.int32(turns)))
    return 2 * CHAINS * turns * y.size


def nothing(x: Any) -> Callable[[], None]:
    """A launch of no work, for arrays like x."""
    kernel = SOURCE.kernel("nothing", x)
    return lambda: kernel((1,), (32,), ())


def hold_up(x: Any, turns: int, out: Any) -> None:
    """Keep the card busy for so many steps; out: (1,) uint32."""
    SOURCE.kernel("held_up", x)((1,), (1,), (out, np.int64(turns)))


def calls(take: Callable[[int], Any], nbytes: int, n: int, ceiling: str) -> dict[str, list[Callable[[], Any]]]:
    """What a row is held against, by name, n calls each: copies of as many bytes as it moves, reads, no work.

    take(m) gives m numbers of the device that no other call has; what is copied to is what `read` reads as well.
    """
    cupy, item = import_module("cupy"), take(4).itemsize
    half = max(nbytes // 32, 1) * (16 // item)
    wholes = [take(2 * half) for _ in range(n)]
    pairs = [(whole[:half], whole[half:]) for whole in wholes]
    tiles, resident = (grid(pairs[0][1], persistent=persistent) for persistent in (False, True))
    found: dict[str, list[Callable[[], Any]]] = {
        "copy": [partial(copy_to, y, x, tiles) for y, x in pairs],
        "copy_persistent": [partial(copy_to, y, x, resident) for y, x in pairs],
        "copyto": [partial(cupy.copyto, y, x) for y, x in pairs],
    }
    if ceiling == "read":
        parts = cupy.empty(grid(wholes[0], persistent=True), wholes[0].dtype)
        found["read"] = [partial(sums, whole, parts) for whole in wholes]
    return found | {"empty": [nothing(wholes[0])] * n}
