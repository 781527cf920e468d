"""What a hot path's rows have found on a GPU, as JSON and as a table."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from nlp_kernels.dispatch import ON_GPU

from benchmarks.command import versions
from benchmarks.compare import save
from benchmarks.gpu.peers import PEERS
from benchmarks.gpu.verdicts import fastest, near_the_floor
from benchmarks.tables import cell, digits

OURS = (*ON_GPU, "reference")


@dataclass
class Found:
    """Rows by label and candidate, what each row moves and does, the verdicts on its bars, and what there is not."""

    rows: dict[str, dict[str, dict]] = field(default_factory=dict)
    works: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdicts: list[dict] = field(default_factory=list)
    missing: dict[str, dict[str, str]] = field(default_factory=dict)  # candidate -> reason -> the first such row
    failures: dict[str, str] = field(default_factory=dict)

    def left_out(self, label: str, who: str, error: object) -> None:
        """Keep the reason, and say it the first time."""
        reason = _first_line(error)
        if reason not in self.missing.setdefault(who, {}):
            self.missing[who][reason] = label
            print(f"{label}: without {PEERS.get(who, who)}: {reason}", flush=True)

    def failed(self, label: str, error: Exception) -> None:
        self.failures[label] = _first_line(error)
        print(f"{label}: FAILED: {self.failures[label]}", flush=True)

    def data(self, name: str, roofs: dict[str, float], dtype: str, complete: bool = True) -> dict[str, Any]:
        """All of it, with what it was measured on and with."""
        runtime = import_module("cupy").cuda.runtime
        card = runtime.getDeviceProperties(0)
        return {
            "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
            "processor": card["name"].decode(),
            "cache_bytes": card["l2CacheSize"],
            "versions": versions() | {"driver": _version(runtime.driverGetVersion())},
            "dtype": dtype,
            "roofs": roofs,
            "works": self.works,
            "verdicts": self.verdicts,
            "missing": self.missing,
            "failures": self.failures,
            "complete": complete,
            "rows": self.rows,
        }

    def save(self, name: str, roofs: dict[str, float], dtype: str, complete: bool) -> Path:
        """Written after every row: a run that is cut off keeps what it has."""
        data = self.data(name, roofs, dtype, complete)
        name += "" if dtype == "float32" else f"-{dtype}"
        return save(name, data.pop("rows"), device="cuda", **data)


def lines(data: dict) -> list[tuple[str, ...]]:
    """The header first: work, ours, what it reaches, the host's time, the peers, the reference."""
    names = [who for who in (*PEERS, *OURS) if any(who in row for row in data["rows"].values())]
    ours = next((next(iter(row)) for row in data["rows"].values()), "")
    others = [who for who in names if who != ours]
    table = [("work", ours, "GB/s", "of the ceiling", "host", *(PEERS.get(who, who) for who in others))]
    for label, row in data["rows"].items():
        reached, share = _reached(row, data["works"][label], ours)
        host = f"{digits(row[ours]['host_us'])} µs" + ("" if row[ours]["ahead"] else " *")
        cells = [_ranked(row, who, ours) for who in others]
        table.append((label, cell(row, ours, ours), reached, share, host, *cells))
    return table


def caption(data: dict) -> str:
    """What the numbers are, and how they were made."""
    text = (
        f"{data['dtype']}, device time of a call: median (quartiles); ×: how many times as fast ours, the first, is; "
        "≈: the quartiles overlap, no ranking; †: less than three empty launches; "
        "*: the host was not ahead of the card."
    )
    if roofs := data["roofs"]:
        text += (
            f" Ceilings at 2 GiB: copy {digits(roofs['copy_gb_per_s'])} GB/s, read {digits(roofs['read_gb_per_s'])} "
            f"GB/s, multiply-adds {digits(roofs['fma_gflop_per_s'])} GFLOP/s; of the ceiling: against a copy (read) of "
            "as many bytes in the same rounds."
        )
    empty = [row["empty"]["median_us"] for row in data["rows"].values() if "empty" in row]
    text += f" An empty launch: {digits(statistics.median(empty))} µs." if empty else ""
    for who, reasons in data["missing"].items():
        text += "".join(f" Without {PEERS.get(who, who)} ({label} first): {why}." for why, label in reasons.items())
    for label, why in data["failures"].items():
        text += f" FAILED: {label}: {why}."
    text += "" if data["complete"] else " The run was cut off."
    found = ", ".join(f"{PEERS.get(name, name)} {version}" for name, version in data["versions"].items())
    return f"{text} {data['processor']}; {found}."


def _reached(row: dict[str, dict], work: dict, ours: str) -> tuple[str, str]:
    """GB/s, marked where they say little, and the share of the ceiling."""
    medians = {who: r["median_us"] for who, r in row.items()}
    mark = " †" if near_the_floor(medians, ours) else ""
    ceiling = fastest(medians, work["ceiling"])
    share = f"{medians[ceiling] / medians[ours]:.0%} of {work['ceiling']}" if ceiling else ""
    return f"{digits(work['bytes'] / medians[ours] / 1e3)}{mark}", share


def _ranked(row: dict[str, dict], who: str, ours: str) -> str:
    """A peer's time and the ratio to it, but none where the quartiles overlap."""
    if who not in row:
        return ""
    mine, theirs = row[ours], row[who]
    overlap = mine["low_us"] <= theirs["high_us"] and theirs["low_us"] <= mine["high_us"]
    return cell(row, who, ours) + (" ≈" if overlap else "")


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0] or repr(error)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
