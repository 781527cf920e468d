"""Tags and spans (E58): each is the other's inverse, whatever the scheme the tags were written in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import Span, bio_tags, spans, to_bio

any_tags = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-A-B"]), max_size=12)


@st.composite
def sentences(draw):
    """(entities from left to right, length): gaps and entities in turn."""
    entities, at = [], 0
    for gap, length, kind in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from("XYZ")))):
        entities.append(Span(at + gap, at + gap + length, kind))
        at += gap + length
    return entities, at + draw(st.integers(0, 3))


@given(sentences())
def test_spans_undo_tags(sentence):
    entities, length = sentence
    tags = bio_tags(entities, length)
    assert len(tags) == length
    assert spans(tags) == entities
    assert bio_tags(reversed(entities), length) == tags


@given(any_tags)
def test_tags_undo_spans_up_to_the_scheme(tags):
    assert bio_tags(spans(tags), len(tags)) == to_bio(tags)
    assert to_bio(to_bio(tags)) == to_bio(tags)
    assert [t[1:] for t in to_bio(tags)] == [t[1:] for t in tags]


@given(sentences())
def test_iob1_means_the_same(sentence):
    """IOB1 writes B- only where an entity touches one of its kind."""
    entities, length = sentence
    bio = bio_tags(entities, length)
    touching = {b.start for a, b in pairwise(entities) if (a.stop, a.kind) == (b.start, b.kind)}
    iob1 = [tag if i in touching else tag.replace("B-", "I-") for i, tag in enumerate(bio)]
    assert to_bio(iob1) == bio
    assert spans(iob1) == entities


def test_by_hand():
    tags = ["B-PER", "I-PER", "I-LOC", "B-LOC", "I-LOC", "O", "I-PER", "O", "B-A-B"]
    assert spans(tags) == [(0, 2, "PER"), (2, 3, "LOC"), (3, 5, "LOC"), (6, 7, "PER"), (8, 9, "A-B")]
    assert spans([]) == []


@pytest.mark.parametrize("tag", ["", "B", "B-", "I-", "E-PER", "PER", "o", "b-PER"])
def test_what_is_no_tag_is_named(tag):
    with pytest.raises(UserError, match=rf"the tag '{tag}' \(at position 1\) is not O, B-KIND or I-KIND"):
        spans(["O", tag])


@pytest.mark.parametrize(
    ("entities", "words"),
    [
        ([(0, 0, "X")], "is none of a sentence of 3 tokens"),
        ([(2, 1, "X")], "is none of"),
        ([(-1, 1, "X")], "is none of"),
        ([(1, 4, "X")], "is none of"),
        ([(0, 1, "")], "is none of"),
        ([(0, 2, "X"), (1, 3, "Y")], r"\(1, 3, 'Y'\) overlaps another"),
        ([(0, 3, "X"), (1, 2, "X")], "overlaps another"),
    ],
)
def test_what_is_no_entity_is_refused(entities, words):
    with pytest.raises(UserError, match=words):
        bio_tags(entities, 3)
