"""Where a training text comes from: a UTF-8 file, a corpus of the registry, or the reference every CPython carries."""

from __future__ import annotations

import difflib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from nlp_kernels.errors import UserError

from tinygrad_nlp.text.registry import CORPORA, PLAIN, fetch

DEFAULT_CORPUS = "Python language reference (pydoc_data.topics)"


def load_text(path: str | os.PathLike[str] | None = None) -> str:
    """A text by its path or a corpus's name; without either, several hundred kB of English.  -> str

    A path that exists wins over a name. The files of a corpus, and those within a zip, are joined in the order of their
    names by an empty line; one of them that is not UTF-8 is read as Latin-1, as NLTK does. The default needs no
    download: it joins the topics of CPython's `pydoc_data` in the order of their names, the same text for the same
    Python version. A byte order mark is dropped and line ends become `\\n`, as Python's own text files do. Raises
    UserError for a path that is missing, unreadable, empty, or not UTF-8 (naming the byte offset), for a corpus that is
    no plain text, and as `fetch` does.

    >>> text.load_text("gutenberg")[:20]
    '[Emma by Jane Austen'
    """
    if path is None:
        from pydoc_data.topics import topics

        return "\n".join(topics[name] for name in sorted(topics))
    if names_text(path):
        return "\n\n".join(_lines_ended(_decoded(raw)).strip("\n") for raw in _contents(fetch(str(path)))) + "\n"
    raw = _read(path)
    try:
        text = _lines_ended(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{str(path)!r} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start:,} ({error.reason}); "
            "convert it to UTF-8 first"
        ) from error
    if not text:
        raise UserError(f"the text {str(path)!r} is empty; name a file with some text in it")
    return text


def names_text(data: str | os.PathLike[str] | None) -> bool:
    """Whether this is the name of a plain-text corpus, and not a path that exists.  -> bool

    Raises UserError for the name of a corpus that is no plain text.

    >>> text.names_text("inaugural"), text.names_text("book.txt"), text.names_text(None)
    (True, False, False)
    """
    if data is None or str(data) not in CORPORA or Path(data).exists():
        return False
    if (layout := CORPORA[str(data)].format) != PLAIN:
        plain = ", ".join(name for name, corpus in CORPORA.items() if corpus.format == PLAIN)
        raise UserError(f"the corpus {str(data)!r} is no plain text ({layout}); plain texts are {plain}")
    return True


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        near = difflib.get_close_matches(str(path), CORPORA, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"cannot read the text {str(path)!r}: {error.strerror}, and no corpus has this name; {guess}"
            "`tinygrad-nlp data list` shows them"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read the text {str(path)!r}: {error.strerror or error}") from error


def _contents(paths: list[Path]) -> Iterator[bytes]:
    """What is in the files, and in the text files of zips, in the order of their names."""
    for path in sorted(paths, key=lambda p: p.name):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".txt"))
        else:
            yield path.read_bytes()


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _lines_ended(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
