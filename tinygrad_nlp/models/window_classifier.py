"""The window classifier (E14): the tag of a word from the m words on each side of it, and from nothing else.

    e_t = [E[w_t]; C[shape of w_t]]                           (E02)  beyond the ends of the sentence: <pad>
    x_t = drop([e_{t−m}; …; e_t; …; e_{t+m}])                 (E16)  2m + 1 words side by side
    h_t = tanh(W₁ x_t + b₁)                                   (E12)
    logits_t = W drop(h_t) + b
    L = −(1/N) Σ_t log softmax(logits_t)[tag_t]               (E06)  mean over the N words of the batch

The gradient of x_t is cut where x_t was put together: de_i = Σ_{t: |t−i| ≤ m} the slice of dx_t that e_i filled, so a
word gets one from each window that it lies in. What `tagger` reads with a state, this sees through a window: a word
m + 1 steps away does not exist for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import Tensor, concat, nn, tanh
from tinygrad_nlp.models.tagger import WordFeatures, tag_loss
from tinygrad_nlp.train.options import Options, option


@dataclass(frozen=True)
class WindowConfig(Options):
    """The size of a window classifier."""

    vocab_size: int
    n_tags: int
    reach: int = option(2, "m: words on each side that are seen", low=0)
    width: int = option(50, "features of a word", low=1)
    shape_width: int = option(10, "features of how a word is written", low=1)
    hidden: int = option(200, "features of the hidden layer", low=1)
    dropout: float = option(0.5, "probability to drop a feature in training", low=0, high=0.99)


class WindowClassifier(nn.Module):
    """The model of the module's equations.  words (T, B), shapes (T, B), lengths (B,) -> logits (T, B, K)"""

    def __init__(self, config: WindowConfig):
        super().__init__()
        self.config = config
        self.features = WordFeatures(config.vocab_size, config.width, config.shape_width)
        self.inner = nn.Linear((2 * config.reach + 1) * self.features.size, config.hidden)  # W₁, b₁
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden, config.n_tags)

    def forward(self, words: Any, shapes: Any, lengths: Any) -> Tensor:
        """Logits of every word's tags; those after a sentence's end mean nothing.  (T, B) … -> (T, B, K)

        Raises `ShapeError` for words and shapes that are not both (T, B) or lengths that are not (B,).
        """
        words, shapes = around(words, lengths, self.config.reach), around(shapes, lengths, self.config.reach)
        x = self.drop(windows(self.features(words, shapes), self.config.reach))  # (T, B, (2m+1) D)
        h = tanh(self.inner(x))  #                                                 (T, B, H)
        return self.output(self.drop(h))

    def loss(self, words: Any, shapes: Any, lengths: Any, tags: Any) -> Tensor:
        """Mean of −log P(tag) in nats per word (E06); a tag of −100 is none.  (T, B) …, (T, B) -> ()"""
        return tag_loss(self(words, shapes, lengths), tags)


def around(ids: Any, lengths: Any, m: int) -> np.ndarray:
    """m steps of <pad> before and after every sentence, and nothing else after its end.  (T, B), (B,) -> (T + 2m, B)

    Raises `ShapeError` for ids that are not (T, B) or lengths that are not (B,).
    """
    ids, n = np.asarray(ids), np.asarray(lengths)
    if ids.ndim != 2 or n.shape != ids.shape[1:]:
        raise ShapeError(f"words {ids.shape} and lengths {n.shape} must be (T, B), time first, and (B,)")
    real = np.arange(len(ids))[:, None] < n
    return np.pad(np.where(real, ids, 0), ((m, m), (0, 0)))


def windows(e: Tensor, m: int, middle: Tensor | None = None) -> Tensor:
    """x_t = [e_{t−m}; …; e_t; …; e_{t+m}] (E14), `middle` in the place of e_t.  (T + 2m, B, D) -> (T, B, (2m+1) D)"""
    T = e.shape[0] - 2 * m
    slices = [e[i : i + T] for i in range(2 * m + 1)]  # the sequence begins with m steps that are no words
    if middle is not None:
        slices[m] = middle
    return concat(slices, axis=-1)
