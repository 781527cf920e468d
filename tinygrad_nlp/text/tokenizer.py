"""Characters as tokens (E01c): every character of a text has its own id, and decode(encode(s)) = s."""

from __future__ import annotations

from typing import Any

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp.text.one_hot import checked_ids, one_hot


class CharTokenizer:
    """One id per character, its rank in code point order: the index of the 1 in its one-hot vector (E01).

    >>> text.CharTokenizer("orange").characters
    'aegnor'
    """

    def __init__(self, characters: str):
        """A vocabulary of the distinct characters of a string, in any order and number."""
        self.characters = "".join(sorted(set(characters)))
        self._points = _code_points(self.characters)  # (V,) ascending, so a search finds an id

    @property
    def vocab_size(self) -> int:
        """V, the number of characters."""
        return len(self.characters)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Characters to ids.  str of length T -> (T,)

        There is no unknown token. Raises UserError for a character outside the vocabulary, naming it.

        >>> text.CharTokenizer("orange").encode("near")
        array([3, 1, 0, 5])
        """
        points = _code_points(text)
        ids = np.searchsorted(self._points, points)
        known = ids < self.vocab_size
        known[known] = self._points[ids[known]] == points[known]
        if not known.all():
            at = int(np.argmin(known))
            raise UserError(
                f"the character {text[at]!r} (U+{ord(text[at]):04X}, at position {at}) is not among the "
                f"{self.vocab_size} characters of the training text; leave it out or train on a text that has it"
            )
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """Ids to characters.  (T,) -> str of length T

        Raises IndexError for an id outside 0 … V−1, DtypeError for what is no integer.

        >>> text.CharTokenizer("orange").decode([3, 1, 0, 5])
        'near'
        """
        return "".join(self.characters[i] for i in checked_ids("decode", ids, self.vocab_size).ravel().tolist())

    def one_hot(self, ids: ArrayLike) -> NDArray[np.float32]:
        """(o_j)_i = 1[i = j] (E01).  (…) -> (…, V)

        Raises IndexError for an id outside 0 … V−1, DtypeError for what is no integer.

        >>> text.CharTokenizer("no").one_hot([1])
        array([[0., 1.]], dtype=float32)
        """
        return one_hot(ids, self.vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold and `from_dict` takes.  -> dict

        >>> text.CharTokenizer("orange").to_dict()
        {'characters': 'aegnor'}
        """
        return {"characters": self.characters}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> CharTokenizer:
        """The tokenizer that `to_dict` described.  dict -> CharTokenizer

        Raises UserError where the dict has not what `to_dict` writes.

        >>> text.CharTokenizer.from_dict({"characters": "aegnor"}).encode("no")
        array([3, 4])
        """
        if not isinstance(state.get("characters"), str):
            raise UserError(f"a tokenizer is {{'characters': '…'}}, not a dict of {sorted(state)}")
        return cls(state["characters"])


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
