"""One hot path: all its backends and PyTorch eager. First they must agree, then they are timed, interleaved.

Threads: one by default, for NumPy's BLAS, our kernels and PyTorch alike. With more of them every library keeps a pool
of its own, whose workers spin for a while after their work is done and slow down whoever runs next: then everything
rests before each run, so that the others' workers are asleep.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from nlp_kernels import dispatch
from nlp_kernels.errors import BackendError
from rich.console import Console
from rich.table import Table

import tinygrad_nlp as tn
from benchmarks.compare import interleaved, machine, save, speed, spread

SECONDS, FEWEST, MOST = 5.0, 5, 100  # rounds of one piece of work: as many as fit into so many seconds, within bounds
RATES = {"gb_per_s": "GB/s", "gflop_per_s": "GFLOP/s"}
REST = 0.05  # seconds; OpenBLAS's and OpenMP's workers spin for less


@dataclass(frozen=True)
class Work:
    """Inputs and cotangents of one shape; the bytes it must move, or the FLOPs where arithmetic is the bound."""

    label: str
    arrays: dict[str, np.ndarray]
    terms: int  # of its longest sum: n terms round to about √n ulp
    hyper: dict[str, Any] = field(default_factory=dict)
    bytes: int | None = None
    flops: int | None = None


@dataclass(frozen=True)
class Benchmark:
    """`ours(**arrays, **hyper)` and `eager(torch, **arrays, **hyper)` give the same results by name."""

    hot_path: str
    ours: Callable[..., dict[str, Any]]
    eager: Callable[..., dict[str, Any]]
    work: Callable[..., Work]  # work(rng, dtype, *size)
    sizes: tuple[tuple, ...]
    quick: tuple[tuple, ...]  # tiny sizes, for the tests
    differentiable: tuple[str, ...] = ()  # arrays that PyTorch shall record


@dataclass(frozen=True)
class Candidate:
    run: Callable[[], dict[str, Any]]
    setting: Callable[[], AbstractContextManager] = nullcontext  # entered outside of the clock


def main(benchmark: Benchmark, argv: list[str] | None = None) -> dict[str, dict]:
    """Rows by label of the work and name of the backend, shown, and saved unless only a part was measured."""
    args = _arguments(benchmark, argv)
    _limit_threads(args.threads)
    rng, rows = np.random.default_rng(0), {}
    for size in benchmark.quick if args.quick else benchmark.sizes:
        work = benchmark.work(rng, np.dtype(args.dtype), *size)
        rows[work.label] = _measured(work, agreeing(benchmark, work, args), args)
    facts = {"dtype": args.dtype, "threads": args.threads, "versions": _versions()}
    _show(f"{benchmark.hot_path}, {args.dtype}, {args.device}, threads: {args.threads}, {machine(args.device)}", rows)
    if not args.quick and not args.backend:
        usual = args.dtype == "float32" and args.threads == 1
        name = benchmark.hot_path + ("" if usual else f"-{args.dtype}-{args.threads}threads")
        print("saved:", save(name, rows, device=args.device, **facts))
    return rows


def agreeing(benchmark: Benchmark, work: Work, args: argparse.Namespace) -> dict[str, Candidate]:
    """The candidates by name; AssertionError where values or gradients differ from the reference's."""
    candidates: dict[str, Candidate] = {}
    force = partial(dispatch.use_backend, hot_path=benchmark.hot_path)
    with force("reference"):
        right = {name: _numpy(x) for name, x in _ours(benchmark, work, args.device)().items()}
    for name in args.backend or dispatch.backends(benchmark.hot_path):
        candidate = Candidate(_ours(benchmark, work, args.device), partial(force, name))
        try:
            _assert_agreement(f"{benchmark.hot_path} {work.label}, backend {name!r}", candidate, right, work.terms)
        except BackendError as error:  # never forced in silence: said, or raised where it was asked for
            if args.backend:
                raise SystemExit(str(error)) from None
            print(error)
        else:
            candidates[name] = candidate
    for name, candidate in _peers(benchmark, work, args.device):
        _assert_agreement(f"{benchmark.hot_path} {work.label}, {name}", candidate, right, work.terms)
        candidates[name] = candidate
    return candidates


def _assert_agreement(who: str, candidate: Candidate, right: dict[str, np.ndarray], terms: int) -> None:
    """|x - x_reference| <= 4 √n ε max |x_reference|, ε one ulp of 1, n the terms of the work's longest sum."""
    with candidate.setting():
        results = candidate.run()
    if results.keys() != right.keys():
        raise AssertionError(f"{who} gives {', '.join(results)}, expected {', '.join(right)}")
    for name, expected in right.items():
        x = _numpy(results[name])
        if (x.shape, x.dtype) != (expected.shape, expected.dtype):
            raise AssertionError(f"{who}: {name} is {x.dtype}{x.shape}, expected {expected.dtype}{expected.shape}")
        error = np.max(np.abs(x - expected), initial=0.0)
        allowed = 4 * math.sqrt(terms) * np.finfo(x.dtype).eps * np.max(np.abs(expected), initial=0.0)
        if not error <= allowed:  # NaN too
            raise AssertionError(
                f"{who}: {name} is off by {error:.3g}, more than {allowed:.3g}, 4 √{terms} roundings of {x.dtype}"
            )


def _ours(benchmark: Benchmark, work: Work, device: str) -> Callable[[], dict[str, Any]]:
    """The work on copies of its arrays: a step in place stays its own, and no candidate warms another's cache."""
    if device == "cpu":
        return partial(benchmark.ours, **{k: x.copy() for k, x in work.arrays.items()}, **work.hyper)
    cupy = import_module("cupy")
    arrays = {k: cupy.asarray(x) for k, x in work.arrays.items()}
    return _finished(partial(benchmark.ours, **arrays, **work.hyper))


def _peers(benchmark: Benchmark, work: Work, device: str) -> Iterator[tuple[str, Candidate]]:
    """PyTorch eager, where it is installed and has the device."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: no peer")
        return
    if device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no GPU: no peer")
        return
    arrays = {k: torch.from_numpy(x.copy()).to(device) for k, x in work.arrays.items()}
    for name in benchmark.differentiable:
        arrays[name].requires_grad_()
    run = partial(benchmark.eager, torch, **arrays, **work.hyper)
    yield "torch", Candidate(run if device == "cpu" else _finished(run))


def _finished(run: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """A run that ends when the GPU has finished, not when it has been told what to do."""
    synchronize = import_module("cupy").cuda.Device().synchronize

    def run_and_wait() -> dict[str, Any]:
        results = run()
        synchronize()
        return results

    return run_and_wait


def _measured(work: Work, candidates: dict[str, Candidate], args: argparse.Namespace) -> dict[str, dict]:
    """Median and quartiles in µs, bytes or FLOPs per second at the median, speed relative to each other candidate."""
    runs = {name: candidate.run for name, candidate in candidates.items()}
    measure = partial(
        interleaved, runs, setting=lambda name: candidates[name].setting(), rest=REST if args.threads > 1 else 0.0
    )
    rounds = 2 if args.quick else args.rounds
    if rounds is None:
        round_takes = sum(seconds[0] for seconds in measure(rounds=1, warmup=0).values())
        rounds = int(min(max(SECONDS / round_takes, FEWEST), MOST))
    times = measure(rounds=rounds, warmup=0)  # all have run before, to agree
    rows: dict[str, dict] = {}
    for name, seconds in times.items():
        row: dict[str, Any] = {**spread(seconds), "rounds": rounds}
        for rate, count in zip(RATES, (work.bytes, work.flops), strict=True):
            if count is not None:
                row[rate] = count / row["median_us"] / 1e3
        rows[name] = row | {"speed": {peer: speed(times, name, peer) for peer in times if peer != name}}
    return rows


def table(rows: dict[str, dict]) -> list[tuple[str, ...]]:
    """The rows as text, the header first; the README shows the same."""
    peers = [peer for peer in ("reference", "torch") if any(peer in backends for backends in rows.values())]
    lines = [("work", "backend", "median (quartiles)", "rate", *(f"speed ÷ {peer}" for peer in peers))]
    for label, backends in rows.items():
        for name, row in backends.items():
            unit, scale = ("ms", 1e3) if row["median_us"] >= 1e3 else ("µs", 1.0)
            median, low, high = (_digits(row[key] / scale) for key in ("median_us", "low_us", "high_us"))
            rate = next(f"{_digits(row[key])} {of}" for key, of in RATES.items() if key in row)
            speeds = (f"{row['speed'][peer]:.2f}×" if peer in row["speed"] else "" for peer in peers)
            lines.append((label, name, f"{median} {unit} ({low} – {high})", rate, *speeds))
    return lines


def _show(title: str, rows: dict[str, dict]) -> None:
    header, *lines = table(rows)
    view = Table(title=title, caption="speed: how many times as fast as the reference, as PyTorch eager")
    for column in header:
        view.add_column(column, justify="left" if column in ("work", "backend") else "right")
    for line in lines:
        view.add_row(*line)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(view)


def _digits(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def _arguments(benchmark: Benchmark, argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.hot_path}", description=__doc__)
    known = dispatch.backends(benchmark.hot_path)
    parser.add_argument("--backend", nargs="+", choices=known, help="only these backends and PyTorch; nothing is saved")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda needs CuPy")
    parser.add_argument("--threads", type=int, default=1, help="of NumPy's BLAS, our kernels and PyTorch (default 1)")
    parser.add_argument("--rounds", type=int, help=f"default: as many as take {SECONDS:g} s, {FEWEST} to {MOST}")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, two rounds, nothing is saved")
    args = parser.parse_args(argv)
    if args.threads < 1 or (args.rounds is not None and args.rounds < 1):
        parser.error("--threads and --rounds are at least 1")
    if args.device == "cuda":
        try:
            import_module("cupy")
        except ImportError:
            parser.error("--device cuda needs CuPy: install the extra cuda12 or cuda13")
    return args


def _limit_threads(n: int) -> None:
    """PyTorch's threads are its own; `set_num_threads` limits the BLAS and OpenMP libraries that are loaded by then."""
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(n)
    tn.set_num_threads(n)


def _versions() -> dict[str, str]:
    return {name: sys.modules[name].__version__ for name in ("numpy", "cupy", "torch") if sys.modules.get(name)}


def _numpy(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    return x.get() if hasattr(x, "get") else np.asarray(x)
