"""The card's roofs: bytes copied and read a second, multiply-adds a second."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.gpu import ceilings
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.verdicts import COPIES

BYTES = 1 << 30  # read, and as many written: far more than a cache holds


def roofs(clock: Clock, take: Callable[[int], Any], memory: int, windows: int = 7, turns: int = 1 << 12) -> dict:
    """GB/s of the fastest copy (read plus written) and of reading, GFLOP/s of multiply-adds; medians."""
    nbytes = 2 * min(BYTES, memory // 8)

    def seconds(calls: list[Callable[[], Any]]) -> float:
        clock.window(calls, 1e-4)
        return statistics.median(clock.window(calls, 1e-4).device_s for _ in range(windows))

    times = {who: seconds(calls) for who, calls in ceilings.calls(take, nbytes, 1, "read").items()}
    y = take(clock.processors * 2048 * 4)
    arithmetic = seconds([lambda: ceilings.multiply_adds(y, turns)])
    return {
        "copy_gb_per_s": nbytes / min(times[who] for who in COPIES) / 1e9,
        "read_gb_per_s": nbytes / times["read"] / 1e9,
        "fma_gflop_per_s": ceilings.multiply_adds(y, turns) / arithmetic / 1e9,
    }
