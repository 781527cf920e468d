"""The pictures of `study gradient-flow`: norms of gradients over the steps, and clipping at work."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_nlp.train.plot import empty_figure, png_of

if TYPE_CHECKING:
    from tinygrad_nlp.study.gradient_flow import Flow

COLORS = ("tab:blue", "tab:green", "tab:orange", "tab:red", "tab:purple", "tab:brown")
LIMITS = (1e-20, 1e10)


def flow_picture(flows: list[Flow]) -> bytes:
    """A PNG: one panel for each kind, one line for each radius, the bound of E21 dashed."""
    kinds = [(kind, list(group)) for kind, group in groupby(flows, key=lambda f: f.kind)]
    figure = empty_figure(3 * len(kinds), 3.6)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (kind, group) in zip(panels, kinds, strict=True):
        for flow, color in zip(group, COLORS * len(group), strict=False):
            t, label = np.arange(len(flow.norms)), f"radius {flow.radius:g}" if kind != "IRNN" else "identity"
            axes.semilogy(t, np.maximum(flow.norms, LIMITS[0] / 10), color=color, label=label)
            if flow.bound is not None:
                axes.semilogy(t, flow.bound, color=color, linestyle="--", linewidth=0.8)
        axes.set(title=kind + (" (h and c)" if kind == "LSTM" else ""), xlabel="t", ylim=LIMITS)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="lower right")
    panels[0].set_ylabel("‖∂L_T/∂h_t‖, dashed: its bound")
    return png_of(figure)


def clipping_picture(free: list[dict[str, float]], clipped: list[dict[str, float]], threshold: float) -> bytes:
    """A PNG: loss and gradient norm of a run that explodes, and of the same run with the gradient clipped."""
    figure = empty_figure(8, 3.4)
    loss, norm = figure.subplots(1, 2)
    for lines, color, label in ((free, "tab:red", "not clipped"), (clipped, "tab:blue", "clipped")):
        steps = np.arange(1, len(lines) + 1)
        loss.semilogy(steps, [line["loss"] for line in lines], color=color, label=label)
        norm.semilogy(steps, [line["norm"] for line in lines], color=color, label=label)
    norm.axhline(threshold, color="black", linestyle="--", linewidth=0.8, label=f"clipped to {threshold:g}")
    loss.set(xlabel="step", ylabel="loss", title="loss", ylim=_limits([line["loss"] for line in clipped]))
    norm.set(xlabel="step", ylabel="‖g‖ before clipping", title="norm of the gradient")
    norm.set_ylim(*_limits([threshold, *(line["norm"] for line in clipped)]))
    for axes in (loss, norm):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return png_of(figure)


def _limits(values: list[float]) -> tuple[float, float]:
    """What the run that ends well needs, and room above for the one that leaves the picture."""
    return min(values) / 2, max(values) * 1e4
