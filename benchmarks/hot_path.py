"""One hot path: all its backends and its peers. First they must agree, then they are timed, interleaved."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from nlp_kernels import dispatch
from nlp_kernels.errors import BackendError
from threadpoolctl import threadpool_limits

from benchmarks.agreement import assert_agreement, to_numpy
from benchmarks.command import Case, device_option, parser, run
from benchmarks.compare import Candidate
from benchmarks.libraries import PEERS, peer_candidates

PARTS = {"matmul": ("bias_gelu",)}  # what has a benchmark of its own within a hot path
NAMES = (*dispatch.HOT_PATHS, *(part for parts in PARTS.values() for part in parts))


@dataclass(frozen=True)
class Work:
    """Inputs and cotangents of one shape; the bytes it must move, the FLOPs it must do (an exponential is one)."""

    label: str
    arrays: dict[str, np.ndarray]
    terms: int  # of its longest sum: n terms round to about √n ulp
    bytes: int
    flops: int
    hyper: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """`ours(**arrays, **hyper)` gives values and gradients by name; the peers' forward functions take no cotangent."""

    hot_path: str
    ours: Callable[..., dict[str, Any]]
    torch: Callable[
        ..., Any
    ]  # torch(torch, **inputs, **hyper) -> output; all results by name if nothing is differentiated
    jax: Callable[..., Any]
    work: Callable[..., Work]  # work(rng, dtype, *size)
    sizes: tuple[tuple, ...]
    quick: tuple[tuple, ...]  # tiny sizes, for the tests
    bars: dict[tuple, dict[str, float]]  # how many times as fast as a peer, or as the "best", we must be on all cores
    output: str = ""
    differentiable: tuple[str, ...] = ()
    in_place: tuple[str, ...] = ()  # arrays that the work overwrites
    part: str = ""  # its module's name, where that is not the hot path's
    peers: tuple[str, ...] = tuple(PEERS)  # torch.compile is left out where it compiles for minutes

    @property
    def name(self) -> str:
        return self.part or self.hot_path

    def named(self, y: Any, gradients: Any) -> dict[str, Any]:
        return {self.output: y, **{f"d{k}": g for k, g in zip(self.differentiable, gradients, strict=True)}}


def main(benchmark: Benchmark, argv: list[str] | None = None) -> dict[str, dict]:
    """Rows by label of the work and name of the candidate, shown, and saved unless only a part was measured."""
    where = device_option()
    if where.parse_known_args(argv)[0].device == "cuda":
        return import_module("benchmarks.gpu.measure").main(benchmark.name, argv)
    options = parser(benchmark.name, __doc__, peers=benchmark.peers, parents=[where])
    known = dispatch.backends(benchmark.hot_path)
    options.add_argument("--backend", nargs="+", choices=known, help="only these and the peers; nothing is saved")
    options.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    return run(benchmark.name, partial(cases, benchmark), options.parse_args(argv))


def cases(benchmark: Benchmark, args: argparse.Namespace) -> Iterator[Case]:
    """The work of each size, its candidates agreeing."""
    sizes = benchmark.quick if args.quick else tuple(benchmark.bars) if args.bars else benchmark.sizes
    for size in sizes:
        work = benchmark.work(np.random.default_rng(0), np.dtype(args.dtype), *size)
        counts = {"bytes": work.bytes, "flops": work.flops}
        yield Case(work.label, agreeing(benchmark, work, args), counts, bars=benchmark.bars.get(size, {}))


def agreeing(benchmark: Benchmark, work: Work, args: argparse.Namespace) -> dict[str, Candidate]:
    """The candidates by name; AssertionError where values or gradients differ from the reference's."""
    candidates: dict[str, Candidate] = {}
    what = f"{benchmark.name} {work.label}"
    with forced(benchmark.hot_path, "reference", args.threads):
        right = {name: to_numpy(x) for name, x in _ours(benchmark, work)().items()}
    if args.bars:  # what a user gets
        candidates["ours"] = Candidate(_ours(benchmark, work))
        _assert(what, candidates["ours"], right, work.terms)
    for name in () if args.bars else args.backend or served(benchmark.hot_path):
        setting = partial(forced, benchmark.hot_path, name, args.threads)
        candidate = Candidate(_ours(benchmark, work), setting)
        try:
            _assert(f"{what}, backend {name!r}", candidate, right, work.terms)
        except BackendError as error:  # never forced in silence: said, or raised where it was asked for
            if args.backend:
                raise SystemExit(str(error)) from None
            print(error)
        else:
            seconds = None if args.quick else cold_compile_s(benchmark.hot_path, name, args.dtype)
            candidates[name] = Candidate(candidate.run, setting, seconds)
    for name, candidate in peer_candidates(benchmark, work, args.peers, cached=bool(args.bars)):
        _assert(f"{what}, {name}", candidate, right, work.terms)
        candidates[name] = candidate
    return candidates


def served(hot_path: str, device: str = "cpu") -> list[str]:
    """The backends that a device has: CUDA's kernels on a GPU alone, the others but the reference on the CPU alone."""
    names = dispatch.backends(hot_path)
    return [name for name in names if name == "reference" or (name in dispatch.ON_GPU) == (device == "cuda")]


def forced(hot_path: str, backend: str, threads: int) -> AbstractContextManager:
    """A backend alone; the references' products are NumPy's, whose BLAS our kernels otherwise keep on one thread."""
    stack = ExitStack()
    stack.enter_context(dispatch.use_backend(backend, hot_path))
    if backend == "reference":
        stack.enter_context(threadpool_limits(threads, user_api="blas"))
    return stack


@cache
def cold_compile_s(hot_path: str, backend: str, dtype: str) -> float | None:
    """Seconds to compile a backend's kernels where none is kept, in a process of its own; None where there are none."""
    if not (dispatch.ROOT / hot_path / f"{backend}.py").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _COMPILE, f"nlp_kernels.{hot_path}.{backend}", dtype]
        environment = {**os.environ, "TINYGRAD_NLP_CACHE": folder}
        root = Path(__file__).parents[1]
        seconds = subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, text=True).stdout
    return float(seconds) or None


_COMPILE = """
import sys, time
from importlib import import_module
import_module(sys.argv[1])
compiled = sys.modules.get("nlp_kernels.common.compiled")
start = time.perf_counter()
for kernel in compiled.KERNELS if compiled else ():
    kernel.compile(sys.argv[2])
print(time.perf_counter() - start if compiled else 0)
"""


def _assert(who: str, candidate: Candidate, right: dict[str, np.ndarray], terms: int) -> None:
    with candidate.setting():
        results = candidate.run()
    assert_agreement(who, results, right, terms)


def _ours(benchmark: Benchmark, work: Work) -> Callable[[], dict[str, Any]]:
    """The work on copies of its arrays: a step in place stays its own, and no candidate warms another's cache."""
    return partial(benchmark.ours, **{k: x.copy() for k, x in work.arrays.items()}, **work.hyper)
