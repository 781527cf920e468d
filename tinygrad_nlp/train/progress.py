"""What a person sees while a model trains: a bar on a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, TextIO


class Reporter(Protocol):
    """Told of every step (a line of `metrics.jsonl`) and of remarks."""

    def __enter__(self) -> Reporter: ...
    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def step(self, line: dict[str, Any]) -> None: ...
    def say(self, text: str) -> None: ...


def reporter(name: str, first: int, steps: int, *, quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """The reporter that fits the stream (standard error): a progress bar only where someone can watch it move."""
    stream = stream or sys.stderr
    if quiet:
        return Silence()
    return Bar(name, first, steps, stream) if stream.isatty() else Lines(name, first, steps, stream)


@contextmanager
def telling_of_compilation(reporter: Reporter) -> Iterator[None]:
    """Within this block the reporter says what kernels are compiled: a first run waits a second or more for each."""

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reporter.say(f"{record.getMessage()}, once on this machine")

    log, handler = logging.getLogger("nlp_kernels"), Telling(logging.INFO)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def validation(line: dict[str, Any]) -> str:
    """The validation loss of a line of metrics, and what it says beside it."""
    beside = {"val_perplexity": "perplexity {:.2f}", "val_accuracy": "accuracy {:.2%}", "val_f1": "F1 {:.2%}"}
    said = [form.format(line[name]) for name, form in beside.items() if name in line]
    return f"{line['val_loss']:.4f}" + (f" ({', '.join(said)})" if said else "")


def in_bits(nats: float) -> float:
    """Nats to bits: 1 nat = 1/ln 2 bits."""
    return nats / math.log(2)


class Silence:
    """`--quiet`."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def step(self, line: dict[str, Any]) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class Lines(Silence):
    """About twenty plain lines a run, and one for each validation loss."""

    def __init__(self, name: str, first: int, steps: int, stream: TextIO):
        self.name, self.steps, self.stream = name, steps, stream
        self.every = max(1, (steps - first) // 20)

    def __enter__(self) -> Lines:
        return self

    def step(self, line: dict[str, Any]) -> None:
        if line["step"] % self.every == 0 or "val_loss" in line or line["step"] == self.steps:
            self.say(
                f"{self.name}  step {line['step']}/{self.steps}  loss {line['train_loss']:.4f}"
                + (f"  validation {validation(line)}" if "val_loss" in line else "")
                + f"  {line['tokens_per_s']:,.0f} tokens/s  {line['elapsed']:.0f} s"
            )

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Bar:
    """Step, loss, validation loss, tokens/s and the time that is left."""

    def __init__(self, name: str, first: int, steps: int, stream: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss [bold]{task.fields[loss]}"),
            TextColumn("val [bold]{task.fields[validation]}"),
            TextColumn("{task.fields[speed]} tokens/s"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self.task = self.progress.add_task(name, total=steps, completed=first, loss="–", validation="–", speed="–")
        self.loss = self.speed = math.nan

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def step(self, line: dict[str, Any]) -> None:
        self.loss = _smoothed(self.loss, line["train_loss"])
        self.speed = _smoothed(self.speed, line["tokens_per_s"])
        shown = {"loss": f"{self.loss:.4f}", "speed": f"{self.speed:,.0f}"}
        if "val_loss" in line:
            shown["validation"] = validation(line)
        self.progress.update(self.task, completed=line["step"], **shown)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False)


def _smoothed(old: float, new: float, share: float = 0.05) -> float:
    return new if math.isnan(old) else old + share * (new - old)
