"""Measures (E59): counts by hand, the definitions by other ways, and what a measure of nothing is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError

from tinygrad_nlp.text import Scores, accuracy, entity_scores, perplexity, spans

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
pairs = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8), max_size=4)


@pytest.mark.parametrize(
    ("predicted", "gold", "counts"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", (2, 2, 2)),
        ("B-PER O O B-LOC", "B-PER I-PER O B-LOC", (1, 2, 2)),  # an end too early
        ("B-PER I-PER I-PER O", "B-PER I-PER O O", (0, 1, 1)),  # too late
        ("B-LOC I-LOC O O", "B-PER I-PER O O", (0, 1, 1)),  # another kind
        ("B-PER B-PER O O", "B-PER I-PER O O", (0, 2, 1)),  # one cut in two
        ("O O O O", "B-PER I-PER O O", (0, 0, 1)),
        ("O B-PER O O", "O O O O", (0, 1, 0)),
        ("O I-PER I-PER O", "O B-PER I-PER O", (1, 1, 1)),  # I- starts an entity, as in the CoNLL scorer
        ("I-PER I-LOC O O", "B-PER B-LOC O O", (2, 2, 2)),
    ],
)
def test_entities_by_hand(predicted, gold, counts):
    assert entity_scores([predicted.split()], [gold.split()]) == Scores(*counts)


def test_the_example_of_seqeval():
    """Its README: of two entities one is found with its borders: 0.50 each."""
    gold = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    scores = entity_scores(predicted, gold)
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)
    assert entity_scores(predicted, gold, kind="PER").f1 == 1
    assert entity_scores(predicted, gold, kind="MISC").f1 == 0


@given(pairs)
def test_scores_are_those_of_the_sets_of_all_entities(sentences):
    predicted, gold = ([[pair[i] for pair in sentence] for sentence in sentences] for i in (0, 1))
    found, there = ({(n, *span) for n, tags in enumerate(x) for span in spans(tags)} for x in (predicted, gold))
    scores = entity_scores(predicted, gold)
    assert scores == Scores(len(found & there), len(found), len(there))
    assert entity_scores(gold, predicted) == Scores(scores.correct, scores.gold, scores.predicted)
    kinds = [entity_scores(predicted, gold, kind=kind) for kind in ("PER", "LOC")]
    assert sum(k.correct for k in kinds) == scores.correct
    assert sum(k.gold for k in kinds) == scores.gold
    assert entity_scores(gold, gold).f1 == (1 if there else 0)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_f1_is_the_harmonic_mean(correct, more_predicted, more_gold):
    scores = Scores(correct, correct + more_predicted, correct + more_gold)
    p, r = scores.precision, scores.recall
    assert scores.f1 == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    assert min(p, r) <= scores.f1 * (1 + 1e-12)


def test_different_numbers_of_sentences_or_tags_are_named():
    with pytest.raises(ShapeError, match="1 sentences predicted, 2 given"):
        entity_scores([["O"]], [["O"], ["O"]])
    with pytest.raises(ShapeError, match="sentence 1 has 2 predicted tags and 1 given ones"):
        entity_scores([["O"], ["O", "O"]], [["O"], ["O"]])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-100, 0, 1, 2, 3])), min_size=1))
def test_accuracy_counts_what_is_not_ignored(rows):
    predicted, target = (np.array(column) for column in zip(*rows, strict=True))
    counted = [p == t for p, t in rows if t != -100]
    got = accuracy(predicted, target)
    assert math.isnan(got) if not counted else got == sum(counted) / len(counted)
    assert accuracy(target, target, ignore_index=7) == 1


def test_accuracy_refuses_to_broadcast():
    with pytest.raises(ShapeError, match=r"\(2, 1\) and targets \(2,\)"):
        accuracy([[1], [2]], [1, 2])


@given(st.integers(1, 10**6))
def test_perplexity_of_equally_likely_tokens_is_their_number(n):
    assert perplexity(-math.log(1 / n)) == pytest.approx(n)


def test_perplexity_of_what_is_no_cross_entropy():
    assert perplexity(0) == 1
    assert perplexity(1e6) == perplexity(math.inf) == math.inf
    for bad in (-0.1, math.nan):
        with pytest.raises(ValueError, match="is not negative, got"):
            perplexity(bad)
