"""Runs of a classifier of texts: batches of similar length, accuracy and confusion on texts never trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import no_grad
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.text import CORPORA, BucketSampler, WordTokenizer, fetch, padded, read_labelled, split_words
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.run import DATA_STREAM, Run
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import Settings

SPLIT_STREAM = 2**61  # where the choice of the validation texts begins in the seed's stream
VALIDATION = 0.1
EVALUATION_BATCH = 64
LABELLED = [name for name, corpus in CORPORA.items() if corpus.format == CORPORA["subj"].format]


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """How a classifier is trained."""

    data: str = option(
        "subj", f"{' or '.join(LABELLED)}, or a file with `label text` a line", kind=str, metavar="NAME|PATH"
    )
    steps: int = option(1000, "how many steps to train", low=1)
    batch_size: int = option(32, "texts in a batch", low=1)
    lr: float = option(2e-3, "highest learning rate, reached after the warm-up", low=0)
    min_count: int = option(2, "words seen less often in the training part become <unk>", low=1)
    max_vocab: int = option(20_000, "at most so many words, the most frequent ones", low=1)


class ClassifierRun(Run):
    """A random tenth of the texts, which the seed decides, is for validation; the words are those of the others."""

    settings_class = ClassifierSettings
    unit = "text"
    about = "Train a classifier of texts: a sentence is read to its end, then its class is named."
    examples = (
        "  {me} train {name} --data custrev --cell lstm\n"
        "  {me} train {name} --data subj --cell none           the baseline: the mean of the words\n"
        "  {me} train {name} --data mine.txt --pooling last    each line a label, a space and a text"
    )

    @classmethod
    def fetch_data(cls, data: str | None, *, quiet: bool) -> None:
        """Get the corpus if it is one."""
        if data in CORPORA and not Path(data).exists():
            if data not in LABELLED:
                raise UserError(f"the corpus {data!r} has no labelled texts; {' and '.join(LABELLED)} have")
            fetch(data, quiet=quiet)

    def read_data(self) -> dict[str, Any]:
        """Texts as ids, split by the seed."""
        settings, data = self.settings, Path(self.settings.data)
        if str(data) in LABELLED and not data.exists():
            (data,) = fetch(str(data), quiet=True)
        else:
            self.settings = replace(settings, data=str(data.resolve()))  # a run may go on from another folder
        texts = read_labelled(data)
        self.data_hash, self.classes = hashlib.sha256(data.read_bytes()).hexdigest(), texts.classes
        held = int(len(texts) * VALIDATION)
        if held < 1 or len(self.classes) < 2:
            raise UserError(
                f"{data} has {len(texts)} texts of {len(self.classes)} classes; training takes 10 of 2 or more"
            )
        order, words = self.stream(SPLIT_STREAM).permutation(len(texts)), [split_words(t) for t in texts.texts]
        known = (word for i in order[held:] for word in words[i])
        self.tokenizer = WordTokenizer.build(known, min_count=settings.min_count, max_size=settings.max_vocab)
        ids = [self.tokenizer.vocabulary.encode(w or ["<unk>"]) for w in words]  # some texts are empty
        self.train_part, self.val_part = (
            ([ids[i] for i in part], texts.targets[part]) for part in (order[held:], order[:held])
        )
        return {"vocab_size": self.tokenizer.vocab_size, "n_classes": len(self.classes)}

    def source(self) -> str:
        """The data's name."""
        return self.settings.data

    def data_state(self) -> dict[str, Any]:
        """The words and classes."""
        return self.tokenizer.to_dict() | {"classes": list(self.classes)}

    def data_summary(self) -> dict[str, Any]:
        """Classes, parts and hash."""
        parts = {"training": len(self.train_part[1]), "validation": len(self.val_part[1])}
        return {"classes": list(self.classes), **parts, "sha256": self.data_hash}

    def data_description(self) -> str:
        """Texts, classes and words."""
        return (
            f"{self.source()}, {len(self.train_part[1]):,} texts and {len(self.val_part[1]):,} for validation, "
            f"{len(self.classes)} classes, a vocabulary of {self.tokenizer.vocab_size:,}"
        )

    def prepare(self) -> None:
        """Batches of texts of similar length."""
        lengths = [len(ids) for ids in self.train_part[0]]
        self.sampler = BucketSampler(lengths, self.settings.batch_size, self.stream(DATA_STREAM))
        self.confusion = np.zeros((len(self.classes),) * 2, int)  # rows: the true class; columns: the one named

    def batch_loss(self) -> Any:
        """The loss of the next batch."""
        chosen = self.sampler()
        x, lengths = padded([self.train_part[0][i] for i in chosen])
        self.tokens = int(lengths.sum())
        return self.model.loss(x, lengths, self.train_part[1][chosen])

    def evaluate(self) -> float:
        """Mean loss in nats per text over the validation part; counts what is taken for what."""
        self.model.eval()
        ids, targets = self.val_part
        order, total = np.argsort([len(i) for i in ids], kind="stable"), 0.0
        self.confusion[...] = 0
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for at in range(0, len(order), EVALUATION_BATCH):
                part = order[at : at + EVALUATION_BATCH]
                logits = self.model(*padded([ids[i] for i in part]))
                total += float(F.cross_entropy(logits, targets[part]).item()) * len(part)
                np.add.at(self.confusion, (targets[part], logits.numpy().argmax(axis=-1)), 1)
        return total / len(order)

    def measures(self, part: str, loss: float) -> dict[str, float]:
        """The accuracy on the validation part (E59)."""
        return {"val_accuracy": float(self.confusion.trace() / self.confusion.sum())} if part == "val" else {}

    def results(self, train_loss: float) -> dict[str, str]:
        """Losses, accuracy and confusion."""
        right, of = self.confusion.trace(), self.confusion.sum()
        rows = [
            f"{name}: " + ", ".join(f"{n} as {other}" for n, other in zip(row, self.classes, strict=True))
            for name, row in zip(self.classes, self.confusion, strict=True)
        ]
        return {
            "training": f"{train_loss:.4f} nats per text (mean of the last batches)",
            "validation": f"{self.val_loss:.4f} nats per text, accuracy {right / of:.2%} ({right:,} of {of:,} texts)",
            "confusion": "; ".join(rows),
        }

    def finish(self, folder: RunFolder) -> list[str]:
        """The confusion counts, true classes by those named."""
        counts = {"classes": list(self.classes), "counts": self.confusion.tolist()}
        folder.write("confusion.json", json.dumps(counts) + "\n")
        return []
