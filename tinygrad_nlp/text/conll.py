"""CoNLL columns: a token a line with its tag, sentences separated by blank lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nlp_kernels.errors import UserError

from tinygrad_nlp.text.labelled import file_lines
from tinygrad_nlp.text.tags import to_bio

DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class TaggedSentence:
    """Tokens w_1 … w_T and their BIO tags (E58).

    Raises UserError for different numbers of both.

    >>> text.TaggedSentence(("Ada", "wrote"), ("B-PER", "O")).tags
    ('B-PER', 'O')
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.tags):
            raise UserError(f"a sentence of {len(self.tokens)} tokens has {len(self.tags)} tags; each token has one")


def read_conll(
    path: str | os.PathLike[str], *, token: int = 0, tag: int = -1, encoding: str = "utf-8"
) -> list[TaggedSentence]:
    """The sentences of a file of columns, tags as BIO (`to_bio`).  path -> sentences

    Columns are separated by tabs in a line that has one, else by white space; `token` and `tag` say which, from 0 or
    from the end. `-DOCSTART-` lines are left out. Raises UserError for a file that cannot be read or has no sentence, a
    line without these columns and a tag that is not O, B-… or I-…, naming file and line.

    >>> sentences = text.read_conll(text.fetch("wikigold")[0])
    >>> sentences[0].tokens[:3], sentences[0].tags[:3]
    (('010', 'is', 'the'), ('B-MISC', 'O', 'O'))
    """
    found = [_sentence(rows) for rows in _blocks(path, token, tag, encoding)]
    if not found:
        raise UserError(f"{path} holds no sentence; expected a token and its tag a line, blank lines between sentences")
    return found


def _sentence(rows: list[tuple[str, str]]) -> TaggedSentence:
    tokens, tags = zip(*rows, strict=True)
    return TaggedSentence(tokens, tuple(to_bio(tags)))


def _blocks(path: str | os.PathLike[str], token: int, tag: int, encoding: str) -> Iterator[list[tuple[str, str]]]:
    """(token, tag) of the lines between two blank ones."""
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(file_lines(path, encoding), 1):
        if not line.strip() or line.startswith(DOCUMENT):
            if rows:
                yield rows
            rows = []
            continue
        rows.append(_row(line, f"{Path(path)}, line {number}", token, tag))
    if rows:
        yield rows


def _row(line: str, where: str, token: int, tag: int) -> tuple[str, str]:
    columns = line.split("\t") if "\t" in line else line.split()
    n = len(columns)
    if n < 2 or not (-n <= token < n and -n <= tag < n):
        raise UserError(
            f"{where}: {line!r} has {n} column{'s' * (n > 1)}; expected a token in column {token} and a tag in {tag}"
        )
    row = columns[token], columns[tag].strip()
    try:
        to_bio([row[1]])
    except UserError as error:
        raise UserError(f"{where}: {row[1]!r} is no tag; expected O, B-KIND or I-KIND in column {tag}") from error
    return row
