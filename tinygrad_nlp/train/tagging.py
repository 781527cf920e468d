"""Runs on sentences with a tag for every word: taggers, and what else learns from the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import no_grad, softmax
from tinygrad_nlp.text import (
    CORPORA,
    PAD,
    UNK,
    TaggedSentence,
    Vocabulary,
    entity_scores,
    padded,
    read_conll,
    spans,
    split_words,
    word_shape,
)
from tinygrad_nlp.text.registry import COLUMNS
from tinygrad_nlp.train.examples import ExamplesRun
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.settings import Settings

NO_TAG = -100  # of a step after a sentence's end
TEDDY = (  # the notes' two sentences, the same until the word after the one in question
    'He said , " Teddy Roosevelt was a great president !',
    'He said , " Teddy bears are on sale !',
)


@dataclass(frozen=True)
class TaggingSettings(Settings):
    """How a model is trained on tagged sentences."""

    data: str = option(
        "wikigold", "wikigold or btc, or a file with a token and its tag a line", kind=str, metavar="NAME|PATH"
    )
    test: str | None = option(
        None, "a file to judge by at the end (default: a tenth; of btc its part h)", kind=str, metavar="PATH"
    )
    steps: int = option(1000, "how many steps to train", low=1)
    batch_size: int = option(16, "sentences in a batch", low=1)
    lr: float = option(5e-3, "highest learning rate, reached after the warm-up", low=0)
    min_count: int = option(2, "words seen less often in the training part, in lower case, become <unk>", low=1)
    max_vocab: int = option(20_000, "at most so many words, the most frequent ones", low=1)


class SentencesRun(ExamplesRun):
    """An example is (ids of words in lower case, their shapes, ids of tags); the words are the training part's."""

    settings_class = TaggingSettings
    layout, holds, example, unit = COLUMNS, "tagged sentences", "sentence", "word"
    vocabulary: Vocabulary
    tags: tuple[str, ...]

    def read_data(self) -> dict[str, Any]:
        """Sentences as ids, in three parts."""
        parts, settings = self._parts(), self.settings
        known = (token.lower() for sentence in parts["train"] for token in sentence.tokens)
        self.vocabulary = Vocabulary.build(
            known, min_count=settings.min_count, max_size=settings.max_vocab, specials=[PAD, UNK]
        )
        kinds = sorted({tag[2:] for sentences in parts.values() for s in sentences for tag in s.tags if tag != "O"})
        if not kinds:
            raise UserError(f"{self.source()} has no entity: every tag is O, so there is nothing to learn")
        self.tags = ("O", *(f"{begin}-{kind}" for kind in kinds for begin in "BI"))
        number = {tag: i for i, tag in enumerate(self.tags)}
        self.parts = {
            name: [(*features(self.vocabulary, s.tokens), np.array([number[t] for t in s.tags])) for s in sentences]
            for name, sentences in parts.items()
        }
        return {"vocab_size": self.vocabulary.vocab_size, "n_tags": len(self.tags)}

    def _parts(self) -> dict[str, list[TaggedSentence]]:
        files, settings = self.files(), self.settings
        test = settings.test
        if test is None and (corpus := CORPORA.get(settings.data)) and corpus.test_file:
            test = str(next(path for path in files if str(path).endswith(corpus.test_file)))
        elif test is not None:
            self.settings = replace(self.settings, test=str(Path(test).resolve()))
        files = [path for path in files if test is None or path.resolve() != Path(test).resolve()]
        sentences = [sentence for path in files for sentence in read_conll(path)]
        held_out = 2 if test is None else 1
        chosen = [[sentences[i] for i in part] for part in self.tenths(len(sentences), held_out=held_out)]
        if test is not None:
            chosen.append(read_conll(test))
            files.append(Path(test))
        self.hash_data(files)
        return dict(zip(("train", "val", "test"), chosen, strict=True))

    def data_state(self) -> dict[str, Any]:
        """The words and tags."""
        return {"vocabulary": self.vocabulary.to_dict(), "tags": list(self.tags)}

    def data_description(self) -> str:
        """Sentences, kinds of entities and words."""
        kinds = ", ".join(tag[2:] for tag in self.tags[1::2])
        return f"{self.sizes()}; entities {kinds}; a vocabulary of {self.vocabulary.vocab_size:,}"


class TaggerRun(SentencesRun):
    """Judged by the F1 of whole entities (E59)."""

    predicts = True
    about = (
        "Train a {name}: every word of a sentence gets the tag of the entity it is part of, B-KIND at its beginning,\n"
        "I-KIND inside, O outside. The words are those of the training part in lower case; how a word is written goes\n"
        "in beside it."
    )
    examples = (
        "  {me} train {name} --data btc\n"
        "  {me} train {name} --data mine.conll --test held-out.conll    columns: a token a line, its tag last"
    )

    def collate(self, examples: Sequence[Any]) -> tuple[Any, ...]:
        """Words, shapes (T, B), lengths (B,), tags (T, B)."""
        words, shapes, tags = zip(*examples, strict=True)
        ids, lengths = padded(words)
        return ids, padded(shapes)[0], lengths, padded(tags, pad=NO_TAG)[0]

    def judge(self, part: str) -> dict[str, float]:
        """Mean loss in nats per word; precision, recall and F1 over entities (E59)."""
        total, n, guessed, given = 0.0, 0, [], []
        for examples in self.batches_of(part):
            batch = self.collate(examples)
            real = batch[3] != NO_TAG
            words = int(real.sum())
            total, n = total + float(self.model.loss(*batch).item()) * words, n + words
            named = self.model(*batch[:3]).to("cpu").numpy().argmax(axis=-1)
            for b, length in enumerate(batch[2]):
                guessed.append([self.tags[i] for i in named[:length, b]])
                given.append([self.tags[i] for i in batch[3][:length, b]])
        scores = entity_scores(guessed, given)
        return {"loss": total / n, "precision": scores.precision, "recall": scores.recall, "f1": scores.f1}

    def results(self, train_loss: float) -> dict[str, str]:
        """Losses and F1."""
        return {
            "training": f"{train_loss:.4f} nats per word (mean of the last batches)",
            "validation": _scored(self.judged),
            "test": _scored(self.tested),
        }

    def finish(self, folder: RunFolder) -> list[str]:
        """The test; and what the model makes of two sentences that are the same up to the word in question."""
        super().finish(folder)
        say = self.predictor(self.model, self.data_state())
        with no_grad():
            samples = [say(sentence) + "\n" + self._doubt(sentence, "Teddy") for sentence in TEDDY]
        folder.write("samples.txt", "\n\n".join(samples) + "\n")
        return samples

    def _doubt(self, sentence: str, word: str) -> str:
        """The likeliest tags of one word of a sentence."""
        words = split_words(sentence)
        p = probabilities(self.model, self.vocabulary, words)[words.index(word)]
        best = sorted(zip(p.tolist(), self.tags, strict=True), reverse=True)[:3]
        return f"{word}: " + ", ".join(f"{tag} {share:.3f}" for share, tag in best)

    @classmethod
    def predictor(cls, model: Any, state: dict[str, Any]) -> Callable[[str], str]:
        """From a text to its words with entities in brackets, as [Ada Lovelace PER]."""
        vocabulary, tags = Vocabulary.from_dict(state["vocabulary"]), state["tags"]

        def predict(text: str) -> str:
            if not (words := split_words(text)):
                return ""
            named = probabilities(model, vocabulary, words).argmax(axis=-1)
            return bracketed(words, [tags[i] for i in named])

        return predict


def features(vocabulary: Vocabulary, words: Iterable[str]) -> tuple[Any, Any]:
    """Ids of the words in lower case, and their shapes.  T words -> (T,), (T,)"""
    words = list(words)
    return vocabulary.encode([word.lower() for word in words]), np.array([word_shape(word) for word in words])


def probabilities(model: Any, vocabulary: Vocabulary, words: list[str]) -> np.ndarray:
    """P(tag) of every word of one sentence (E05).  T words -> (T, K)"""
    ids, shapes = features(vocabulary, words)
    return softmax(model(ids[:, None], shapes[:, None], [len(words)]), axis=-1).to("cpu").numpy()[:, 0]


def bracketed(words: Sequence[str], tags: Sequence[str]) -> str:
    """The words in a line, entities in brackets with their kind."""
    words = list(words)
    for start, stop, kind in spans(tags):
        words[start] = "[" + words[start]
        words[stop - 1] += f" {kind}]"
    return " ".join(words)


def _scored(judged: dict[str, float]) -> str:
    return (
        f"{judged['loss']:.4f} nats per word, F1 {judged['f1']:.2%} of entities "
        f"(precision {judged['precision']:.2%}, recall {judged['recall']:.2%})"
    )
