"""Tags with start and end (E58): B-PER I-PER O, and the spans they mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nlp_kernels.errors import UserError


class Span(NamedTuple):
    """Tokens start … stop−1 are one entity of this kind.

    >>> text.Span(0, 2, "PER") == (0, 2, "PER")
    True
    """

    start: int
    stop: int
    kind: str


def to_bio(tags: Sequence[str]) -> list[str]:
    """The same entities with B- at the start of each and I- after it (E58).  T tags -> T tags

    Takes IOB1 (B- only between two entities of a kind that touch), BIO, also called IOB2, and an I- out of place, which
    starts an entity as in the CoNLL scorer. Raises UserError for a tag that is not O, B-… or I-….

    >>> text.to_bio(["I-PER", "I-PER", "B-PER", "O", "I-LOC"])
    ['B-PER', 'I-PER', 'B-PER', 'O', 'B-LOC']
    """
    out, before = [], ""
    for i, tag in enumerate(tags):
        begins, kind = _parts(tag, i)
        out.append("O" if not kind else f"{'B' if begins or kind != before else 'I'}-{kind}")
        before = kind
    return out


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities that the tags mean, from left to right (E58).  T tags -> spans

    Reads what `to_bio` takes. Raises UserError for a tag that is not O, B-… or I-….

    >>> text.spans(["B-PER", "I-PER", "O", "B-LOC"])
    [Span(start=0, stop=2, kind='PER'), Span(start=3, stop=4, kind='LOC')]
    """
    found: list[Span] = []
    for i, tag in enumerate(to_bio(tags)):
        if tag.startswith("B-"):
            found.append(Span(i, i + 1, tag[2:]))
        elif tag != "O":
            found[-1] = found[-1]._replace(stop=i + 1)
    return found


def bio_tags(entities: Iterable[tuple[int, int, str]], length: int) -> list[str]:
    """The tags of entities (start, stop, kind) in a sentence of T tokens: `spans` undone (E58).  spans, T -> T tags

    Raises UserError for an entity that is empty, lies outside 0 … T, has no kind, or overlaps another.

    >>> text.bio_tags([(0, 2, "PER")], 3)
    ['B-PER', 'I-PER', 'O']
    """
    tags = ["O"] * length
    for start, stop, kind in entities:
        if not (0 <= start < stop <= length and kind):
            raise UserError(f"the entity {(start, stop, kind)} is none of a sentence of {length} tokens")
        if any(tag != "O" for tag in tags[start:stop]):
            raise UserError(f"the entity {(start, stop, kind)} overlaps another; a token has one tag")
        tags[start:stop] = [f"B-{kind}", *[f"I-{kind}"] * (stop - start - 1)]
    return tags


def _parts(tag: str, at: int) -> tuple[bool, str]:
    """(whether it says B, the kind); no kind for O."""
    if tag == "O":
        return False, ""
    if tag[:2] not in ("B-", "I-") or len(tag) < 3:
        raise UserError(f"the tag {tag!r} (at position {at}) is not O, B-KIND or I-KIND")
    return tag[0] == "B", tag[2:]
