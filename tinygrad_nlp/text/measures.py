"""How good predictions are (E59): accuracy, precision, recall and F1 over entities, perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nlp_kernels.errors import ShapeError
from numpy.typing import ArrayLike

from tinygrad_nlp.text.tags import Span, spans


@dataclass(frozen=True)
class Scores:
    """P = correct / predicted, R = correct / gold, F1 = 2PR / (P + R), from counts; 0 where a denominator is 0 (E59).

    >>> text.Scores(correct=1, predicted=2, gold=4).f1
    0.3333333333333333
    """

    correct: int
    predicted: int
    gold: int

    @property
    def precision(self) -> float:
        """Of the predicted entities, the share that is right."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Of the entities that are there, the share that was found."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean, 2 correct / (predicted + gold)."""
        return 2 * self.correct / (self.predicted + self.gold) if self.predicted + self.gold else 0.0


def accuracy(predicted: ArrayLike, target: ArrayLike, *, ignore_index: int = -100) -> float:
    """Σ 1[ŷ = y] / N over the N targets that are not `ignore_index` (E59).  (…), (…) -> from 0 to 1

    NaN where every target is ignored. Raises ShapeError for two different shapes.

    >>> text.accuracy([1, 2, 0, 5], [1, 0, 0, -100])
    0.6666666666666666
    """
    guess, truth = np.asarray(predicted), np.asarray(target)
    if guess.shape != truth.shape:
        raise ShapeError(f"accuracy: predictions {guess.shape} and targets {truth.shape} must have one shape")
    counted = truth != ignore_index
    return float((guess == truth)[counted].mean()) if counted.any() else math.nan


def entity_scores(
    predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], *, kind: str | None = None
) -> Scores:
    """Precision, recall and F1 over the entities of all sentences, or those of one kind (E59).  N × T tags -> Scores

    An entity is correct where start, end and kind are: what the CoNLL scorer and seqeval count. Raises ShapeError for
    different numbers of sentences or of tags in one (naming it), UserError for a tag that is not O, B-… or I-….

    >>> scores = text.entity_scores([["B-PER", "I-PER", "O"]], [["B-PER", "I-PER", "B-LOC"]])
    >>> scores.precision, scores.recall
    (1.0, 0.5)
    """
    if len(predicted) != len(gold):
        raise ShapeError(f"entity_scores: {len(predicted)} sentences predicted, {len(gold)} given")
    counts = np.zeros(3, int)
    for i, (guess, truth) in enumerate(zip(predicted, gold, strict=True)):
        if len(guess) != len(truth):
            raise ShapeError(f"entity_scores: sentence {i} has {len(guess)} predicted tags and {len(truth)} given ones")
        found, there = _entities(guess, kind), _entities(truth, kind)
        counts += len(found & there), len(found), len(there)
    return Scores(*counts.tolist())


def perplexity(nats: float) -> float:
    """e^L of a mean cross-entropy L per token (E19b): among how many equally likely tokens one guesses.  nats -> ≥ 1

    Infinite where e^L is beyond float64. Raises ValueError for L < 0 and NaN.

    >>> round(text.perplexity(np.log(50)), 6)
    50.0
    """
    if not nats >= 0:
        raise ValueError(f"perplexity: a mean cross-entropy is not negative, got {nats}")
    return float(np.exp(nats)) if nats < 709 else math.inf


def _entities(tags: Sequence[str], kind: str | None) -> set[Span]:
    return {span for span in spans(tags) if kind in (None, span.kind)}
