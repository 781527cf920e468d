"""What runs on many short examples share: a corpus of one layout, three parts, batches of similar length, judging."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import no_grad
from tinygrad_nlp.text import CORPORA, BucketSampler, fetch, random_parts
from tinygrad_nlp.train.run import DATA_STREAM, Run
from tinygrad_nlp.train.run_folder import RunFolder

EVALUATION_BATCH = 64


class ExamplesRun(Run):
    """A run on examples, tuples whose first part is as long as the example.

    A subclass reads them (`read_data`, which sets `parts`), makes a batch of some (`collate`) and says how good the
    model is on a part (`judge`). "train" is trained on, "val" judged during training, "test" once, at the end.
    """

    layout: ClassVar[str]  # of the corpora that it takes
    holds: ClassVar[str]  # what these have, in words
    example: ClassVar[str]  # what one example is
    parts: dict[str, list[Any]]

    def collate(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments of the model's `loss` for a batch."""
        raise NotImplementedError

    def judge(self, part: str) -> dict[str, float]:
        """The mean "loss" over a part and, beside it, what a person asks for."""
        raise NotImplementedError

    @classmethod
    def corpora(cls) -> list[str]:
        """The names that `--data` takes."""
        return [name for name, corpus in CORPORA.items() if corpus.format == cls.layout]

    @classmethod
    def fetch_data(cls, data: str | None, *, quiet: bool) -> None:
        """Get the corpus if it is one."""
        if data in CORPORA and not Path(data).exists():
            if data not in cls.corpora():
                raise UserError(f"the corpus {data!r} has no {cls.holds}; {' and '.join(cls.corpora())} have")
            fetch(data, quiet=quiet)

    def files(self) -> list[Path]:
        """The files of `settings.data`: a corpus's, those of a folder in the order of their names, or the one named."""
        data = Path(self.settings.data)
        if str(data) in self.corpora() and not data.exists():
            return fetch(str(data), quiet=True)
        self.settings = replace(self.settings, data=str(data.resolve()))  # a run may go on from another folder
        if not data.is_dir():
            return [data]
        if not (files := sorted(path for path in data.iterdir() if path.is_file() and path.name[0] != ".")):
            raise UserError(f"the folder {data} has no files; expected {self.holds}")
        return files

    def hash_data(self, files: Sequence[Path]) -> None:
        """Set `data_hash`, of what is in each file; the files have been read."""
        each = (hashlib.sha256(path.read_bytes()).digest() for path in files)
        self.data_hash = hashlib.sha256(b"".join(each)).hexdigest()

    def source(self) -> str:
        """The data's name."""
        return self.settings.data

    def data_summary(self) -> dict[str, Any]:
        """The sizes of the parts, and the hash."""
        return {part: len(examples) for part, examples in self.parts.items()} | {"sha256": self.data_hash}

    def tenths(self, n: int, *, held_out: int = 2) -> tuple[Any, ...]:
        """`random_parts` of n examples; `UserError` naming the data where they are too few."""
        if n < 10:
            raise UserError(f"{self.source()} has {n} {self.example}s; training takes 10 or more")
        return random_parts(n, held_out=held_out)

    def sizes(self) -> str:
        """How many examples each part has, in words."""
        train, val, test = (f"{len(self.parts[part]):,}" for part in ("train", "val", "test"))
        return f"{self.source()}, {train} {self.example}s, {val} for validation, {test} for the test"

    def prepare(self) -> None:
        """Batches of examples of similar length."""
        lengths = [len(example[0]) for example in self.parts["train"]]
        self.sampler = BucketSampler(lengths, self.settings.batch_size, self.stream(DATA_STREAM))
        self.judged: dict[str, float] = {}
        self.tested: dict[str, float] = {}

    def draw(self) -> tuple[Any, ...]:
        """The next batch, as `collate` makes it."""
        chosen = [self.parts["train"][i] for i in self.sampler()]
        self.tokens = sum(len(example[0]) for example in chosen)
        return self.collate(chosen)

    def batches_of(self, part: str) -> Iterator[list[Any]]:
        """The examples of a part, side by side with others of their length; within, nothing is recorded or drawn."""
        self.model.eval()
        examples = sorted(self.parts[part], key=lambda example: len(example[0]))
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for at in range(0, len(examples), EVALUATION_BATCH):
                yield examples[at : at + EVALUATION_BATCH]

    def evaluate(self) -> float:
        """The mean loss over the validation part."""
        self.judged = self.judge("val")
        return self.judged["loss"]

    def measures(self, part: str, loss: float) -> dict[str, float]:
        """What `judge` says of the validation part beside the loss."""
        beside = self.judged if part == "val" else {}
        return {f"{part}_{name}": value for name, value in beside.items() if name != "loss"}

    def finish(self, folder: RunFolder) -> list[str]:
        """The test, once."""
        self.tested = self.judge("test")
        return []
