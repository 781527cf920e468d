"""A classifier of texts (E28 many to one): a whole sentence is read before one class is named.

    e_t = drop(E[x_t])                                   (E02, E16)
    h_t = cell(e_t, h_{t−1}), and from the end backwards (E17, E24, E25; both directions E26; stacked E27)
    s = [h→_T; h←_1], or max_t h_t, or mean_t h_t        each sentence within its own length
    logits = drop(s) Wᵀ + b                              (E12)
    L = −(1/B) Σ log softmax(logits)[class]              (E06)

The baseline has no cell: s = mean_t e_t (E16d), which the order of the words cannot change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import Tensor, concat, nn, where
from tinygrad_nlp import max as tensor_max
from tinygrad_nlp import sum as tensor_sum
from tinygrad_nlp.train.options import Options, option

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class ClassifierConfig(Options):
    """The size of a classifier."""

    vocab_size: int
    n_classes: int
    cell: str = option("gru", "what reads the words; none: the mean of their vectors", choices=("none", *CELLS))
    directions: int = option(2, "1: forwards, 2: backwards too", low=1, high=2)
    n_layer: int = option(1, "recurrent layers on top of each other", flag="--layers", low=1)
    width: int = option(100, "features of a word", low=1)
    hidden: int = option(100, "features of a layer's state in one direction", low=1)
    pooling: str = option(
        "max", "of a sentence: its last states, or the max or mean over them", choices=("last", "max", "mean")
    )
    dropout: float = option(0.5, "probability to drop a feature in training", low=0, high=0.99)


class Classifier(nn.Module):
    """The model of the module's equations.  tokens (T, B), lengths (B,) -> logits (B, C)"""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.vocab_size, config.width)
        size = config.width
        if config.cell != "none":
            both = config.directions == 2
            self.rnn = CELLS[config.cell](
                size, config.hidden, config.n_layer, dropout=config.dropout, bidirectional=both
            )
            size = config.hidden * config.directions
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(size, config.n_classes)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, tokens: Any, lengths: Any) -> Tensor:
        """Logits of the classes; of sentence b the first `lengths[b]` tokens count.  (T, B), (B,) -> (B, C)

        Raises `ShapeError` for tokens that are not (T, B) or lengths that are not (B,), `IndexError` for a length
        outside 1 … T.
        """
        shape, n = np.shape(tokens), np.asarray(lengths)
        if len(shape) != 2 or n.shape != shape[1:]:
            raise ShapeError(f"Classifier: tokens {shape} and lengths {n.shape} must be (T, B), time first, and (B,)")
        if n.min() < 1 or n.max() > shape[0]:
            raise IndexError(f"Classifier: lengths from {n.min()} to {n.max()}, expected 1 to {shape[0]} steps")
        h = self.drop(self.table(tokens))  #                                     (T, B, D)
        if self.config.cell == "none":
            return self.output(self.drop(self._pooled(h, n, "mean")))
        h, state = self.rnn(h, lengths=n)  #                                     (T, B, directions · H)
        if self.config.pooling == "last":
            last = state[0] if isinstance(state, tuple) else state  #            (L · directions, B, H)
            s = concat([last[i] for i in range(-self.config.directions, 0)], axis=-1)
        else:
            s = self._pooled(h, n, self.config.pooling)
        return self.output(self.drop(s))

    def _pooled(self, h: Tensor, lengths: Any, how: str) -> Tensor:
        """max_t or mean_t over the steps within each length.  (T, B, F) -> (B, F)"""
        real = (np.arange(h.shape[0])[:, None] < lengths)[:, :, None]  #         (T, B, 1)
        real = Tensor(real).to(h.device)
        if how == "max":
            return tensor_max(where(real, h, -np.inf), axis=0)
        n = Tensor(lengths[:, None].astype(h.dtype)).to(h.device)
        return tensor_sum(where(real, h, 0.0), axis=0) / n

    def loss(self, tokens: Any, lengths: Any, targets: Any) -> Tensor:
        """Mean of −log P(class) in nats per text (E06).  (T, B), (B,), (B,) -> ()"""
        return nn.functional.cross_entropy(self(tokens, lengths), targets)
