"""One training run of a character language model: put together, started or continued, saved, and made to speak."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from nlp_kernels.errors import TinygradError, UserError

from tinygrad_nlp import __version__, no_grad, optim, random
from tinygrad_nlp.text import (
    DEFAULT_CORPUS,
    CharTokenizer,
    WindowSampler,
    consecutive_windows,
    load_text,
    names_text,
    split_tokens,
)
from tinygrad_nlp.train.checkpoint import load_checkpoint, save_checkpoint
from tinygrad_nlp.train.interrupts import stop_on_signal
from tinygrad_nlp.train.loop import Step, refuse_divergence, training_steps
from tinygrad_nlp.train.options import flag_of
from tinygrad_nlp.train.plot import loss_picture
from tinygrad_nlp.train.progress import Reporter, in_bits, telling_of_compilation
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import CHANGEABLE, Outcome, Settings

DATA_STREAM, SAMPLE_STREAM = 2**62, 2**63  # where batches and samples begin in the seed's stream: nothing draws twice
EVALUATION_TOKENS = 4096  # in one batch: enough to keep matrix products busy in little memory


class LanguageModelRun:
    """A model, its text, optimiser and random state: everything that a step changes and a checkpoint holds."""

    def __init__(
        self,
        name: str,
        model_class: Callable[..., Any],
        config_class: Callable[..., Any],
        options: dict[str, Any],
        settings: Settings,
        device: str = "cpu",
    ):
        """`options` are the fields of the config class except the vocabulary's size, which the text decides."""
        text = load_text(settings.data)
        if settings.data is not None and not names_text(settings.data):  # a run may go on from another folder
            settings = replace(settings, data=str(Path(settings.data).resolve()))
        self.name, self.settings, self.tokenizer = name, settings, CharTokenizer(text)
        self.text_hash, self.text_length = hashlib.sha256(text.encode()).hexdigest(), len(text)
        self.config = config_class(vocab_size=self.tokenizer.vocab_size, **options)
        train, held_out = split_tokens(self.tokenizer.encode(text), self.config.block_size)
        random.manual_seed(settings.seed)
        self.model = model_class(self.config).to(device=device, dtype=settings.dtype)
        self.optimizer = optim.AdamW(
            decay_groups(self.model, settings.weight_decay), lr=settings.lr, betas=(settings.beta1, settings.beta2)
        )
        self.schedule = optim.WarmupCosine(
            settings.lr, settings.min_lr, settings.warmup, settings.decay_steps or settings.steps
        )
        self.sampler = WindowSampler(train, self.config.block_size, settings.batch_size, self._stream(DATA_STREAM))
        self.validation = _spread(consecutive_windows(held_out, self.config.block_size), settings.eval_tokens)
        self.step, self.elapsed, self.val_loss = 0, 0.0, math.inf

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        name: str,
        model_class: Callable[..., Any],
        config_class: Callable[..., Any],
        changes: dict[str, Any],
        device: str = "cpu",
    ) -> LanguageModelRun:
        """The run as it was at its checkpoint; the steps that follow are those it would have taken, bit for bit.

        `changes` are fields of the config or the settings; only `CHANGEABLE` ones may differ from the run's own.
        """
        state = load_checkpoint(folder.path)
        if state.get("name") != name:
            raise UserError(f"{folder.checkpoint} holds a model {state.get('name')!r}, not {name!r}")
        _refuse_changes(changes, state, (config_class, Settings))
        settings = Settings(**(state["settings"] | {k: v for k, v in changes.items() if k in CHANGEABLE}))
        if settings.decay_steps is None:  # the schedule stays the one the run began with
            settings = replace(settings, decay_steps=state["settings"]["steps"])
        if state["step"] >= settings.steps:
            done = state["step"]
            raise UserError(f"{folder.path} has made its {done} steps; to go on name more, as --steps {2 * done}")
        options = {k: v for k, v in state["config"].items() if k != "vocab_size"}
        run = cls(name, model_class, config_class, options, settings, device)
        if run.text_hash != state["text_hash"]:
            raise UserError(
                f"{settings.data or DEFAULT_CORPUS} is not the text that {folder.path} was trained on; "
                "name that text with --data, or begin a new run"
            )
        _fill(run.model, run.optimizer, state, folder.checkpoint)
        random.default_generator.state = state["random"]
        run.sampler.generator.state = state["cursor"]
        run.step, run.elapsed, run.val_loss = state["step"], state["elapsed"], state["val_loss"]
        folder.forget_metrics_after(run.step)
        return run

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "name": self.name,
            "config": asdict(self.config),
            "settings": asdict(self.settings),
            "characters": self.tokenizer.characters,
            "text_hash": self.text_hash,
            "step": self.step,
            "elapsed": self.elapsed,
            "val_loss": self.val_loss,
            "random": random.default_generator.state,
            "cursor": self.sampler.generator.state,
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
                self.model, self.optimizer, self._batch_loss, self.schedule,
                first=self.step + 1, last=last, clip=settings.clip,
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
                    break
        samples = [] if request else self._finish(folder)
        mean = sum(losses) / len(losses)
        return Outcome(
            self.step, mean, self.val_loss, self.validation[1].size, self.elapsed, samples, request.signal_number
        )

    def evaluate(self) -> float:
        """Mean loss in nats per character over the validation windows; dropout off, nothing drawn, nothing recorded."""
        self.model.eval()
        x, y = self.validation
        rows = max(1, EVALUATION_TOKENS // x.shape[1])
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            parts = [(x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows)]
            return sum(float(self.model.loss(*part).item()) * part[1].size for part in parts) / y.size

    def sample(self, n: int, length: int, *, temperature: float) -> list[str]:
        """n texts from the model, the same for the same weights and seed."""
        prompt = np.tile(self.tokenizer.encode(opening(self.tokenizer)), (n, 1))
        tokens = self.model.generate(prompt, length, temperature=temperature, generator=self._stream(SAMPLE_STREAM))
        return [self.tokenizer.decode(ids) for ids in np.stack(list(tokens), axis=1)]

    def description(self) -> str:
        """What is about to be trained on what."""
        weights = sum(p.size for p in self.model.parameters())
        text = self.settings.data or DEFAULT_CORPUS
        return (
            f"{self.name}: {weights:,} parameters, {self.settings.dtype}\n"
            f"text: {text}, {self.text_length:,} characters, {self.tokenizer.vocab_size} different ones"
        )

    def _what_it_is(self) -> dict[str, Any]:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "tinygrad-nlp": __version__}
        text = {"characters": self.text_length, "sha256": self.text_hash}
        about = {"model": self.name, "config": asdict(self.config), "settings": asdict(self.settings)}
        return about | {"text": text, "versions": versions}

    def _batch_loss(self) -> Any:
        return self.model.loss(*self.sampler())

    def _stream(self, start: int) -> random.Generator:
        generator = random.Generator(self.settings.seed)
        generator.state = (self.settings.seed, start)
        return generator

    def _metrics(self, step: Step, validated: bool) -> dict[str, Any]:
        tokens = self.settings.batch_size * self.config.block_size
        line = {"step": step.number, "train_loss": step.loss, "train_bits_per_char": in_bits(step.loss)}
        if validated:
            line |= {"val_loss": self.val_loss, "val_bits_per_char": in_bits(self.val_loss)}
        line |= {"lr": step.lr, "grad_norm": step.grad_norm}
        return line | {"tokens_per_s": round(tokens / step.seconds, 1), "elapsed": round(self.elapsed, 3)}

    def _finish(self, folder: RunFolder) -> list[str]:
        samples = self.sample(3, 300, temperature=0.8)
        folder.write("samples.txt", f"\n{'─' * 80}\n".join(samples) + "\n")
        folder.write("loss.png", loss_picture(folder.read_metrics(), folder.path.name))
        return samples


def restore(
    state: dict[str, Any], path: Path, model_class: Callable[..., Any], config_class: Callable[..., Any], device: str
) -> tuple[Any, CharTokenizer]:
    """The model and tokenizer of a checkpoint's state, ready to generate; `path` is named where they do not fit."""
    model = model_class(config_class(**state["config"])).to(device=device, dtype=state["settings"]["dtype"])
    _fill(model, None, state, path)
    return model, CharTokenizer(state["characters"])


def opening(tokenizer: CharTokenizer) -> str:
    """What a text may begin with: a line end where the vocabulary has one, else its first character."""
    return "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: matrices, which decay, and biases and gains, which do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _fill(model: Any, optimizer: Any, state: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(state["model"])
        if optimizer is not None:
            optimizer.load_state_dict(state["optimizer"])
    except (TinygradError, KeyError, ValueError) as error:
        raise UserError(f"the tensors in {path} are not those of its model: {shorten(str(error), 200)}") from error


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


def _spread(windows: tuple[Any, Any], most: int) -> tuple[Any, Any]:
    """At most so many tokens' worth of windows, evenly spread over all, at least one."""
    x, y = windows
    chosen = np.linspace(0, len(x) - 1, min(len(x), max(1, most // x.shape[1]))).round().astype(int)
    return x[chosen], y[chosen]
