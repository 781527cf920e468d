"""The pictures of the READMEs, drawn from `benchmarks/results/`: each hot path's speed, and all under the roof.

python -m benchmarks.figures                writes docs/figures/
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import quality
from benchmarks.hot_path import NAMES
from benchmarks.libraries import PEERS
from benchmarks.readme import FIGURES, threads_of

COLOURS = {"reference": "#b0b0b0", "cpu": "#205080", "packed": "#50a0d0", "compile": "#f0a860", "jax": "#70a868"}
SHAPES = "osD^vP*X"
ROOFS = {"copy": ("-", "copy in memory"), "cache_copy": ("--", "copy in the cores' caches"), "read": (":", "read")}


def main() -> None:
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if results := threads_of(name):
            print(saved(speeds(name, results), FIGURES / f"{name}.png"))
    measured = {name: data for name in NAMES for data in threads_of(name)[:1] if data.get("roofs")}
    if measured:
        print(saved(roofline(measured, _roofline_title(measured)), FIGURES / "roofline.png"))
    if quality.FILE.exists():
        print(saved(qualities(json.loads(quality.FILE.read_text())), FIGURES / "quality.png"))


def saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def qualities(rows: dict) -> Any:
    """A dot for each seed, ours and PyTorch's; a panel for each measure."""
    of = {name: case.measure for name, case in quality.CASES.items() if name in rows}
    panels = [[name for name in of if of[name] == measure] for measure in dict.fromkeys(of.values())]
    heights = [len(names) + 0.8 for names in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7, 0.32 * sum(heights) + 1), height_ratios=heights, layout="constrained", squeeze=False
    )
    for axis, names in zip(axes[:, 0], panels, strict=True):
        for who, colour, shift in (("torch", "#f0a860", 0.15), ("ours", "#205080", -0.15)):
            for y, name in enumerate(names):
                values = list(rows[name].get(who, {}).values())
                axis.plot(
                    values, np.full(len(values), y + shift), "o", color=colour, label=quality.WHO[who] if not y else ""
                )
        axis.set_yticks(
            range(len(names)), [f"{quality.CASES[n].label}: {quality.CASES[n].settings['data']}" for n in names]
        )
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlabel(quality.NAMES.get(of[names[0]], of[names[0]]))
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    return figure


def speeds(name: str, results: list[dict]) -> Any:
    """How many times as fast as PyTorch eager each candidate is, with quartiles; a panel for each number of threads."""
    most = max(len(data["rows"]) for data in results)
    size = (2 + 4 * len(results), 1.6 + 0.75 * most)
    figure, axes = plt.subplots(1, len(results), figsize=size, layout="constrained", squeeze=False, sharey=True)
    for axis, data in zip(axes[0], results, strict=True):
        rows = {work: row for work, row in data["rows"].items() if "torch" in row}
        candidates = [n for n in dict.fromkeys(n for row in rows.values() for n in row) if n != "torch"]
        height = 0.8 / max(len(candidates), 1)
        for i, who in enumerate(candidates):
            there = [(y, row) for y, row in enumerate(rows.values()) if who in row]
            at = np.array([y for y, _ in there]) + (i - (len(candidates) - 1) / 2) * height
            low, median, high = (
                np.array([row["torch"]["median_us"] / row[who][key] for _, row in there])
                for key in ("high_us", "median_us", "low_us")
            )
            axis.barh(at, median - 1, height, left=1, color=COLOURS.get(who, "#805080"), label=PEERS.get(who, who))
            axis.errorbar(median, at, xerr=(median - low, high - median), fmt="none", ecolor="#303030", elinewidth=1)
        axis.axvline(1, color="black", linewidth=1)
        axis.set_xscale("log")
        ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if axis.get_xlim()[0] <= t <= axis.get_xlim()[1]]
        axis.set_xticks(ticks, [f"{t:g}×" for t in ticks])
        axis.set_xticks([], minor=True)
        axis.set_yticks(range(len(rows)), list(rows))
        threads = "one thread" if data["threads"] == 1 else f"{data['threads']} threads"
        axis.set(title=f"{name}, {data['dtype']}, {threads}", xlabel="times as fast as PyTorch eager")
    axes[0][0].invert_yaxis()  # of all panels: they share it
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    return figure


def roofline(measured: dict[str, dict], title: str) -> Any:
    """FLOP/s over FLOPs a byte of every piece of work, ours and PyTorch's, under the machine's measured roofs."""
    figure, axis = plt.subplots(figsize=(9, 6), layout="constrained")
    first = next(iter(measured.values()))
    roofs = {k: float(np.median([data["roofs"][k] for data in measured.values()])) for k in first["roofs"]}
    peak, x = roofs["fma_gflop_per_s"], np.geomspace(0.02, 1000, 500)
    for key, (style, label) in ROOFS.items():
        if rate := roofs.get(f"{key}_gb_per_s"):
            axis.plot(x, np.minimum(peak, rate * x), style, color="black", label=f"{label}, {rate:,.0f} GB/s")
    axis.annotate(f"multiply-adds, {peak:,.0f} GFLOP/s", (1000, peak), ha="right", va="bottom")
    for i, (benchmark, data) in enumerate(measured.items()):
        colour, shape = f"C{i}", SHAPES[i % len(SHAPES)]
        for work, row in data["rows"].items():
            counts = data["works"][work]
            intensity, ours = counts["flops"] / counts["bytes"], next(iter(row))
            for name in (ours, "torch"):
                if name in row and counts["flops"]:
                    rate = counts["flops"] / row[name]["median_us"] / 1e3
                    axis.plot(intensity, rate, shape, color=colour, fillstyle="full" if name == ours else "none")
        axis.plot([], [], shape, color=colour, label=benchmark)
    axis.set(xscale="log", yscale="log", xlim=(0.02, 1000), xlabel="FLOPs a byte", ylabel="GFLOP/s")
    axis.set_title(title)
    axis.legend(loc="lower right", fontsize="small")
    axis.grid(alpha=0.3)
    return figure


def _roofline_title(measured: dict[str, dict]) -> str:
    first = next(iter(measured.values()))
    what = f"forward + backward, {first['dtype']}, {first['threads']} threads"
    return f"{what}; filled: this library, hollow: PyTorch eager"


if __name__ == "__main__":
    main()
