"""`tinygrad-nlp study adding-problem`: who learns to add two numbers that lie far back (E20 – E25)."""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
from nlp_kernels.common.memory import keep_freed_memory
from rich.console import Console
from rich.table import Table

import tinygrad_nlp as tn
from tinygrad_nlp.autograd.devices import library_of
from tinygrad_nlp.command_line import Parser, add_machine_options, me, use_threads
from tinygrad_nlp.study.adding_pictures import learning_picture
from tinygrad_nlp.study.adding_progress import name_of, percent, watcher
from tinygrad_nlp.study.adding_task import CELLS, Curve, Training, held_out, learn
from tinygrad_nlp.train.interrupts import stop_on_signal
from tinygrad_nlp.train.options import add_options, given
from tinygrad_nlp.train.progress import telling_of_compilation
from tinygrad_nlp.train.run_folder import RunFolder

LENGTHS = (100, 400)
LEARNT = 0.1  # below this share of 1/6 a cell has learnt the task
ABOUT = """Who learns the adding problem: tanh RNN, IRNN (E23), GRU (E24) or LSTM (E25)?

A sequence of T pairs (value, marker) has two markers, one in each half; the target is the sum of the two marked
values, the loss the mean squared error (E06c) at the end. Always guessing 1 has the error 1/6."""
EPILOG = """examples:
  {me} study adding-problem                               T = 100 and 400, nine minutes on two cores
  {me} study adding-problem --length 50 --cell rnn --cell irnn
  {me} study adding-problem --length 400 --cell lstm --steps 10000 --out adding

Ctrl-C stops after the current step and leaves the picture and the numbers of what was measured."""


def main(argv: list[str]) -> int:
    """Train every cell at every length, draw, and say who learnt it."""
    args = _arguments(argv)
    training = Training(**given(args, Training))
    use_threads(args.threads)
    library_of(args.device)  # one that is not there is told before there is a folder
    keep_freed_memory()  # a training step asks for the same sizes again and again
    folder = RunFolder.create("adding-problem", args.out)
    if not args.quiet:
        print(f"run folder: {folder.path}", file=sys.stderr)
    curves = [Curve(cell, T, training.rate(cell, T)) for T in args.length for cell in args.cell]
    signal_number = _measure(curves, training, args.device, folder, quiet=args.quiet)
    curves = [curve for curve in curves if curve.steps]
    if args.quiet:
        print(folder.path)
    else:
        Console(width=100).print(_table(curves, training.seed))
        for curve in (c for c in curves if c.broke_off):
            print(f"{name_of(curve)} broke off at step {curve.broke_off}: loss or gradient were not finite")
        print(f"files: {folder.path}: {', '.join(folder.files())}")
    if signal_number:
        print(f"stopped; {folder.path} has what was measured until then", file=sys.stderr)
    return 128 + signal_number if signal_number else 0


def _measure(curves: list[Curve], training: Training, device: str, folder: RunFolder, *, quiet: bool) -> int:
    """Fill the curves, one after the other, and keep the folder up to date; returns the signal that ended it, or 0."""
    report = watcher(curves, training.steps, quiet=quiet)
    with stop_on_signal("\nstopping after this step\n") as stop, report, telling_of_compilation(report):
        for n, curve in enumerate(curves):
            for step in learn(curve, training, device):
                report.stepped(curve, step)
                if stop:
                    break
            folder.write("adding-problem.png", learning_picture(curves[: n + 1], LEARNT))
            folder.write("numbers.json", json.dumps(_numbers(curves[: n + 1], training), indent=1) + "\n")
            if stop:
                break
    return stop.signal_number


def _arguments(argv: list[str]) -> argparse.Namespace:
    name = f"{me()} study adding-problem"
    parser = Parser(prog=name, usage=f"{name} [options]", description=ABOUT, epilog=EPILOG.format(me=me()))
    add = parser.add_argument
    add("--length", type=_length, action="append", metavar="T", help="of a sequence; repeat it (default: 100 and 400)")
    add("--cell", choices=tuple(CELLS), action="append", help="train only this one; repeat it (default: all)")
    add_options(parser, Training)
    add_machine_options(parser)
    add("--out", metavar="DIR", help="a new folder (default: the next runs/adding-problem-NNN)")
    add("--quiet", action="store_true", help="print nothing but the folder")
    args = parser.parse(argv)
    args.length, args.cell = (list(dict.fromkeys(given)) for given in (args.length or LENGTHS, args.cell or CELLS))
    return args


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, one step for each half, not {text!r}")
    return int(text)


def _numbers(curves: list[Curve], training: Training) -> dict[str, Any]:
    runs = [
        asdict(curve)
        | {"errors": [error if math.isfinite(error) else None for error in curve.errors], "learnt": curve.below(LEARNT)}
        for curve in curves
    ]
    constant = {str(curve.T): _of_constant(training.seed, curve.T) for curve in curves}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "tinygrad-nlp": tn.__version__}
    settings = asdict(training) | {"threads": tn.get_num_threads()}
    return {"settings": settings, "always 1": constant, "runs": runs, "versions": versions}


def _of_constant(seed: int, T: int) -> float:
    """The error of always guessing 1 in this very test: near 1/6, for the test is a sample."""
    _, y = held_out(seed, T)
    return float(((y.astype(np.float64) - 1) ** 2).mean())


def _table(curves: list[Curve], seed: int) -> Table:
    table = Table(title="adding problem: error of the test")
    below = f"below {LEARNT:.0%} of 1/6 at step"
    for column in ("T", "cell", "learning rate", "test error", "of 1/6", below, "time"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for T, group in groupby(curves, key=lambda curve: curve.T):
        constant = _of_constant(seed, T)
        table.add_row(str(T), "always 1", "", f"{constant:.4f}", percent(constant), "–", "")
        for c in group:
            step, error = c.below(LEARNT), c.errors[-1]
            learnt = "–" if step is None else f"{step:,}"
            table.add_row(
                "",
                CELLS[c.cell],
                f"{c.lr:.2g}",
                f"{error:.2g}",
                percent(error),
                learnt,
                f"{c.seconds:.0f} s",
            )
        table.add_section()
    return table
