"""The picture of `study adding-problem`: test errors over the steps."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_nlp.study.adding_task import CELLS, CONSTANT
from tinygrad_nlp.train.plot import empty_figure, png_of

if TYPE_CHECKING:
    from tinygrad_nlp.study.adding_task import Curve

COLORS = {"rnn": "tab:red", "irnn": "tab:orange", "gru": "tab:blue", "lstm": "tab:green"}
WIDTHS = {"rnn": 4.0}  # it is drawn first, and what learns as little lies on it
LIMITS = (1e-5, 2.0)


def learning_picture(curves: list[Curve], learnt: float) -> bytes:
    """A PNG: a panel for each length, a line for each cell; dashed 1/6, dotted the share of it that is learnt."""
    lengths = [(T, list(group)) for T, group in groupby(curves, key=lambda curve: curve.T)]
    figure = empty_figure(4.4 * len(lengths) + 1.2, 3.8)
    panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
    for axes, (T, group) in zip(panels, lengths, strict=True):
        for curve in group:
            errors = np.array(curve.errors)
            shown, width = np.where(np.isfinite(errors), errors, np.nan), WIDTHS.get(curve.cell, 1.5)
            axes.semilogy(curve.steps, shown, color=COLORS[curve.cell], linewidth=width, label=CELLS[curve.cell])
        axes.axhline(CONSTANT, color="black", linestyle="--", linewidth=0.8, label="always 1")
        axes.axhline(CONSTANT * learnt, color="black", linestyle=":", linewidth=0.8, label=f"{learnt:.0%} of it")
        axes.set(title=f"T = {T}", xlabel="step", ylim=LIMITS)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("mean squared error of the test")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize="small", loc="outside right center")
    return png_of(figure)
