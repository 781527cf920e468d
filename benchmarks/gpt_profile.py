"""Where a GPT's training step spends its time: kernels, optimiser, and everything else (the tape, NumPy).

python -m benchmarks.gpt_profile            both configurations, kernels and references; writes the JSON and the picture
python -m benchmarks.gpt_profile --calls    the functions of Python that take most of a step, by cProfile
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from nlp_kernels import adamw, attention, cross_entropy, embedding, layer_norm, matmul
from rich.console import Console
from rich.table import Table

import tinygrad_nlp as tn
from benchmarks.compare import machine, save
from benchmarks.gpt import SIZES, step_of
from tinygrad_nlp import nn

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "gpt-step.png"
TIMED = [(m, f) for m in (matmul, attention, layer_norm, cross_entropy, embedding) for f in ("forward", "backward")]
TIMED += [(adamw, "step_all"), (nn.utils, "clip_grad_norm_")]
REST = "the tape, NumPy"


@contextmanager
def attributed() -> Iterator[Counter[str]]:
    """Seconds spent in each kernel while the block runs; a kernel that another calls counts for the outer one."""
    seconds: Counter[str] = Counter()
    inside = []

    def timed(function: Callable, name: str) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(name)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                inside.pop()
                if not inside:
                    seconds[name] += time.perf_counter() - start

        return call

    with ExitStack() as stack:
        for module, attribute in TIMED:
            name = attribute.strip("_") if module is nn.utils else f"{module.__name__.rpartition('.')[2]} {attribute}"
            stack.enter_context(mock.patch.object(module, attribute, timed(getattr(module, attribute), name)))
        yield seconds


def profile(step: Callable[[], float], steps: int) -> dict[str, float]:
    """Milliseconds of a step by part, medians over the steps."""
    step()
    parts: list[Counter[str]] = []
    for _ in range(steps):
        with attributed() as seconds:
            start = time.perf_counter()
            step()
            seconds[REST] = time.perf_counter() - start - sum(seconds.values())
        parts.append(seconds)
    return {name: 1e3 * statistics.median(p[name] for p in parts) for name in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", action="store_true", help="cProfile of the small configuration")
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    if args.calls:
        return calls(step_of("ours", SIZES["small"].config))
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for size in SIZES.values():
        rows[size.label] = {}
        for name, setting in (("references", tn.use_backend("reference")), ("kernels", nullcontext())):
            with setting:  # kernels: what a user gets
                rows[size.label][name] = profile(step_of("ours", size.config), args.steps)
    show(rows)
    print("saved:", save("gpt_profile", rows, threads=tn.get_num_threads(), command="python -m benchmarks.gpt_profile"))
    picture(rows)
    return None


def calls(step: Callable[[], float]) -> None:
    step()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(10):
        step()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def show(rows: dict[str, dict[str, dict[str, float]]]) -> None:
    for label, sides in rows.items():
        table = Table(title=f"GPT training step, {label}, {machine()}: milliseconds")
        for column in ("part", *sides):
            table.add_column(column, justify="left" if column == "part" else "right")
        parts = sorted({p for side in sides.values() for p in side}, key=lambda p: -max(s[p] for s in sides.values()))
        for part in parts:
            table.add_row(part, *(f"{side[part]:.2f}" for side in sides.values()))
        table.add_row("all", *(f"{sum(side.values()):.1f}" for side in sides.values()))
        Console(width=100).print(table)


def picture(rows: dict[str, dict[str, dict[str, float]]]) -> None:
    """Stacked bars: references above kernels, one panel a configuration."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parts = list(dict.fromkeys(p for sides in rows.values() for side in sides.values() for p in side))
    colours = dict(zip(parts, plt.get_cmap("tab20").colors, strict=False))
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, 2.2 * len(rows) + 1), layout="constrained")
    for axis, (label, sides) in zip(axes, rows.items(), strict=True):
        for i, side in enumerate(reversed(sides)):
            left = 0.0
            for part in parts:
                width = sides[side].get(part, 0.0)
                axis.barh(i, width, left=left, color=colours[part], label=part if i == 0 else None)
                left += width
            axis.text(left, i, f" {left:.0f} ms", va="center")
        axis.set_yticks(range(len(sides)), list(reversed(sides)))
        axis.set_title(label, fontsize=10)
        axis.margins(x=0.12)
    axes[-1].set_xlabel("milliseconds a training step")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
