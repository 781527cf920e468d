"""The bars: how many times as fast as PyTorch this library must be, judged by five processes for each benchmark.

python -m benchmarks.bars                   all; float32, all cores
python -m benchmarks.bars softmax gpt       these alone; the others' results stay

A process gives one ratio a row: of the medians of runs in turn. A bar is held when the median of the processes' ratios
lies above it, or within half their interquartile range below it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import hot_path
from benchmarks.compare import RESULTS, machine, processor, save
from benchmarks.libraries import PEERS
from benchmarks.tables import digits

NAMES = (*hot_path.NAMES, "gpt", "language_model", "tape")
PROCESSES = 5


def measured(name: str, options: list[str]) -> dict:
    """Medians of one process: {"bars": {work: {peer: bar}}, "rows": {work: {candidate: summary}}}."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bars.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--bars", str(file), *options]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return json.loads(file.read_text())


def ratio(row: dict[str, dict], peer: str) -> float | None:
    """How many times as fast as a peer we are; "best" is the fastest of those that ran. None where there is none."""
    peers = [row[who]["median_us"] for who in PEERS if who in row and peer in (who, "best")]
    return min(peers) / row["ours"]["median_us"] if peers else None


def judged(processes: list[dict]) -> list[dict]:
    """One verdict for each bar of a benchmark, from what its processes measured."""
    verdicts = []
    for work, bars in processes[0]["bars"].items():
        for peer, bar in bars.items():
            ratios = [r for p in processes if (r := ratio(p["rows"][work], peer)) is not None]
            if len(ratios) < len(processes):
                print(f"{work}: no {PEERS.get(peer, peer)} to compare with in every process")
                continue
            verdicts.append({"work": work, "peer": peer, "bar": bar, **verdict(ratios, bar)})
    return verdicts


def verdict(ratios: list[float], bar: float) -> dict:
    """Median, quartiles, and whether the bar is held."""
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    held = median >= bar - (high - low) / 2
    return {"median": median, "low": low, "high": high, "held": held, "ratios": ratios}


def table(rows: dict[str, list[dict]]) -> list[tuple[str, ...]]:
    """The header first; one line a bar."""
    lines = [("", "work", "against", "bar", "median of processes (quartiles)", "")]
    for name, verdicts in rows.items():
        for v in verdicts:
            against = "the better of both" if v["peer"] == "best" else PEERS[v["peer"]]
            speed = f"{v['median']:.2f}× ({v['low']:.2f} – {v['high']:.2f})"
            lines.append((name, v["work"], against, f"{digits(v['bar'])}×", speed, "held" if v["held"] else "not held"))
    return lines


def kept(processes: dict[str, list[dict]], n: int) -> None:
    """Write the verdicts of n processes for each benchmark beside those of the other benchmarks."""
    rows = {name: judged(results) for name, results in processes.items()}
    path = RESULTS / machine() / "bars.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else {}
    merged = {name: (before | rows)[name] for name in NAMES if name in before | rows}
    first = next(iter(processes.values()))[0]
    facts = {"command": "python -m benchmarks.bars", "processor": processor(), "processes": n}
    print("saved:", save("bars", merged, **facts, threads=first["threads"], versions=first["versions"]))


def main(argv: list[str] | None = None) -> dict[str, list[dict]]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    options.add_argument("--threads", type=int, help="of everybody; nothing is saved, the bars are for all cores")
    options.add_argument("--rounds", type=int, help="nothing is saved")
    options.add_argument("--processes", type=int, default=PROCESSES, help="nothing is saved unless there are five")
    args = options.parse_args(argv)
    if unknown := [name for name in args.names if name not in NAMES]:
        options.error(f"there is no {', '.join(unknown)}; there are {', '.join(NAMES)}")
    extra = [f"--{k}={v}" for k in ("threads", "rounds") if (v := getattr(args, k)) is not None]
    processes: dict[str, list[dict]] = {name: [] for name in args.names or NAMES}
    start = time.perf_counter()
    for i in range(args.processes):
        for name, results in processes.items():  # in turn, so that a slow minute is not all of one benchmark's
            print(f"{time.perf_counter() - start:5.0f} s: {name}, process {i + 1} of {args.processes}", flush=True)
            results.append(measured(name, extra))
        if not extra and args.processes == PROCESSES:  # each round: what was measured stays if the rest is cut off
            kept(processes, i + 1)
    rows = {name: judged(results) for name, results in processes.items()}
    view = Table(title=f"bars, {machine()}")
    header, *lines = table(rows)
    for column in header:
        view.add_column(column)
    for line in lines:
        view.add_row(*line)
    Console(width=150).print(view)
    return rows


if __name__ == "__main__":
    main()
