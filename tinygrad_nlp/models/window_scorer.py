"""True or corrupted (E15): a window of text scores higher than the same window with another word in its middle.

    x = [e_{t−m}; …; e_t; …; e_{t+m}],  e_i = [E[w_i]; C[shape of w_i]]     (E02, E14)
    x' = the same with e_t replaced by that of a word drawn from the text
    s = uᵀ tanh(W x + b),  s' = uᵀ tanh(W x' + b)
    margin:    J = max(0, 1 − s + s')                          ds = −1, ds' = 1 where 1 − s + s' > 0, else both 0
    logistic:  J = −log σ(s) − log σ(−s')                      (E06b, labels 1 and 0)  ds = σ(s) − 1, ds' = σ(s')

Both windows go through the same u, W and b, whose gradients add. Nothing is labelled: any text is its own supervision
(Collobert and Weston 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nlp import Tensor, nn, squeeze, tanh, where
from tinygrad_nlp import sum as tensor_sum
from tinygrad_nlp.models.tagger import WordFeatures
from tinygrad_nlp.models.window_classifier import around, windows
from tinygrad_nlp.train.options import Options, option


@dataclass(frozen=True)
class ScorerConfig(Options):
    """The size of a scorer of windows."""

    vocab_size: int
    reach: int = option(2, "m: words on each side that are seen", low=0)
    width: int = option(50, "features of a word", low=1)
    shape_width: int = option(10, "features of how a word is written", low=1)
    hidden: int = option(100, "features of the hidden layer", low=1)
    criterion: str = option("margin", "what makes a true window score higher", choices=("margin", "logistic"))


class WindowScorer(nn.Module):
    """The model of the module's equations.  words (T, B), shapes (T, B), lengths (B,), others -> s, s' (T, B)"""

    def __init__(self, config: ScorerConfig):
        super().__init__()
        self.config = config
        self.features = WordFeatures(config.vocab_size, config.width, config.shape_width)
        self.inner = nn.Linear((2 * config.reach + 1) * self.features.size, config.hidden)  # W, b
        self.output = nn.Linear(config.hidden, 1, bias=False)  #                              u

    def forward(self, words: Any, shapes: Any, lengths: Any, others: tuple[Any, Any] | None = None) -> Tensor:
        """s of the window around every word; `others` (words, shapes) stand in the middles.  (T, B) … -> (T, B)

        Scores after a sentence's end mean nothing. Raises `ShapeError` for words and shapes that are not both (T, B) or
        lengths that are not (B,).
        """
        m = self.config.reach
        e = self.features(around(words, lengths, m), around(shapes, lengths, m))  # (T + 2m, B, D)
        x = windows(e, m, None if others is None else self.features(*others))  #    (T, B, (2m+1) D)
        return squeeze(self.output(tanh(self.inner(x))), axis=-1)

    def loss(self, words: Any, shapes: Any, lengths: Any, others: tuple[Any, Any]) -> Tensor:
        """Mean of J over the true windows (E15).  (T, B) … -> ()"""
        s, corrupted = self(words, shapes, lengths), self(words, shapes, lengths, others)
        return mean_within(self.criterion(s, corrupted), lengths)

    def criterion(self, s: Tensor, corrupted: Tensor) -> Tensor:
        """J of each pair of scores (E15).  (…), (…) -> (…)"""
        if self.config.criterion == "margin":
            return nn.functional.relu(1 - s + corrupted)
        return nn.functional.softplus(-s) + nn.functional.softplus(corrupted)  # −log σ(s) − log(1 − σ(s'))


def mean_within(values: Tensor, lengths: Any) -> Tensor:
    """(1/N) Σ over the N steps within the lengths (E19).  (T, B), (B,) -> ()"""
    real = np.arange(values.shape[0])[:, None] < np.asarray(lengths)
    return tensor_sum(where(Tensor(real).to(values.device), values, 0.0)) / float(real.sum())
