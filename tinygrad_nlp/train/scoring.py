"""Runs of the scorer of windows: how often a true window scores higher than a corrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import padded
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.tagging import SentencesRun, TaggingSettings

CORRUPTION_STREAM, JUDGE_STREAM = 2**60, 2**59  # where the other words of training and judging begin


@dataclass(frozen=True)
class ScoringSettings(TaggingSettings):
    """How a scorer is trained."""

    steps: int = option(2000, "how many steps to train", low=1)
    lr: float = option(3e-3, "highest learning rate, reached after the warm-up", low=0)


class ScorerRun(SentencesRun):
    """The other words are drawn from the training part, frequent ones often; the tags are not looked at."""

    settings_class = ScoringSettings
    unit = "window"
    about = (
        "Train a scorer of windows: a window of the text scores higher than the same window with another word in its\n"
        "middle. Needs no tags, and reads the files of the taggers."
    )
    examples = "  {me} train {name} --data btc --criterion logistic"

    def read_data(self) -> dict[str, Any]:
        """The sentences, and all words of the training part to draw from."""
        found = super().read_data()
        self.pool = tuple(np.concatenate([s[i] for s in self.parts["train"]]) for i in (0, 1))
        return {"vocab_size": found["vocab_size"]}

    def prepare(self) -> None:
        """Batches, and the stream of other words."""
        super().prepare()
        self.others = self.stream(CORRUPTION_STREAM)

    @property
    def cursor(self) -> Any:
        """Where batches and other words stand in their streams."""
        return {"batches": self.sampler.generator.state, "others": self.others.state}

    @cursor.setter
    def cursor(self, value: Any) -> None:
        self.sampler.generator.state, self.others.state = tuple(value["batches"]), tuple(value["others"])

    def collate(self, examples: Sequence[Any], generator: Generator | None = None) -> tuple[Any, ...]:
        """Words, shapes (T, B), lengths (B,), other words and their shapes (T, B)."""
        words, shapes, _ = zip(*examples, strict=True)
        ids, lengths = padded(words)
        drawn = np.asarray((generator or self.others).integers(0, len(self.pool[0]), ids.shape))
        return ids, padded(shapes)[0], lengths, (self.pool[0][drawn], self.pool[1][drawn])

    def judge(self, part: str) -> dict[str, float]:
        """Mean loss per window, and the share of windows that score higher than their corruption."""
        total, n, won, generator = 0.0, 0, 0.0, self.stream(JUDGE_STREAM)  # the same corruptions each time
        for examples in self.batches_of(part):
            words, shapes, lengths, others = batch = self.collate(examples, generator)
            real = np.arange(len(words))[:, None] < lengths
            here = int(real.sum())
            total, n = total + float(self.model.loss(*batch).item()) * here, n + here
            s = self.model(words, shapes, lengths).to("cpu").numpy()[real]
            corrupted = self.model(words, shapes, lengths, others).to("cpu").numpy()[real]
            won += float((s > corrupted).sum() + 0.5 * (s == corrupted).sum())  # a word may be drawn as its own other
        return {"loss": total / n, "accuracy": won / n}

    def results(self, train_loss: float) -> dict[str, str]:
        """Losses, and how often the true window wins."""
        val, test = (f"{d['loss']:.4f} per window, {d['accuracy']:.2%} beat theirs" for d in (self.judged, self.tested))
        training = f"{train_loss:.4f} per window (mean of the last batches)"
        return {"training": training, "validation": val, "test": test}
