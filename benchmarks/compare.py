"""Timing of several candidates for one piece of work, interleaved, so that a noisy machine is noisy for all."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warmup: int = 3,
    setting: Callable[[str], AbstractContextManager] = lambda name: nullcontext(),
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of each candidate, round by round; every round runs all of them, in an order that rotates.

    Outside of the clock, each run is preceded by `rest` seconds of sleep and happens within `setting(name)`.
    """
    names = list(candidates)
    times: dict[str, list[float]] = {name: [] for name in names}
    for i in range(warmup + rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            time.sleep(rest)
            with setting(name):
                start = time.perf_counter()
                candidates[name]()
                elapsed = time.perf_counter() - start
            if i >= warmup:
                times[name].append(elapsed)
    return times


def spread(seconds: list[float], *, per: float = 1.0) -> dict[str, float]:
    """Median and quartiles in microseconds per unit of work."""
    scaled = sorted(s / per * 1e6 for s in seconds)
    return {
        "median_us": statistics.median(scaled),
        "low_us": scaled[len(scaled) // 4],
        "high_us": scaled[3 * len(scaled) // 4],
    }


def speed(times: dict[str, list[float]], of: str, peer: str) -> float:
    """How many times as fast as its peer a candidate is: the median over the rounds."""
    return statistics.median(p / s for s, p in zip(times[of], times[peer], strict=True))


def summary(times: dict[str, list[float]], *, per: float = 1.0) -> dict[str, dict[str, float]]:
    """Median and quartiles in microseconds per unit of work, and our speed relative to each peer, round by round."""
    return {
        name: {**spread(seconds, per=per), "our_speed": speed(times, "ours", name)} for name, seconds in times.items()
    }


def machine(device: str = "cpu") -> str:
    """A short name of the processor and the number of cores, or of the GPU: results are kept apart by it."""
    if device == "cuda":
        gpu = import_module("cupy").cuda.runtime.getDeviceProperties(0)["name"]
        return gpu.decode().replace(" ", "-").lower()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    words = [w for w in model.replace("(R)", " ").replace("(TM)", " ").split() if w not in ("CPU", "@", "Processor")]
    return "-".join([*words[:4], f"{os.cpu_count()}cores"]).lower()


def save(name: str, rows: dict, *, device: str = "cpu", **facts: object) -> Path:
    """Write `benchmarks/results/<machine>/<name>.json`."""
    path = RESULTS / machine(device) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(device), **facts, "rows": rows}, indent=1) + "\n")
    return path


def show(title: str, rows: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a table: one line per piece of work and candidate."""
    table = Table(title=title)
    for column in ("work", "candidate", "median µs", "quartiles", "our speed"):
        table.add_column(column, justify="left" if column in ("work", "candidate") else "right")
    for work, candidates in rows.items():
        for name, r in candidates.items():
            spread = f"{r['low_us']:.2f} - {r['high_us']:.2f}"
            table.add_row(work, name, f"{r['median_us']:.2f}", spread, f"{r['our_speed']:.2f}×")
    Console().print(table)
