"""What a person sees of `study adding-problem`: a bar over all cells on a terminal, four lines a cell in a log."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tinygrad_nlp.study.adding_task import CELLS, CONSTANT, Curve
from tinygrad_nlp.train.progress import Silence


class Lines(Silence):
    """The test error at each quarter of a cell's training."""

    def __init__(self, curves: list[Curve], steps: int, stream: TextIO):
        self.steps, self.stream = steps, stream
        self.quarters = {steps * n // 4 for n in (1, 2, 3, 4)} - {0}

    def stepped(self, curve: Curve, step: int) -> None:
        """Told of every step of every cell."""
        if step in self.quarters:
            self.say(f"{name_of(curve)}  step {step}/{self.steps}  {said(curve)}  {curve.seconds:.0f} s")

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Bar(Silence):
    """Which cell is learning, its last test error, and the time that is left for all of them."""

    def __init__(self, curves: list[Curve], steps: int, stream: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self.curves, self.steps = curves, steps
        columns = (TextColumn("[bold]{task.description}"), BarColumn(bar_width=None), TaskProgressColumn())
        self.progress = Progress(
            *columns, TextColumn("{task.fields[said]}"), TimeRemainingColumn(), console=Console(file=stream)
        )
        self.task = self.progress.add_task("adding-problem", total=steps * sum(c.T for c in curves), said="")

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.progress.stop()

    def stepped(self, curve: Curve, step: int) -> None:
        """Told of every step of every cell: one of T = 400 is as much work as four of T = 100."""
        before = sum(c.T for c in self.curves[: self.curves.index(curve)])
        done = self.steps * before + step * curve.T
        self.progress.update(self.task, completed=done, description=name_of(curve), said=said(curve))

    def say(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False)


class Quiet(Silence):
    """`--quiet`."""

    def stepped(self, curve: Curve, step: int) -> None:
        pass


def watcher(curves: list[Curve], steps: int, *, quiet: bool, stream: TextIO | None = None) -> Lines | Bar | Quiet:
    """What fits the stream (standard error): a bar only where someone can watch it move."""
    stream = stream or sys.stderr
    if quiet:
        return Quiet()
    return (Bar if stream.isatty() else Lines)(curves, steps, stream)


def name_of(curve: Curve) -> str:
    """As `T = 100, GRU`."""
    return f"T = {curve.T}, {CELLS[curve.cell]}"


def said(curve: Curve) -> str:
    """The last test error for a person."""
    return f"test error {percent(curve.errors[-1])} of 1/6"


def percent(error: float) -> str:
    """An error in % of 1/6; two digits after the point where the first would be a 0."""
    share = error / CONSTANT
    return f"{share:.1%}" if share >= 0.01 else f"{share:.2%}"
