"""Runs of a generator of names: a folder with a file for each category, judged by bits and by Bayes' rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import NDArray

from tinygrad_nlp.command_line import one_of, similar
from tinygrad_nlp.text import UNK, Vocabulary, padded, read_categories
from tinygrad_nlp.text.registry import CATEGORIES
from tinygrad_nlp.train.examples import ExamplesRun
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.progress import in_bits
from tinygrad_nlp.train.run import SAMPLE_STREAM
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import Settings
from tinygrad_nlp.train.writing import Writing

SAMPLES, SHOWN, LONGEST = 5, 6, 40  # names of each category at the end, categories shown, characters of a name


@dataclass(frozen=True)
class NameSettings(Settings):
    """How a generator of names is trained."""

    data: str = option(
        "names", "names, or a folder with a file for each category, a name a line", kind=str, metavar="NAME|PATH"
    )
    steps: int = option(3000, "how many steps to train", low=1)
    batch_size: int = option(64, "names in a batch", low=1)
    lr: float = option(1e-2, "highest learning rate, reached after the warm-up", low=0)
    min_count: int = option(2, "characters seen less often in the training part become <unk>", low=1)
    eval_every: int = option(500, "steps from one validation and checkpoint to the next", low=1)


class NameRun(ExamplesRun):
    """An example is (ids of the characters and of <eos>, category); the characters are those of the training part."""

    settings_class = NameSettings
    layout, holds, example, unit = CATEGORIES, "files of categories", "name", "character"
    writes = True
    about = (
        "Train a generator of names, or of other short texts: from a category alone, character by character. A folder\n"
        "of yours has a file for each category, called as the category, with a name on each line."
    )
    examples = (
        "  {me} train {name} --data names\n"
        "  {me} train {name} --data my-folder --cell lstm --layers 2\n"
        "  {me} generate runs/{name}-001 --category Italian -n 10"
    )

    def files(self) -> list[Path]:
        """The files of `settings.data`, a category each; `UserError` where that is no folder and no such corpus."""
        data = Path(self.settings.data)
        if data.exists() and not data.is_dir():
            raise UserError(f"{data} is no folder; expected a folder with a file for each category, a name a line")
        if not data.exists() and str(data) not in self.corpora():
            guess = similar(str(data), self.corpora()) or f"there is {', '.join(self.corpora())}"
            raise UserError(f"there is no folder {data}, and no corpus of categories has this name; {guess}")
        return super().files()

    def read_data(self) -> dict[str, Any]:
        """Names as ids, in three parts; "new" are those of the test that the training part has in no category."""
        files = self.files()
        names = read_categories(files)
        self.hash_data(files)
        self.categories, parts = names.classes, self.tenths(len(names))
        known = (character for i in parts[0] for character in names.texts[i])
        self.vocabulary = Vocabulary.build(known, min_count=self.settings.min_count)
        if not set(self.vocabulary.tokens) - set(self.vocabulary.specials):
            raise UserError(f"no character is there {self.settings.min_count} times; choose a smaller --min-count")
        examples = [
            (self.vocabulary.encode(list(name), eos=True), int(k))
            for name, k in zip(names.texts, names.targets, strict=True)
        ]
        self.parts = {
            name: [examples[i] for i in part] for name, part in zip(("train", "val", "test"), parts, strict=True)
        }
        seen = {ids.tobytes() for ids, _ in self.parts["train"]}
        self.parts["new"] = [example for example in self.parts["test"] if example[0].tobytes() not in seen]
        counts = np.bincount([k for _, k in self.parts["train"]], minlength=len(self.categories)) + 1
        self.log_prior = np.log(counts / counts.sum())  # one more of each: some may have no name there
        self.suggestion = ("--category", self.categories[int(counts.argmax())])
        return {"vocab_size": self.vocabulary.vocab_size, "n_categories": len(self.categories)}

    def data_state(self) -> dict[str, Any]:
        """The characters and categories."""
        return {"vocabulary": self.vocabulary.to_dict(), "categories": list(self.categories)}

    def data_description(self) -> str:
        """Names, categories and characters."""
        held_out, unknown = np.concatenate([ids for ids, _ in self.parts["val"]]), self.vocabulary.id(UNK)
        return (
            f"{self.sizes()}; {len(self.categories)} categories, {self.vocabulary.vocab_size} different characters; "
            f"{np.mean(held_out == unknown):.1%} of the validation part is <unk>"
        )

    def collate(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        """Names (T, B), lengths (B,), categories (B,)."""
        ids, categories = zip(*examples, strict=True)
        return *padded(ids), np.array(categories)

    def judge(self, part: str) -> dict[str, float]:
        """Mean loss in nats per character, <eos> counted as one."""
        nats, characters = 0.0, 0
        for examples in self.batches_of(part):
            batch = self.collate(examples)
            nats, characters = nats - self._scores(*batch).sum(), characters + int(batch[1].sum())
        return {"loss": nats / characters}

    def worth(self, part: str) -> dict[str, float]:
        """What the category is worth: `mixture`, the loss without it, and how often Bayes' rule finds it.

        mixture = −Σ_n log Σ_k P(k) P(x_n | k) / Σ_n T_n in nats per character; `per_name` nats are what knowing the
        category saves of a name; `accuracy` is of argmax_k P(k) P(x | k), `commonest` of naming always the same.
        """
        joint, k, characters = [], [], 0
        for examples in self.batches_of(part):
            names, lengths, categories = self.collate(examples)
            each = [self._scores(names, lengths, np.full_like(categories, j)) for j in range(len(self.categories))]
            joint.append(np.stack(each, axis=1) + self.log_prior)  #               (B, C)
            k.append(categories)
            characters += int(lengths.sum())
        log_p, right = np.concatenate(joint), np.concatenate(k)  #                 (N, C), (N,)
        mixture = -np.logaddexp.reduce(log_p, axis=1)  #                           −log P(x)
        known = self.log_prior[right] - log_p[np.arange(len(right)), right]  #     −log P(x | k)
        return {
            "mixture": float(mixture.sum()) / characters,
            "per_name": float(np.mean(mixture - known)),
            "accuracy": float(np.mean(log_p.argmax(axis=1) == right)),
            "commonest": float(np.mean(right == self.log_prior.argmax())),
        }

    def _scores(self, names: Any, lengths: Any, categories: Any) -> NDArray[np.float64]:
        """log P(x | k) of a batch.  (T, B), (B,), (B,) -> (B,)"""
        return self.model.score(names, lengths, categories).to("cpu").numpy().astype(np.float64)

    def measures(self, part: str, loss: float) -> dict[str, float]:
        """Bits per character."""
        return {f"{part}_bits_per_char": in_bits(loss)}

    def results(self, train_loss: float) -> dict[str, str]:
        """Losses, and what the category is worth."""
        worth, new = self.tested, self.parts["new"]
        commonest = self.categories[int(self.log_prior.argmax())]
        return {
            "training": f"{_in_units(train_loss)} (mean of the last batches)",
            "validation": f"{_in_units(self.val_loss)} ({len(self.parts['val']):,} names)",
            "test": f"{_in_units(worth['loss'])} ({len(self.parts['test']):,} names)",
            "new names": (
                f"{_in_units(worth['new'])} ({len(new):,} of them that are not in the training part)"
                if new
                else "none: all of the test part are in the training part too"
            ),
            "category": (
                f"without it {_in_units(worth['mixture'])}; "
                f"to know it saves {in_bits(worth['per_name']):.2f} bits a name"
            ),
            "guess": (
                f"argmax P(k) P(x | k) is the category of {worth['accuracy']:.2%} of the test part "
                f"({commonest} always: {worth['commonest']:.2%})"
            ),
        }

    def finish(self, folder: RunFolder) -> list[str]:
        """The test, once; names of each category, written, and some of them shown."""
        super().finish(folder)
        self.tested |= self.worth("test") | {"new": self.judge("new")["loss"] if self.parts["new"] else np.nan}
        categories = np.repeat(np.arange(len(self.categories)), SAMPLES)
        ids = self.model.generate(categories, LONGEST, temperature=0.8, generator=self.stream(SAMPLE_STREAM))
        names = _names(self.vocabulary, ids)
        lines = [
            f"{category}: {', '.join(names[i * SAMPLES : (i + 1) * SAMPLES])}"
            for i, category in enumerate(self.categories)
        ]
        folder.write("samples.txt", "\n".join(lines) + "\n")
        return ["\n".join(lines[:SHOWN])]

    @classmethod
    def write(cls, model: Any, state: dict[str, Any], writing: Writing) -> Iterator[str]:
        """Names of the category, a line each."""
        vocabulary, categories = Vocabulary.from_dict(state["vocabulary"]), state["categories"]
        if writing.category is None:
            raise UserError(
                f"{state['name']} writes names of a category; choose one with --category: {', '.join(categories)}"
            )
        k = categories.index(one_of(writing.category, categories, "category"))
        ids = model.generate(
            [k] * (writing.number or 1), writing.length, prompt=vocabulary.encode(list(writing.prompt)),
            **writing.choice(),
        )  # fmt: skip
        yield "\n".join(writing.prompt + name for name in _names(vocabulary, ids))


def _names(vocabulary: Vocabulary, ids: Iterable[Any]) -> list[str]:
    return ["".join(vocabulary.decode(name)) for name in ids]


def _in_units(nats: float) -> str:
    return f"{nats:.4f} nats = {in_bits(nats):.4f} bits per character"
