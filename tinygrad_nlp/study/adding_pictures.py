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
LIMITS = (CONSTANT * 2e-4, CONSTANT * 10)


def learning_picture(curves: list[Curve], learnt: float) -> bytes:
    """A PNG: a panel for each length, a line for each cell; dashed 1/6, dotted the share of it that is learnt."""
    lengths = [(T, list(group)) for T, group in groupby(curves, key=lambda curve: curve.T)]
    figure = empty_figure(max(4.8 * len(lengths), 6), 3.8)
    panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
    for axes, (T, group) in zip(panels, lengths, strict=True):
        for curve in group:
            errors = np.array(curve.errors)
            axes.semilogy(curve.steps, np.where(np.isfinite(errors), errors, np.nan), color=COLORS[curve.cell])
            axes.lines[-1].set_label(CELLS[curve.cell])
        axes.axhline(CONSTANT, color="black", linestyle="--", linewidth=0.8, label="always 1")
        axes.axhline(CONSTANT * learnt, color="black", linestyle=":", linewidth=0.8, label=f"{learnt:.0%} of it")
        axes.set(title=f"T = {T}", xlabel="step", ylim=LIMITS)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("mean squared error of the test")
    panels[0].legend(fontsize="small", loc="lower left")
    return png_of(figure)
