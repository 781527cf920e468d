"""How a word is written: what is lost where words are counted in lower case."""

from __future__ import annotations

SHAPES = ("<pad>", "lower", "Title", "UPPER", "mIxed", "digits", "marks")


def word_shape(word: str) -> int:
    """The index in `SHAPES` of how a word is written (Collobert et al. 2011, section 3.3).  str -> 1 … 6

    "Title" is one capital and no other, "UPPER" two or more letters that are all capitals; "digits" has a digit and no
    letter, "marks" neither.

    >>> [text.SHAPES[text.word_shape(word)] for word in ["Teddy", "NATO", "bears", "McCoy", "1,250", ","]]
    ['Title', 'UPPER', 'lower', 'mIxed', 'digits', 'marks']
    """
    letters = [c for c in word if c.isalpha()]
    capitals = sum(c.isupper() for c in letters)
    if not letters:
        kind = "digits" if any(c.isdigit() for c in word) else "marks"
    elif not capitals:
        kind = "lower"
    elif capitals == len(letters) > 1:
        kind = "UPPER"
    else:
        kind = "Title" if capitals == 1 and word[0].isupper() else "mIxed"
    return SHAPES.index(kind)
