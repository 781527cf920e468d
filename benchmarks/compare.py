"""Timing of several candidates for one piece of work, interleaved, so that a noisy machine is noisy for all.

Every library keeps a pool of threads, whose workers spin for a while after their work is done and slow down whoever
runs next. So a candidate first runs untimed, until the others' workers are asleep and caches, pages and pools are its
own; then it is timed once. A run during which the system took a core away is set aside.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WARM = 0.03  # seconds; OpenBLAS's and OpenMP's workers spin for less
FEWEST = 5  # runs; as many must be left where some are set aside


@dataclass(frozen=True)
class Candidate:
    run: Callable[[], Any]
    setting: Callable[[], AbstractContextManager] = nullcontext  # entered outside of the clock
    compile_s: float | None = None  # what was spent before the first run, if anything


@dataclass(frozen=True)
class Times:
    seconds: list[float]  # of the runs that count
    set_aside: int = 0  # runs that were preempted


def interleaved(
    candidates: Mapping[str, Candidate],
    *,
    seconds: float = 8.0,
    fewest: int = FEWEST,
    most: int = 100,
    warm: float = WARM,
    timed: Callable[[Callable[[], Any], float], tuple[float, bool]] | None = None,
) -> dict[str, Times]:
    """Times of each candidate; every round runs all of them, in an order that rotates.

    As many rounds as begin within so many seconds, at least `fewest` and at most `most`; `timed` is the clock.
    """
    timed = timed or _timed
    names = list(candidates)
    runs: dict[str, list[tuple[float, bool]]] = {name: [] for name in names}
    start = time.perf_counter()
    for i in range(most):
        if i >= fewest and time.perf_counter() - start > seconds:
            break
        for name in names[i % len(names) :] + names[: i % len(names)]:
            with candidates[name].setting():
                runs[name].append(timed(candidates[name].run, warm))
    return {name: clean(of_it) for name, of_it in runs.items()}


def clean(runs: list[tuple[float, bool]]) -> Times:
    """Without the preempted runs, (seconds, True), where enough others are left."""
    kept = [seconds for seconds, preempted in runs if not preempted]
    if len(kept) < FEWEST:
        return Times([seconds for seconds, _ in runs])
    return Times(kept, len(runs) - len(kept))


def summary(times: Times, *, per: float = 1.0) -> dict[str, float]:
    """Median and quartiles in microseconds per unit of work, and how many runs they are of."""
    scaled = sorted(s / per * 1e6 for s in times.seconds)
    return {
        "median_us": statistics.median(scaled),
        "low_us": scaled[len(scaled) // 4],
        "high_us": scaled[3 * len(scaled) // 4],
        "runs": len(scaled),
        "set_aside": times.set_aside,
    }


def processor() -> str:
    """The model's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(device: str = "cpu") -> str:
    """A short name of the processor and the number of cores, or of the GPU: results are kept apart by it."""
    if device == "cuda":
        gpu = import_module("cupy").cuda.runtime.getDeviceProperties(0)["name"].decode()
        return "-".join(re.findall(r"[\w.]+", gpu)).lower()
    words = processor().replace("(R)", " ").replace("(TM)", " ").split()
    words = [w for w in words if w not in ("CPU", "@", "Processor")]
    return "-".join([*words[:4], f"{os.cpu_count()}cores"]).lower()


def save(name: str, rows: dict, *, device: str = "cpu", **facts: object) -> Path:
    """Write `benchmarks/results/<machine>/<name>.json`."""
    path = RESULTS / machine(device) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(device), **facts, "rows": rows}, indent=1) + "\n")
    return path


def _timed(run: Callable[[], Any], warm: float) -> tuple[float, bool]:
    """(seconds of a run, whether a core was taken away during it), after untimed runs of `warm` seconds together."""
    ready = time.perf_counter() + warm
    while warm:
        run()
        if time.perf_counter() >= ready:
            break
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = time.perf_counter()
    run()
    elapsed = time.perf_counter() - start
    return elapsed, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > before
