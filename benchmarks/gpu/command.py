"""All hot paths with CUDA kernels on an NVIDIA GPU, each in a process of its own, then the card's page.

python -m benchmarks --device cuda                      in ten minutes; benchmarks/results/<card>/
python -m benchmarks --device cuda softmax adamw        these alone
python -m benchmarks --device cuda --quick              tiny shapes, to see that all of it runs; nothing is saved

Longer and shorter: --minutes. A run that is cut off keeps what it has measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from nlp_kernels import dispatch
from rich.console import Console

from benchmarks import compare
from benchmarks.command import show
from benchmarks.gpu import device, passes, report

GRACE_S = 60  # past its time a process is ended


def hot_paths() -> tuple[str, ...]:
    """Those that have CUDA kernels and something to measure."""
    return tuple(name for name in passes.known() if "cuda" in dispatch.backends(name))


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=form)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(hot_paths())}")
    options.add_argument("--device", choices=("cuda",), required=True)
    options.add_argument("--minutes", type=float, default=10.0, help="of all together (default 10)")
    options.add_argument("--dtype", choices=passes.DTYPES, help="(default: float32, and bfloat16 where it is measured)")
    options.add_argument("--quick", action="store_true")
    return options


def main(argv: list[str] | None = None) -> None:
    """Run them; exits with 1 where one of them failed."""
    options = parser()
    args = options.parse_args(argv)
    if unknown := set(args.names) - set(hot_paths()):
        options.error(f"no CUDA kernels are measured of {', '.join(unknown)}; there are {', '.join(hot_paths())}")
    if args.dtype == "bfloat16" and (without := [n for n in args.names if "bfloat16" not in passes.dtypes(n)]):
        options.error(f"{', '.join(without)} is not measured in bfloat16")
    device.needed(options)
    names = args.names or [n for n in hot_paths() if args.dtype != "bfloat16" or "bfloat16" in passes.dtypes(n)]
    failed = _run(names, args)
    if not args.quick:
        folder = compare.RESULTS / compare.machine("cuda")
        table = report.bars(report.measured(folder))
        show(f"bars, {folder.name}", "", table)
        Console().print(*report.write(folder))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(names: list[str], args: argparse.Namespace) -> list[str]:
    """Each in each dtype in its process, with a share of the time that goes by its rows; those that failed."""
    start, failed = time.perf_counter(), []
    jobs = [(name, dtype) for name in names for dtype in ([args.dtype] if args.dtype else passes.dtypes(name))]
    rows = [passes.subject(*job).rows for job in jobs]
    for i, (name, dtype) in enumerate(jobs):
        spent = time.perf_counter() - start
        minutes = max(60 * args.minutes - spent, 0.0) / 60 * rows[i] / sum(rows[i:])
        options = ["--device", "cuda", "--dtype", dtype, "--minutes", f"{minutes:.2f}"]
        print(f"{spent:5.0f} s: {name}, {dtype}, {minutes:.1f} minutes", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options, *(["--quick"] if args.quick else [])]
        try:
            subprocess.run(command, check=True, timeout=None if args.quick else 60 * minutes + GRACE_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            failed.append(f"{name} in {dtype}")
    print(f"{time.perf_counter() - start:5.0f} s: done")
    return failed


if __name__ == "__main__":
    main()
