"""Texts with a label each: `label text` a line, or a file for each class."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """N texts x_n and their classes y_n, 0 … C−1, with the names of the classes.

    >>> text.LabelledTexts(("ciao",), np.array([1]), ("English", "Italian")).classes[1]
    'Italian'
    """

    texts: tuple[str, ...]
    targets: NDArray[np.int64]  # (N,)
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


def read_labelled(path: str | os.PathLike[str], *, encoding: str = "latin-1") -> LabelledTexts:
    """A file with `label text` a line, as subj and custrev; classes in the order of their labels.  path -> N texts

    The text is what follows the first space, without blanks around it; it may be empty, as four of custrev are.
    Blank lines are left out. Raises UserError for a file that cannot be read, has no line, or has a line without a
    space after its label, naming file and line.

    >>> reviews = text.read_labelled(*text.fetch("custrev"))
    >>> len(reviews), reviews.classes, reviews.texts[1]
    (3775, ('0', '1'), "many of our disney movies do n 't play on this dvd player .")
    """
    rows = []
    for number, line in enumerate(file_lines(path, encoding), 1):
        if not line.strip():
            continue
        label, space, text = line.partition(" ")
        if not (label and space):
            raise UserError(f"{Path(path)}, line {number}: {line[:40]!r} is not a label, a space and a text")
        rows.append((label, text.strip(" \t")))
    if not rows:
        raise UserError(f"{path} holds no text; expected a label, a space and a text on each line")
    labels, texts = zip(*rows, strict=True)
    classes, targets = np.unique(labels, return_inverse=True)
    return LabelledTexts(texts, targets.astype(np.int64), tuple(classes.tolist()))


def read_categories(paths: Iterable[str | os.PathLike[str]], *, encoding: str = "utf-8") -> LabelledTexts:
    """A file for each class, a text a line: the names of 18 languages.  paths -> N texts

    A class is called as its file without the ending; classes are in the order of the paths. Raises UserError for no
    file, one that cannot be read, an empty class, and two files of one name.

    >>> names = text.read_categories(text.fetch("names"))
    >>> names.classes[:3], names.texts[0]
    (('Arabic', 'Chinese', 'Czech'), 'Khoury')
    """
    texts: list[str] = []
    targets: list[int] = []
    classes: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.stem in classes:
            raise UserError(f"{path} and {classes[path.stem]} are both the class {path.stem!r}; rename one")
        lines = [line.strip() for line in file_lines(path, encoding) if line.strip()]
        if not lines:
            raise UserError(f"{path} holds no text: the class {path.stem!r} is empty; leave the file out")
        targets += [len(classes)] * len(lines)
        texts += lines
        classes[path.stem] = path
    if not classes:
        raise UserError("read_categories needs at least one file")
    return LabelledTexts(tuple(texts), np.array(targets, np.int64), tuple(classes))


def file_lines(path: str | os.PathLike[str], encoding: str) -> list[str]:
    """The lines of a file, ended by \\n or \\r\\n alone; `UserError` naming the file and, of a bad byte, its line."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not {encoding}; name the file's encoding"
        ) from error
    return text.replace("\r\n", "\n").split("\n")  # not splitlines: U+0085 and U+2028 are characters of these texts
