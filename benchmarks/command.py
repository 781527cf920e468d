"""The command line that all benchmarks share: measure the cases, show them, save them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.compare import Candidate, interleaved, machine, processor, save, summary
from benchmarks.libraries import PEERS, set_threads
from benchmarks.roof import roofs
from benchmarks.tables import caption, lines

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Case:
    """One piece of work and those who do it, who have agreed."""

    label: str
    candidates: dict[str, Candidate]
    counts: dict[str, int] = field(default_factory=dict)  # bytes, FLOPs, tokens, … of one run
    per: int = 1  # units that times are given for
    bars: dict[str, float] = field(default_factory=dict)  # peer, or "best", -> times as fast


def parser(
    name: str,
    about: str | None,
    *,
    threads: int = CORES,
    peers: tuple[str, ...] = tuple(PEERS),
    parents: Sequence[argparse.ArgumentParser] = (),
) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    options = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about, parents=parents)
    options.add_argument("--threads", type=_positive, default=threads, help=f"of everybody (default {threads})")
    options.set_defaults(usual_threads=threads, known_peers=peers)
    options.add_argument("--peers", nargs="*", choices=peers, help="default: all, but torch.compile if --quick")
    options.add_argument("--rounds", type=_positive, help="default: as many as take 8 seconds (--bars: 2), 5 to 100")
    options.add_argument("--quick", action="store_true", help="tiny shapes, two rounds, nothing is saved")
    options.add_argument("--bars", type=Path, metavar="FILE", help="write the medians of the rows with a bar, alone")
    return options


def device_option() -> argparse.ArgumentParser:
    """--device alone, for a first look: a GPU's benchmarks have options of their own."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="--device cuda --help: its options")
    return where


def run(
    name: str, cases: Callable[[argparse.Namespace], Iterator[Case]], args: argparse.Namespace, **facts: object
) -> dict[str, dict]:
    """Measure all cases. Rows by label of the work and name of the candidate, shown, and saved if complete."""
    everyone = args.peers is None
    slow = {"compile"} if args.quick else {"jax"} if args.bars else set()
    args.peers = tuple(peer for peer in args.known_peers if peer not in slow) if everyone else tuple(args.peers)
    set_threads(args.threads, args.peers)
    dtype = getattr(args, "dtype", "float32")
    bounds = {"fewest": args.rounds, "most": args.rounds} if args.rounds else {"seconds": 2.0 if args.bars else 8.0}
    bounds = {"fewest": 2, "most": 2, "warm": 0.0} if args.quick else bounds
    works, rows, bars = {}, {}, {}
    for case in cases(args):
        times = interleaved(case.candidates, **bounds)
        rows[case.label] = {who: summary(t, per=case.per) for who, t in times.items()}
        works[case.label], bars[case.label] = case.counts, case.bars
        for who, candidate in case.candidates.items():
            if candidate.compile_s is not None:
                rows[case.label][who]["compile_s"] = candidate.compile_s
    if args.bars:
        facts |= {"threads": args.threads, "versions": versions()}
        args.bars.write_text(json.dumps({**facts, "bars": bars, "rows": rows}))
        return rows
    facts |= {
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "processor": processor(),
        "threads": args.threads,
        "dtype": dtype,
        "versions": versions(),
        "roofs": {} if args.quick else roofs(args.threads, dtype),
        "works": works,
    }
    data = {**facts, "rows": rows}
    show(f"{name}, {machine()}", caption(data), lines(data))
    if not args.quick and everyone and not getattr(args, "backend", None):
        name += "" if dtype == "float32" else f"-{dtype}"
        name += "" if args.threads == args.usual_threads else f"-{args.threads}threads"
        print("saved:", save(name, rows, **facts))
    return rows


def show(title: str, about: str, table: list[tuple[str, ...]]) -> None:
    header, *body = table
    view = Table(title=title, caption=about)
    for i, column in enumerate(header):
        view.add_column(column, justify="right" if i else "left")
    for line in body:
        view.add_row(*line)
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(view)


def versions() -> dict[str, str]:
    found = {name: sys.modules.get(name) for name in ("numpy", "numba", "cupy", "torch", "triton", "jax")}
    return {"python": platform.python_version()} | {name: m.__version__ for name, m in found.items() if m}


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)
