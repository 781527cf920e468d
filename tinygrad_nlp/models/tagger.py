"""A tagger (E28 many to many, equal lengths): for every word of a sentence the tag of the entity it is part of (E58).

    e_t = drop([E[w_t]; C[shape of w_t]])                     (E02, E16)  the word, and how it is written
    h→_t = cell(e_t, h→_{t−1}),  h←_t = cell(e_t, h←_{t+1})   (E17, E24, E25; both directions E26; stacked E27)
    logits_t = drop([h→_t; h←_t]) Wᵀ + b                      (E18)
    L = −(1/N) Σ_t log softmax(logits_t)[tag_t]               (E06, E19)  mean over the N words of the batch

With one direction logits_t depends on w_1 … w_t alone: of "He said , Teddy" it says the same whether "Roosevelt" or
"bears" follows. With both it sees the whole sentence at every word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import Tensor, concat, nn, reshape
from tinygrad_nlp.text import SHAPES
from tinygrad_nlp.train.options import Options, option

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
PADDED = -100  # the tag of a step after a sentence's end, which no loss counts


@dataclass(frozen=True)
class TaggerConfig(Options):
    """The size of a tagger."""

    vocab_size: int
    n_tags: int
    cell: str = option("lstm", "what reads the words", choices=tuple(CELLS))
    directions: int = option(2, "1: forwards, 2: backwards too", low=1, high=2)
    n_layer: int = option(1, "recurrent layers on top of each other", flag="--layers", low=1)
    width: int = option(100, "features of a word", low=1)
    shape_width: int = option(10, "features of how a word is written", low=1)
    hidden: int = option(100, "features of a layer's state in one direction", low=1)
    dropout: float = option(0.5, "probability to drop a feature in training", low=0, high=0.99)


class WordFeatures(nn.Module):
    """e_t = [E[w_t]; C[shape_t]] (E02).  words (T, B), shapes (T, B) -> (T, B, width + shape_width)"""

    def __init__(self, vocab_size: int, width: int, shape_width: int):
        super().__init__()
        self.words, self.shapes = nn.Embedding(vocab_size, width), nn.Embedding(len(SHAPES), shape_width)
        self.size = width + shape_width
        for table in (self.words, self.shapes):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, words: Any, shapes: Any) -> Tensor:
        """Both vectors of every word.  Raises `ShapeError` for words that are not (T, B) or shapes that differ."""
        if np.ndim(words) != 2 or np.shape(words) != np.shape(shapes):
            raise ShapeError(f"words {np.shape(words)} and their shapes {np.shape(shapes)} must both be (T, B)")
        return concat([self.words(words), self.shapes(shapes)], axis=-1)


class Tagger(nn.Module):
    """The model of the module's equations.  words (T, B), shapes (T, B), lengths (B,) -> logits (T, B, K)"""

    def __init__(self, config: TaggerConfig):
        super().__init__()
        self.config = config
        self.features = WordFeatures(config.vocab_size, config.width, config.shape_width)
        self.rnn = CELLS[config.cell](
            self.features.size, config.hidden, config.n_layer,
            dropout=config.dropout, bidirectional=config.directions == 2,
        )  # fmt: skip
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden * config.directions, config.n_tags)

    def forward(self, words: Any, shapes: Any, lengths: Any) -> Tensor:
        """Logits of every word's tags; those after a sentence's end mean nothing.  (T, B) … -> (T, B, K)

        Raises `ShapeError` for words and shapes that are not both (T, B) or lengths that are not (B,).
        """
        e = self.drop(self.features(words, shapes))  #     (T, B, D)
        h, _ = self.rnn(e, lengths=lengths)  #             (T, B, directions · H)
        return self.output(self.drop(h))  #                (E18)

    def loss(self, words: Any, shapes: Any, lengths: Any, tags: Any) -> Tensor:
        """Mean of −log P(tag) in nats per word (E19); a tag of −100 is none.  (T, B) …, (T, B) -> ()"""
        return tag_loss(self(words, shapes, lengths), tags)


def tag_loss(logits: Tensor, tags: Any) -> Tensor:
    """L = −(1/N) Σ log softmax(logits)[tag] over the N tags that are not −100 (E06, E19).  (T, B, K), (T, B) -> ()"""
    flat = reshape(logits, (-1, logits.shape[-1]))
    return nn.functional.cross_entropy(flat, np.asarray(tags).reshape(-1), ignore_index=PADDED)
