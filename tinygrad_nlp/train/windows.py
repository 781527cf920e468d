"""Runs of a language model that sees windows of characters, as a GPT does: random ones to train on, all in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp import no_grad
from tinygrad_nlp.text import CharTokenizer, WindowSampler, consecutive_windows, split_tokens
from tinygrad_nlp.train.language_model import LanguageModelRun
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.run import DATA_STREAM
from tinygrad_nlp.train.settings import Settings

EVALUATION_TOKENS = 4096  # in one batch: enough to keep matrix products busy in little memory


@dataclass(frozen=True)
class WindowSettings(Settings):
    """How a language model is trained on windows."""

    batch_size: int = option(12, "windows in a batch", low=1)
    eval_tokens: int = option(20_000, "characters of the validation part to judge by, at most", low=1)


class WindowRun(LanguageModelRun):
    """The last tenth of the text is for validation; batches are windows of `block_size` characters of the rest."""

    settings_class, fixed_shapes = WindowSettings, True
    about = "Train a character-level {NAME} on a text: a few minutes on two cores with the defaults."
    examples = (
        "  {me} train {name} --data book.txt --layers 6 --width 192 --dropout 0.1\n"
        "  {me} train {name} --steps 500 --out try --seed 7\n"
        "  {me} train {name} --resume try --steps 1000"
    )

    def read_data(self) -> dict[str, Any]:
        """The text as characters."""
        text = self.read_text()
        self.tokenizer: CharTokenizer = CharTokenizer(text)
        self.ids = self.tokenizer.encode(text)
        return {"vocab_size": self.tokenizer.vocab_size}

    def prepare(self) -> None:
        """Split, and cut into windows."""
        settings, block_size = self.settings, self.config.block_size
        train, held_out = split_tokens(self.ids, block_size)
        self.sampler = WindowSampler(train, block_size, settings.batch_size, self.stream(DATA_STREAM))
        self.validation = _spread(consecutive_windows(held_out, block_size), settings.eval_tokens)
        self.tokens, self.val_tokens = settings.batch_size * block_size, self.validation[1].size

    def draw(self) -> tuple[Any, ...]:
        """Random windows, and what follows each of their characters."""
        return self.sampler()

    def evaluate(self) -> float:
        """Mean loss in nats per character over the validation windows."""
        self.model.eval()
        x, y = self.validation
        rows = max(1, EVALUATION_TOKENS // x.shape[1])
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            parts = [(x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows)]
            return sum(float(self.model.loss(*part).item()) * part[1].size for part in parts) / y.size


def _spread(windows: tuple[Any, Any], most: int) -> tuple[Any, Any]:
    """At most so many tokens' worth of windows, evenly spread over all, at least one."""
    x, y = windows
    chosen = np.linspace(0, len(x) - 1, min(len(x), max(1, most // x.shape[1]))).round().astype(int)
    return x[chosen], y[chosen]
