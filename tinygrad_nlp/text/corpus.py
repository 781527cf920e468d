"""Where a training text comes from: any UTF-8 file, or the language reference that every CPython carries."""

from __future__ import annotations

import os
from pathlib import Path

from nlp_kernels.errors import UserError

DEFAULT_CORPUS = "Python language reference (pydoc_data.topics)"


def load_text(path: str | os.PathLike[str] | None = None) -> str:
    """The text of a UTF-8 file, or without a path several hundred kB of English that need no download.

    The default joins the topics of CPython's `pydoc_data` in the order of their names: the same text for the same
    Python version. A byte order mark is dropped and line ends become `\\n`, as Python's own text files do.
    Raises `UserError` for a file that is missing, unreadable, empty, or not UTF-8 (naming the byte offset).
    """
    if path is None:
        from pydoc_data.topics import topics

        return "\n".join(topics[name] for name in sorted(topics))
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the text {str(path)!r}: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{str(path)!r} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start:,} ({error.reason}); "
            "convert it to UTF-8 first"
        ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise UserError(f"the text {str(path)!r} is empty; name a file with some text in it")
    return text
