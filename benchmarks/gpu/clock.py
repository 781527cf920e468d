"""Time on the device by CUDA events: of a window of calls that find nothing of theirs in the cache, host aside.

    [read 2 × L2] [hold the card up] event [call, call, …] event

A window has each candidate's calls once, on arrays of their own. Before it the cache is filled with what nobody wants,
by reading: written lines would have to be written back within the window. Then the card is held up for as long as the
host needs to queue the calls, so that the events have nothing but the calls between them; where a call makes the host
wait (`.item()`, say) nothing can be queued ahead, and the time is that of card and host together.

All is on the legacy default stream, which is CuPy's and PyTorch's where nobody chooses another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.gpu import ceilings

LONGEST = 0.05  # seconds that the card is held up
WARM = 2  # windows before the first that counts: modules are loaded, pools are filled, clocks are up


@dataclass(frozen=True)
class Window:
    device_s: float
    host_s: float  # until the last call had been queued
    ahead: bool  # whether the card was still held up then


class Clock:
    """Events, an array that fills the cache, and a kernel that holds the card up; `idle` does without the two."""

    def __init__(self, take: Callable[[int], Any], *, idle: bool = False):
        self.cupy, self.idle = import_module("cupy"), idle
        card = self.cupy.cuda.runtime.getDeviceProperties(0)
        self.processors, self.memory = card["multiProcessorCount"], card["totalGlobalMem"]
        if not idle:
            self.filling = take(2 * card["l2CacheSize"] // 4)
            self.sums = self.cupy.empty(ceilings.grid(self.filling, persistent=True), self.filling.dtype)
            self.sink = self.cupy.empty(1, np.uint32)
            self._calibrate()

    def window(self, calls: list[Callable[[], Any]], hold_s: float) -> Window:
        """One window of these calls, behind a hold of so many seconds."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        if not self.idle:
            ceilings.sums(self.filling, self.sums)
            ceilings.hold_up(self.filling, int(hold_s * self.turns_a_second), self.sink)
        start.record()
        before = time.perf_counter()
        kept = [call() for call in calls]  # all results, so that each has memory of its own
        host_s = time.perf_counter() - before
        ahead = not start.done
        end.record()
        end.synchronize()
        del kept
        return Window(self.cupy.cuda.get_elapsed_time(start, end) / 1e3, host_s, ahead)

    def _calibrate(self, turns: int = 1 << 20) -> None:
        self.turns_a_second = 0.0
        for _ in range(2):  # the first loads the module
            held = self.window([lambda: ceilings.hold_up(self.filling, turns, self.sink)], 0.0)
        self.turns_a_second = turns / held.device_s


@dataclass
class Calls:
    """A candidate's calls of a window, and what its windows were like."""

    clock: Clock
    calls: list[Callable[[], Any]]
    windows: list[Window] = field(default_factory=list)
    hold_s: float = 0.0

    def warm_up(self) -> None:
        for _ in range(WARM):
            host_s = self.clock.window(self.calls, self.hold_s).host_s
            self.hold_s = min(1.5 * host_s + 20e-6, LONGEST)

    def seconds(self) -> float:
        """The device's time of one more window."""
        window = self.clock.window(self.calls, self.hold_s)
        self.windows.append(window)
        if not window.ahead:
            self.hold_s = min(2 * self.hold_s, LONGEST)
        return window.device_s

    def host(self) -> dict[str, Any]:
        """Microseconds that the host needs for a call, and whether it was ahead of the card in most windows."""
        host_s = statistics.median(w.host_s for w in self.windows)
        ahead = sum(w.ahead for w in self.windows)
        return {"host_us": host_s / len(self.calls) * 1e6, "ahead": 2 * ahead > len(self.windows)}
