"""One training run of any model: put together, started or continued, saved.  Its data are a subclass's part."""

from __future__ import annotations

import json
import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import __version__, optim, random
from tinygrad_nlp.train.checkpoint import fill, load_checkpoint, save_checkpoint
from tinygrad_nlp.train.graphs import GraphStep, on_gpu
from tinygrad_nlp.train.interrupts import stop_on_signal
from tinygrad_nlp.train.loop import Step, StepByStep, refuse_divergence, training_steps
from tinygrad_nlp.train.options import flag_of
from tinygrad_nlp.train.plot import loss_picture
from tinygrad_nlp.train.progress import Reporter, telling_of_compilation
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import CHANGEABLE, DTYPES, Outcome, Settings
from tinygrad_nlp.train.writing import Writing

DATA_STREAM, SAMPLE_STREAM = 2**62, 2**63  # where batches and samples begin in the seed's stream: nothing draws twice


class Run:
    """A model, its data, optimiser and random state: everything that a step changes and a checkpoint holds.

    A subclass says what is read (`read_data`, `fetch_data`, `data_state`, `data_summary`), what a step learns from
    (`prepare`, `draw`, `loss_of`, `cursor`) and how good the model is (`evaluate`, `measures`, `results`).
    """

    settings_class: ClassVar[type[Settings]] = Settings
    about: ClassVar[str] = ""  # what `train MODEL --help` says first
    examples: ClassVar[str] = ""  # and last
    unit: str = "token"  # of the loss: nats per …
    writes: ClassVar[bool] = False  # whether `generate` can continue a text with the model
    suggestion: tuple[str, ...] = ()  # options of `generate` that the closing lines show
    predicts: ClassVar[bool] = False  # whether `predict` can say what the model makes of a text
    fixed_shapes: ClassVar[bool] = False  # whether batches are, nearly all, of one shape
    tokens: int  # in the last batch, set by `draw`
    data_hash: str  # set by `read_data`
    sampler: Any  # of batches, set by `prepare`, where the run has one

    def __init__(
        self,
        name: str,
        model_class: Callable[..., Any],
        config_class: Callable[..., Any],
        options: dict[str, Any],
        settings: Any,
        device: str = "cpu",
    ):
        """`options` are fields of the config class; those that the data decide come from the data."""
        self.name, self.settings = name, settings
        self.config = config_class(**(options | self.read_data()))
        random.manual_seed(settings.seed)
        self.model = model_class(self.config).to(device=device, dtype=DTYPES[settings.dtype])
        self.optimizer = optim.AdamW(
            decay_groups(self.model, settings.weight_decay), lr=settings.lr, betas=(settings.beta1, settings.beta2)
        )
        self.schedule = optim.WarmupCosine(
            settings.lr, settings.min_lr, settings.warmup, settings.decay_steps or settings.steps
        )
        self.prepare()
        self.step, self.elapsed, self.val_loss = 0, 0.0, math.inf

    @classmethod
    def fetch_data(cls, data: str | None, *, quiet: bool) -> None:
        """Get a corpus that is named and not here yet."""

    def read_data(self) -> dict[str, Any]:
        """Read `settings.data`, set `data_hash`; returns the fields of the config that the data decide."""
        raise NotImplementedError

    def data_state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data: vocabularies, not texts."""
        raise NotImplementedError

    def data_summary(self) -> dict[str, Any]:
        """What `config.json` says of the data."""
        raise NotImplementedError

    def source(self) -> str:
        """The data's name for a person."""
        raise NotImplementedError

    def data_description(self) -> str:
        """What is about to be learnt from, in one line."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make what batches and validation are taken from; the model is there already."""
        raise NotImplementedError

    def draw(self) -> tuple[Any, ...]:
        """The arrays of the next batch; sets `tokens`."""
        raise NotImplementedError

    def loss_of(self, *batch: Any) -> tuple[Any, tuple[Any, ...]]:
        """The loss of a batch and what later batches need of it, from its arrays alone."""
        return self.model.loss(*batch), ()

    def keep(self, ends: tuple[Any, ...]) -> None:
        """Remember what later batches need."""

    def batch_loss(self) -> Any:
        """The loss of the next batch."""
        loss, ends = self.loss_of(*self.draw())
        self.keep(ends)
        return loss

    @property
    def cursor(self) -> Any:
        """All that decides which batches follow, as a checkpoint can hold it; a continued run sets it.

        Here: where in its stream of random numbers the run's `sampler` stands.
        """
        return self.sampler.generator.state

    @cursor.setter
    def cursor(self, value: Any) -> None:
        self.sampler.generator.state = value

    def evaluate(self) -> float:
        """Mean loss over the validation part; dropout off, nothing drawn, nothing recorded."""
        raise NotImplementedError

    def measures(self, part: str, loss: float) -> dict[str, float]:
        """What a line of metrics says beside the loss of a part, "train" or "val"."""
        return {}

    def results(self, train_loss: float) -> dict[str, str]:
        """The closing lines, by their titles."""
        raise NotImplementedError

    @classmethod
    def write(cls, model: Any, state: dict[str, Any], writing: Writing) -> Iterator[str]:
        """What the model of a checkpoint's state writes when asked for this, piece by piece, the prompt first."""
        raise NotImplementedError

    @classmethod
    def predictor(cls, model: Any, state: dict[str, Any]) -> Callable[[str], str]:
        """What says in a line what the model of a checkpoint's state makes of a text."""
        raise NotImplementedError

    def finish(self, folder: RunFolder) -> list[str]:
        """Write what a run that came to its end leaves in its folder; returns samples to show."""
        return []

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        name: str,
        model_class: Callable[..., Any],
        config_class: Callable[..., Any],
        changes: dict[str, Any],
        device: str = "cpu",
    ) -> Run:
        """The run as it was at its checkpoint; the steps that follow are those it would have taken, bit for bit.

        `changes` are fields of the config or the settings; only `CHANGEABLE` ones may differ from the run's own.
        """
        state = load_checkpoint(folder.path)
        if state.get("name") != name:
            raise UserError(f"{folder.checkpoint} holds a model {state.get('name')!r}, not {name!r}")
        _refuse_changes(changes, state, (config_class, cls.settings_class))
        settings = cls.settings_class(**(state["settings"] | {k: v for k, v in changes.items() if k in CHANGEABLE}))
        if settings.decay_steps is None:  # the schedule stays the one the run began with
            settings = replace(settings, decay_steps=state["settings"]["steps"])
        if state["step"] >= settings.steps:
            done = state["step"]
            raise UserError(f"{folder.path} has made its {done} steps; to go on name more, as --steps {2 * done}")
        run = cls(name, model_class, config_class, state["config"], settings, device)
        if run.data_hash != state["text_hash"]:
            raise UserError(
                f"{run.source()} is not the text that {folder.path} was trained on; "
                "name that text with --data, or begin a new run"
            )
        fill(run.model, run.optimizer, state, folder.checkpoint)
        random.default_generator.state = state["random"]
        run.cursor = state["cursor"]
        run.step, run.elapsed, run.val_loss = state["step"], state["elapsed"], state["val_loss"]
        folder.forget_metrics_after(run.step)
        return run

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "name": self.name,
            "config": asdict(self.config),
            "settings": asdict(self.settings),
            **self.data_state(),
            "text_hash": self.data_hash,
            "step": self.step,
            "elapsed": self.elapsed,
            "val_loss": self.val_loss,
            "random": random.default_generator.state,
            "cursor": self.cursor,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def train(self, folder: RunFolder, reporter: Reporter) -> Outcome:
        """Train to the last step or the first signal; either way the checkpoint is of the step it stopped at."""
        settings, last = self.settings, self.settings.steps
        if self.step == 0:
            folder.write("config.json", json.dumps(self._what_it_is(), indent=2) + "\n")
            save_checkpoint(folder.checkpoint, self.state())
        losses: deque[float] = deque(maxlen=100)
        remark = "\nstopping after this step; Ctrl-C once more stops at once\n"
        began = time.perf_counter() - self.elapsed
        with stop_on_signal(remark) as request, reporter, telling_of_compilation(reporter):
            steps = training_steps(
                self.model, self.optimizer, self.batch_loss, self.schedule,
                first=self.step + 1, last=last, clip=settings.clip, by=self._by(reporter.say),
            )  # fmt: skip
            for step in steps:
                self.step = step.number
                losses.append(step.loss)
                validated = step.number % settings.eval_every == 0 or step.number == last
                if validated:
                    self.val_loss = self.evaluate()
                    refuse_divergence(step.number, validation_loss=self.val_loss)
                self.elapsed = time.perf_counter() - began
                line = self._metrics(step, validated)
                folder.append_metrics(line)
                reporter.step(line)
                if validated or request:
                    save_checkpoint(folder.checkpoint, self.state())
                if request:
                    return Outcome(self.step, self.elapsed, {}, [], request.signal_number)
        samples = self.finish(folder)
        folder.write("loss.png", loss_picture(folder.read_metrics(), folder.path.name, self.unit))
        return Outcome(self.step, self.elapsed, self.results(sum(losses) / len(losses)), samples, 0)

    def _by(self, say: Callable[[str], None]) -> StepByStep | None:
        """How steps are made: on a GPU by graphs, where that can be done."""
        if not on_gpu(self.model):
            return None
        return GraphStep(self, self.settings.clip, say)

    def description(self) -> str:
        """What is about to be trained on what."""
        weights = sum(p.size for p in self.model.parameters())
        return f"{self.name}: {weights:,} parameters, {self.settings.dtype}\ntext: {self.data_description()}"

    def stream(self, start: int) -> random.Generator:
        """The numbers of the run's seed from one place on."""
        generator = random.Generator(self.settings.seed)
        generator.state = (self.settings.seed, start)
        return generator

    def _what_it_is(self) -> dict[str, Any]:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "tinygrad-nlp": __version__}
        parts = {"config": asdict(self.config), "settings": asdict(self.settings), "text": self.data_summary()}
        return {"model": self.name} | parts | {"versions": versions}

    def _metrics(self, step: Step, validated: bool) -> dict[str, Any]:
        line = {"step": step.number, "train_loss": step.loss, **self.measures("train", step.loss)}
        if validated:
            line |= {"val_loss": self.val_loss, **self.measures("val", self.val_loss)}
        line |= {"lr": step.lr, "grad_norm": step.grad_norm}
        return line | {"tokens_per_s": round(self.tokens / step.seconds, 1), "elapsed": round(self.elapsed, 3)}


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: matrices, which decay, and biases and gains, which do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _refuse_changes(changes: dict[str, Any], state: dict[str, Any], classes: tuple[Any, ...]) -> None:
    before = state["config"] | state["settings"]
    flags = {f.name: flag_of(f) for c in classes for f in fields(c) if "kind" in f.metadata}
    for name, value in changes.items():
        if name not in CHANGEABLE and value != before[name]:
            allowed = ", ".join(flags[n] for n in CHANGEABLE)
            raise UserError(
                f"{flags[name]} was {before[name]} when the run began and cannot become {value} now; "
                f"with --resume only {allowed} may change"
            )
