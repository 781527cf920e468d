"""The picture of a run: loss against steps."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np


def loss_picture(metrics: list[dict[str, Any]], title: str, unit: str) -> bytes:
    """A PNG of both losses per unit (character, word), nats on the left axis and bits (nats / ln 2) on the right."""
    from matplotlib.ticker import MaxNLocator

    figure = empty_figure(7, 4.2)
    axes = figure.add_subplot()
    steps, losses = _curve(metrics, "train_loss")
    width = max(1, len(losses) // 50)
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
    mean, lead = _running_mean(losses, width), (width - 1) // 2  # each mean stands in the middle of its steps
    axes.plot(steps[lead : lead + len(mean)], mean, color="tab:blue", label="training")
    axes.plot(*_curve(metrics, "val_loss"), color="tab:orange", marker="o", markersize=3, label="validation")
    axes.set(title=title, xlabel="step", ylabel=f"loss in nats per {unit}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    axes.secondary_yaxis("right", functions=(_bits, _nats)).set_ylabel(f"bits per {unit}")
    return png_of(figure)


def empty_figure(width: float, height: float) -> Any:
    """A Matplotlib figure of so many inches."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    return Figure(figsize=(width, height), layout="constrained")


def png_of(figure: Any) -> bytes:
    """The figure as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()


def _bits(nats: Any) -> Any:
    return nats / math.log(2)


def _nats(bits: Any) -> Any:
    return bits * math.log(2)


def _curve(metrics: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(line["step"], line[name]) for line in metrics if name in line]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(values, np.full(width, 1 / width), "valid") if len(values) else values
