"""Tokens: of characters, encoding loses nothing; of words, spaces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import CharTokenizer, WordTokenizer, split_words

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too, as an undecodable command line has


@given(any_text)
def test_decode_undoes_encode(text):
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    assert ids.shape == (len(text),)
    assert tokenizer.decode(ids) == text


@given(any_text, any_text)
def test_the_vocabulary_is_the_sorted_set_of_characters(text, other):
    tokenizer = CharTokenizer(text)
    assert list(tokenizer.characters) == sorted(set(text))
    assert tokenizer.vocab_size == len(set(text))
    assert CharTokenizer(tokenizer.characters).characters == tokenizer.characters
    assert tokenizer.encode(tokenizer.characters).tolist() == list(range(tokenizer.vocab_size))
    unseen = [c for c in other if c not in set(text)]
    if unseen:
        with pytest.raises(UserError, match=f"U\\+{ord(unseen[0]):04X}, at position {other.index(unseen[0])}\\)"):
            tokenizer.encode(other)


def test_an_unseen_character_is_named():
    with pytest.raises(UserError, match=r"the character 'é' \(U\+00E9, at position 3\) is not among the 4 characters"):
        CharTokenizer("fact").encode("cafécafé")


def test_an_id_out_of_range_is_refused_and_does_not_wrap_around():
    tokenizer = CharTokenizer("abc")
    for ids in ([0, 3], [-1]):
        with pytest.raises(IndexError, match="0 … 2"):
            tokenizer.decode(ids)
    assert tokenizer.decode(np.array([2, 0], np.int32)) == "ca"


@given(st.text("aB. ,'-3\n"), st.data())
def test_words_come_back_and_pieces_join_to_the_whole(text, data):
    tokenizer = WordTokenizer.build(split_words(text))
    ids = tokenizer.encode(text)
    assert ids.shape == (len(split_words(text)),)
    assert 0 not in ids
    assert tokenizer.vocabulary.decode(ids) == split_words(text)
    at = data.draw(st.integers(0, len(ids)))
    assert tokenizer.decode(ids) == tokenizer.decode(ids[:at]) + tokenizer.decode(ids[at:])
    assert WordTokenizer.from_dict(tokenizer.to_dict()).decode(ids) == tokenizer.decode(ids)
