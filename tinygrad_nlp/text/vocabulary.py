"""Words as tokens (E01b): the ones that are frequent enough have an id, the others share that of `<unk>`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp.text.one_hot import checked_ids, one_hot

PAD, UNK, BOS, EOS = SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")

_WORD = re.compile(r"\d+(?:[.,]\d+)+(?!\w)|\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """A text's words, numbers and punctuation marks, each mark for itself.  str -> list of str

    A word is letters, digits and underscores, with apostrophes inside; a number may have points and commas inside. Only
    white space is lost.

    >>> text.split_words("Don't pay $1,250.50 for state-of-the-art (1.5x)!")
    ["Don't", 'pay', '$', '1,250.50', 'for', 'state', '-', 'of', '-', 'the', '-', 'art', '(', '1', '.', '5x', ')', '!']
    """
    return _WORD.findall(text)


class Vocabulary:
    """id(w) = rank of w by count, after the special tokens; id(<unk>) for every other word (E01b).

    The special tokens come first, in the order <pad>, <unk>, <bos>, <eos>; each may be left out. Raises UserError for a
    word that is there twice, or is a special token, and for a special token that is none of the four.

    >>> vocabulary = text.Vocabulary(["the", "orange"], specials=["<pad>", "<unk>"])
    >>> vocabulary.encode(["the", "blood", "orange"])
    array([2, 1, 3])
    """

    def __init__(self, words: Iterable[str], *, specials: Iterable[str] = SPECIALS):
        wanted = tuple(specials)
        if strange := [s for s in wanted if s not in SPECIALS]:
            raise UserError(f"{strange[0]!r} is no special token; there is {', '.join(SPECIALS)}")
        self.specials = tuple(s for s in SPECIALS if s in wanted)
        self.tokens = (*self.specials, *words)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) < len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise UserError(f"the vocabulary has {twice!r} twice; each word, and each special token, stands in it once")

    @classmethod
    def build(
        cls,
        words: Iterable[str],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        specials: Iterable[str] = SPECIALS,
    ) -> Vocabulary:
        """The words seen at least `min_count` times, at most the `max_size` most frequent ones.  words -> Vocabulary

        By falling count, equals by the alphabet (code points), so that the same words in any order give the same ids;
        the special tokens come on top of `max_size` and are not counted where the words have them. Raises UserError for
        `min_count` or `max_size` below 1.

        >>> text.Vocabulary.build("to be or not to be".split(), max_size=3).tokens
        ('<pad>', '<unk>', '<bos>', '<eos>', 'be', 'to', 'not')
        """
        if min_count < 1 or (max_size is not None and max_size < 1):
            raise UserError(f"min_count and max_size of a vocabulary are at least 1, not {min_count} and {max_size}")
        counts = Counter(words)
        frequent = (word for word, n in counts.items() if n >= min_count and word not in SPECIALS)
        return cls(sorted(frequent, key=lambda word: (-counts[word], word))[:max_size], specials=specials)

    @property
    def vocab_size(self) -> int:
        """V, words and special tokens together."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def id(self, token: str) -> int:
        """The id of one token.  str -> int

        Raises UserError for a token that is not in the vocabulary where there is no <unk>.

        >>> text.Vocabulary(["a"]).id("<eos>"), text.Vocabulary(["a"]).id("z")
        (3, 1)
        """
        return int(self.encode([token])[0])

    def encode(self, words: Sequence[str], *, bos: bool = False, eos: bool = False) -> NDArray[np.int64]:
        """Words to ids, <bos> before and <eos> after them where asked for.  T words -> (T,), (T+1,) or (T+2,)

        Raises UserError for a word that is not in the vocabulary where there is no <unk>, naming it, and for a <bos> or
        <eos> that the vocabulary does not have; for a text instead of words, too.

        >>> text.Vocabulary(["a", "b"]).encode(["b", "?", "a"], bos=True)
        array([2, 5, 1, 4])
        """
        if isinstance(words, str):
            raise UserError(f"encode takes a list of words, not the text {words[:20]!r}; split it with split_words")
        unknown, wanted = self._ids.get(UNK, -1), [*[BOS] * bos, *words, *[EOS] * eos]
        ids = np.array([self._ids.get(word, unknown if word not in SPECIALS else -1) for word in wanted], np.int64)
        if ids.size and ids.min() < 0:
            at = int(np.argmin(ids))
            raise UserError(
                f"the word {wanted[at]!r} (at position {at}) is not among the {self.vocab_size} of the vocabulary; "
                + ("make the vocabulary with it" if wanted[at] in SPECIALS else "leave it out or make one with <unk>")
            )
        return ids

    def decode(self, ids: ArrayLike) -> list[str]:
        """Ids to words, special tokens too.  (T,) -> T words

        Raises IndexError for an id outside 0 … V−1, DtypeError for what is no integer.

        >>> text.Vocabulary(["a", "b"]).decode([2, 5, 1, 4])
        ['<bos>', 'b', '<unk>', 'a']
        """
        return [self.tokens[i] for i in checked_ids("decode", ids, self.vocab_size).ravel().tolist()]

    def one_hot(self, ids: ArrayLike) -> NDArray[np.float32]:
        """(o_j)_i = 1[i = j] (E01).  (…) -> (…, V)

        Raises IndexError for an id outside 0 … V−1, DtypeError for what is no integer.

        >>> text.Vocabulary(["a", "b"], specials=[]).one_hot([1, 0])
        array([[0., 1.],
               [1., 0.]], dtype=float32)
        """
        return one_hot(ids, self.vocab_size)

    def unknown_rate(self, words: Sequence[str]) -> float:
        """The share of words that are not in the vocabulary (E01b).  T words -> from 0 to 1

        Raises UserError for no words at all.

        >>> text.Vocabulary(["the"]).unknown_rate(["the", "orange"])
        0.5
        """
        if not words:
            raise UserError("the share of unknown words needs at least one word")
        return sum(word not in self._ids for word in words) / len(words)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold and `from_dict` takes.  -> dict

        >>> text.Vocabulary(["a"], specials=["<unk>"]).to_dict()
        {'specials': ['<unk>'], 'words': ['a']}
        """
        return {"specials": list(self.specials), "words": list(self.tokens[len(self.specials) :])}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Vocabulary:
        """The vocabulary that `to_dict` described.  dict -> Vocabulary

        Raises UserError where the dict has not what `to_dict` writes.

        >>> text.Vocabulary.from_dict({"specials": ["<unk>"], "words": ["a"]}).encode(["b", "a"])
        array([0, 1])
        """
        if not all(isinstance(state.get(key), list) for key in ("specials", "words")):
            raise UserError(f"a vocabulary is {{'specials': […], 'words': […]}}, not a dict of {sorted(state)}")
        return cls(state["words"], specials=state["specials"])
