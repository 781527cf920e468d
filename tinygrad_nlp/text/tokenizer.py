"""Characters as tokens (E01c): every character of a text has its own id, and decode(encode(s)) = s."""

from __future__ import annotations

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import ArrayLike, NDArray


class CharTokenizer:
    """One id per character, its rank in code point order: the index of the 1 in its one-hot vector (E01)."""

    def __init__(self, characters: str):
        """A vocabulary of the distinct characters of a string, in any order and number."""
        self.characters = "".join(sorted(set(characters)))
        self._points = _code_points(self.characters)  # (V,) ascending, so a search finds an id

    @property
    def vocab_size(self) -> int:
        """V, the number of characters."""
        return len(self.characters)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Characters to ids.  str of length T -> (T,).

        There is no unknown token: a character outside the vocabulary raises `UserError` naming it.
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
        """Ids to characters.  (T,) -> str of length T; an id outside 0 … V−1 raises `IndexError`."""
        ids = np.asarray(ids)
        if ids.size and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise IndexError(f"decode: ids must lie in 0 … {self.vocab_size - 1}, not {ids.min()} … {ids.max()}")
        return "".join(self.characters[i] for i in ids.ravel().tolist())


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
