"""A text as tokens and back: characters (E01c), where decode(encode(s)) = s, or words (E01b), where spaces are lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp.text.one_hot import checked_ids, one_hot
from tinygrad_nlp.text.vocabulary import UNK, Vocabulary, split_words


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


class WordTokenizer:
    """One id per frequent word or mark of a text, and <unk> for the others (E01b); as CharTokenizer, but for words.

    >>> text.WordTokenizer("the", "cat").vocab_size
    3
    """

    def __init__(self, *words: str):
        """A vocabulary of <unk> and these words, in their order."""
        self.vocabulary = Vocabulary(words, specials=[UNK])

    @classmethod
    def build(cls, words: Iterable[str], *, min_count: int = 1, max_size: int | None = None) -> WordTokenizer:
        """The words seen at least `min_count` times, at most the `max_size` most frequent ones.  words -> WordTokenizer

        Raises UserError for `min_count` or `max_size` below 1.

        >>> text.WordTokenizer.build("to be or not to be".split(), min_count=2).vocabulary.tokens
        ('<unk>', 'be', 'to')
        """
        vocabulary = Vocabulary.build(words, min_count=min_count, max_size=max_size, specials=[UNK])
        return cls(*vocabulary.tokens[1:])

    @property
    def vocab_size(self) -> int:
        """V, the words and <unk>."""
        return self.vocabulary.vocab_size

    @property
    def unwritable(self) -> list[int]:
        """The ids that are no words: that of <unk>."""
        return [self.vocabulary.id(UNK)]

    def encode(self, text: str) -> NDArray[np.int64]:
        """The words of `split_words` to ids.  str of T words -> (T,)

        >>> text.WordTokenizer("the", "cat", ".").encode("the dog.")
        array([1, 0, 3])
        """
        return self.vocabulary.encode(split_words(text))

    def decode(self, ids: ArrayLike) -> str:
        """Ids to words, a space before each but marks such as a comma: pieces joined are the whole.  (T,) -> str

        Raises IndexError for an id outside 0 … V−1, DtypeError for what is no integer.

        >>> text.WordTokenizer("the", "cat", ".").decode([1, 2, 3])
        ' the cat.'
        """
        return "".join(word if word in _CLOSING else " " + word for word in self.vocabulary.decode(ids))

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold and `from_dict` takes.  -> dict

        >>> text.WordTokenizer("the", "cat").to_dict()
        {'words': ['the', 'cat']}
        """
        return {"words": list(self.vocabulary.tokens[1:])}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> WordTokenizer:
        """The tokenizer that `to_dict` described.  dict -> WordTokenizer

        Raises UserError where the dict has not what `to_dict` writes.

        >>> text.WordTokenizer.from_dict({"words": ["a"]}).encode("a b")
        array([1, 0])
        """
        if not isinstance(state.get("words"), list):
            raise UserError(f"a tokenizer of words is {{'words': […]}}, not a dict of {sorted(state)}")
        return cls(*state["words"])


_CLOSING = frozenset(".,;:!?)]}’”…")


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
