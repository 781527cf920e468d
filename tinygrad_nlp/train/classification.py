"""Runs of a classifier of texts: batches of similar length, accuracy and confusion on texts never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import softmax
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.text import WordTokenizer, padded, read_labelled, split_words
from tinygrad_nlp.text.registry import LABELLED
from tinygrad_nlp.train.examples import ExamplesRun
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import Settings


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """How a classifier is trained."""

    data: str = option("subj", "subj or custrev, or a file with `label text` a line", kind=str, metavar="NAME|PATH")
    steps: int = option(1000, "how many steps to train", low=1)
    batch_size: int = option(32, "texts in a batch", low=1)
    lr: float = option(2e-3, "highest learning rate, reached after the warm-up", low=0)
    min_count: int = option(2, "words seen less often in the training part become <unk>", low=1)
    max_vocab: int = option(20_000, "at most so many words, the most frequent ones", low=1)


class ClassifierRun(ExamplesRun):
    """An example is (ids, class); the words are those of the training part."""

    settings_class = ClassifierSettings
    layout, holds, example, unit = LABELLED, "labelled texts", "text", "text"
    predicts = True
    about = "Train a classifier of texts: a sentence is read to its end, then its class is named."
    examples = (
        "  {me} train {name} --data custrev --cell lstm\n"
        "  {me} train {name} --data subj --cell none           the baseline: the mean of the words\n"
        "  {me} train {name} --data mine.txt --pooling last    each line a label, a space and a text"
    )

    def read_data(self) -> dict[str, Any]:
        """Texts as ids."""
        (path,), settings = self.files(), self.settings
        texts = read_labelled(path)
        self.hash_data([path])
        self.classes = texts.classes
        if len(self.classes) < 2:
            raise UserError(f"{path} has texts of the class {self.classes[0]!r} alone; training takes two or more")
        words, parts = [split_words(text) for text in texts.texts], self.tenths(len(texts))
        known = (word for i in parts[0] for word in words[i])
        self.tokenizer = WordTokenizer.build(known, min_count=settings.min_count, max_size=settings.max_vocab)
        ids = [_ids(self.tokenizer, text) for text in texts.texts]
        self.parts = {
            name: [(ids[i], texts.targets[i]) for i in part]
            for name, part in zip(("train", "val", "test"), parts, strict=True)
        }
        return {"vocab_size": self.tokenizer.vocab_size, "n_classes": len(self.classes)}

    def data_state(self) -> dict[str, Any]:
        """The words and classes."""
        return self.tokenizer.to_dict() | {"classes": list(self.classes)}

    def data_description(self) -> str:
        """Texts, classes and words."""
        return f"{self.sizes()}; {len(self.classes)} classes, a vocabulary of {self.tokenizer.vocab_size:,}"

    def collate(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        """Tokens (T, B), lengths (B,), classes (B,)."""
        ids, targets = zip(*examples, strict=True)
        return *padded(ids), np.array(targets)

    def judge(self, part: str) -> dict[str, float]:
        """Mean loss in nats per text and accuracy (E59); counts what is taken for what."""
        total = 0.0
        self.confusion = np.zeros((len(self.classes),) * 2, int)  # rows: the true class; columns: the one named
        for examples in self.batches_of(part):
            tokens, lengths, targets = self.collate(examples)
            logits = self.model(tokens, lengths).to("cpu").numpy()
            total += float(F.cross_entropy(logits, targets, reduction="sum").item())
            np.add.at(self.confusion, (targets, logits.argmax(axis=-1)), 1)
        n = self.confusion.sum()
        return {"loss": total / n, "accuracy": float(self.confusion.trace() / n)}

    def results(self, train_loss: float) -> dict[str, str]:
        """Losses, accuracy and confusion."""
        right, of = self.confusion.trace(), self.confusion.sum()
        rows = [
            f"{name}: " + ", ".join(f"{n} as {other}" for n, other in zip(row, self.classes, strict=True))
            for name, row in zip(self.classes, self.confusion, strict=True)
        ]
        return {
            "training": f"{train_loss:.4f} nats per text (mean of the last batches)",
            "validation": f"{self.val_loss:.4f} nats per text, accuracy {self.judged['accuracy']:.2%}",
            "test": f"{self.tested['loss']:.4f} nats per text, accuracy {right / of:.2%} ({right:,} of {of:,} texts)",
            "confusion": "; ".join(rows),
        }

    def finish(self, folder: RunFolder) -> list[str]:
        """The test; its confusion counts, true classes by those named."""
        super().finish(folder)
        counts = {"classes": list(self.classes), "counts": self.confusion.tolist()}
        folder.write("confusion.json", json.dumps(counts) + "\n")
        return []

    @classmethod
    def predictor(cls, model: Any, state: dict[str, Any]) -> Callable[[str], str]:
        """From a text to a line: the class, its probability, the text, with tabs between."""
        tokenizer = WordTokenizer.from_dict(state)

        def predict(text: str) -> str:
            p = softmax(model(*padded([_ids(tokenizer, text)])), axis=-1).to("cpu").numpy()[0]
            best = int(p.argmax())
            return f"{state['classes'][best]}\t{p[best]:.3f}\t{text}"

        return predict


def _ids(tokenizer: WordTokenizer, text: str) -> Any:
    """A text's ids, at least one: some texts are empty."""
    return tokenizer.vocabulary.encode(split_words(text) or ["<unk>"])
