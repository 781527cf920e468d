"""What is measured of a hot path on a GPU: its passes one by one, at these sizes, held to these bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nlp_kernels.dispatch import HOT_PATHS

from benchmarks.hot_path import Benchmark, Work

Call = Callable[[], dict[str, Any]]  # what is timed; gives values and gradients by name
# Of a peer, or of "cublas", how many times as fast we must be; of "copy" or "read" the share we must reach.
# "cuda/torch" is one for a backend that is not the first.
Bars = dict[str, float]

DTYPES = ("float32", "float64", "bfloat16")

LONG_ROWS = tuple(1 << k for k in range(8, 19))  # 256 … 262,144 columns
NUMBERS = 1 << 28  # of an array at most: rows of that many columns are fewer


def rows(C: int) -> int:
    return min(32768, NUMBERS // C)


def no_bars(*size: Any) -> Bars:
    return {}


@dataclass(frozen=True)
class Pass:
    """Forward, backward, or both in one: bind(**arrays, **hyper) does what comes before, and gives what is timed."""

    bind: Callable[..., Call]
    torch: str | Callable[..., Call]  # "forward", "backward" or "both" of the benchmark's function; else bind(torch, …)
    counts: Callable[[Work], tuple[int, int]]  # bytes that it must move, FLOPs
    bars: Callable[..., Bars] = no_bars  # bars(*size)
    ceiling: str = "copy"  # or "read", for what writes next to nothing
    triton: str = ""  # the function of benchmarks/peers/triton_kernels.py that binds
    compiled: bool = True  # whether torch.compile has something to compile


@dataclass(frozen=True)
class Subject:
    """A hot path in a dtype; its benchmark is the CPU's with the sizes of a GPU."""

    benchmark: Benchmark
    passes: dict[str, Pass]

    @property
    def name(self) -> str:
        return self.benchmark.hot_path

    @property
    def rows(self) -> int:
        return len(self.benchmark.sizes) * len(self.passes)


def known() -> tuple[str, ...]:
    """The hot paths that have a file here."""
    return tuple(name for name in HOT_PATHS if Path(__file__).with_name(f"{name}.py").exists())


def subject(name: str, dtype: str = "float32") -> Subject:
    """What is measured in a dtype; KeyError where that is nothing: in bfloat16, of what has no BFLOAT16."""
    module = import_module(f"benchmarks.gpu.{name}")
    if dtype != "bfloat16":
        return module.SUBJECT
    if not hasattr(module, "BFLOAT16"):
        raise KeyError(f"{name} has nothing to measure in bfloat16")
    return module.BFLOAT16


def dtypes(name: str) -> tuple[str, ...]:
    """Those that one command measures."""
    return ("float32", "bfloat16") if hasattr(import_module(f"benchmarks.gpu.{name}"), "BFLOAT16") else ("float32",)
