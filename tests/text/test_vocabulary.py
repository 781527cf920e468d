"""Words as tokens (E01b): ids in a stable order, special tokens first, and nothing unknown passes in silence."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import DtypeError, UserError

from tinygrad_nlp.text import SPECIALS, CharTokenizer, Vocabulary, load_text, one_hot, split_words

words = st.lists(st.sampled_from(["a", "b", "c", "d", "é", "Z", "<unk>", "<pad>", "zebra"]), max_size=30)
specials = st.sets(st.sampled_from(SPECIALS)).map(list)


@given(st.text())
def test_splitting_loses_only_white_space_and_a_token_has_none(text):
    tokens = split_words(text)
    assert "".join(tokens) == re.sub(r"\s", "", text)
    assert not any(re.search(r"\s", token) or not token for token in tokens)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's one o'clock, isn’t it?", "It's one o'clock , isn’t it ?"),
        ("3.14 and 1,000,000.50; 2nd", "3.14 and 1,000,000.50 ; 2nd"),
        ("end. 'Quoted' -- naïve_x", "end . ' Quoted ' - - naïve_x"),
        ("v1.2", "v1 . 2"),
        ("1.5x 2.50", "1 . 5x 2.50"),
        ("7.", "7 ."),
        ("<unk>", "< unk >"),
    ],
)
def test_words_by_hand(text, tokens):
    assert split_words(text) == tokens.split()


@given(words, st.integers(1, 3), st.none() | st.integers(1, 4), specials)
def test_the_frequent_words_by_count_then_alphabet_after_the_specials(seen, min_count, max_size, wanted):
    vocabulary = Vocabulary.build(seen, min_count=min_count, max_size=max_size, specials=wanted)
    counts = Counter(w for w in seen if w not in SPECIALS)
    expected = sorted((-n, w) for w, n in counts.items() if n >= min_count)[:max_size]
    assert vocabulary.specials == tuple(s for s in SPECIALS if s in wanted)
    assert vocabulary.tokens == vocabulary.specials + tuple(w for _, w in expected)
    assert vocabulary.vocab_size == len(vocabulary.tokens)
    assert Vocabulary.build(reversed(seen), min_count=min_count, max_size=max_size, specials=wanted).tokens == (
        vocabulary.tokens
    )


@given(words, specials, st.booleans(), st.booleans())
def test_decode_undoes_encode_but_for_unknown_words(seen, wanted, bos, eos):
    vocabulary = Vocabulary(["a", "b", "é"], specials={*wanted, "<unk>", "<bos>", "<eos>", "<pad>"})
    ids = vocabulary.encode(seen, bos=bos, eos=eos)
    known = [w if w in vocabulary else "<unk>" for w in seen]
    assert vocabulary.decode(ids) == ["<bos>"] * bos + known + ["<eos>"] * eos
    assert ids.dtype == np.int64
    assert seen == [] or vocabulary.unknown_rate(seen) == sum(w not in vocabulary for w in seen) / len(seen)


@given(words, specials)
def test_the_dict_is_json_and_gives_the_vocabulary_back(seen, wanted):
    vocabulary = Vocabulary.build(seen, specials=wanted)
    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert (again.tokens, again.specials) == (vocabulary.tokens, vocabulary.specials)
    tokenizer = CharTokenizer("".join(seen))
    assert CharTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))).characters == tokenizer.characters


def test_the_order_of_the_special_tokens_is_fixed():
    assert Vocabulary([]).tokens == ("<pad>", "<unk>", "<bos>", "<eos>")
    assert Vocabulary(["w"], specials=["<eos>", "<pad>"]).tokens == ("<pad>", "<eos>", "w")


def test_without_unk_an_unknown_word_is_named():
    vocabulary = Vocabulary(["a"], specials=["<pad>"])
    with pytest.raises(UserError, match=r"the word 'b' \(at position 1\) is not among the 2 .* one with <unk>"):
        vocabulary.encode(["a", "b"])
    for flags in ({"bos": True}, {"eos": True}):
        with pytest.raises(UserError, match=r"the word '<[be]os>' \(at position \d\) is not among"):
            Vocabulary(["a"], specials=["<unk>"]).encode(["a"], **flags)
    with pytest.raises(UserError, match="'<pad>'"):
        Vocabulary(["a"], specials=["<unk>"]).encode(["<pad>"])


def test_mistakes_are_named():
    with pytest.raises(UserError, match="encode takes a list of words, not the text 'the cat'"):
        Vocabulary(["the"]).encode("the cat")
    with pytest.raises(UserError, match="has 'a' twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(UserError, match="has '<pad>' twice"):
        Vocabulary(["<pad>"])
    with pytest.raises(UserError, match="'<sos>' is no special token; there is <pad>, <unk>, <bos>, <eos>"):
        Vocabulary([], specials=["<sos>"])
    for setting in ({"min_count": 0}, {"max_size": 0}):
        with pytest.raises(UserError, match="at least 1, not"):
            Vocabulary.build(["a"], **setting)
    for state in ({}, {"words": ["a"]}, {"words": "ab", "specials": []}):
        with pytest.raises(UserError, match="a vocabulary is"):
            Vocabulary.from_dict(state)
    with pytest.raises(UserError, match="a tokenizer is"):
        CharTokenizer.from_dict({"characters": ["a"]})
    with pytest.raises(UserError, match="at least one word"):
        Vocabulary(["a"]).unknown_rate([])


@given(st.lists(st.integers(0, 4)))
def test_one_hot_vectors_are_rows_of_the_identity(ids):
    vectors = one_hot(ids, 5)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.eye(5)[np.array(ids, int)])
    for tokens in (Vocabulary(["a"]), CharTokenizer("abcde")):
        np.testing.assert_array_equal(tokens.one_hot(ids), vectors)


def test_one_hot_takes_any_shape_and_only_ids():
    assert one_hot(np.zeros((2, 3), np.int32), 4).shape == (2, 3, 4)
    assert one_hot([], 4).shape == (0, 4)
    for bad in ([4], [-1]):
        with pytest.raises(IndexError, match="0 … 3"):
            one_hot(bad, 4)
        with pytest.raises(IndexError, match="0 … 3"):
            Vocabulary([]).decode(bad)
    for of in (one_hot, lambda ids, _: Vocabulary(["a"]).decode(ids), lambda ids, _: CharTokenizer("abcd").decode(ids)):
        with pytest.raises(DtypeError, match="ids are integers, not float64"):
            of([1.0], 4)


def test_real_words_follow_zipf():
    """Few words make most of a text: the 1,000 most frequent of Python's reference cover three quarters of it."""
    seen = split_words(load_text())
    vocabulary = Vocabulary.build(seen, max_size=1000)
    assert vocabulary.vocab_size == 1004
    assert vocabulary.unknown_rate(seen) < 0.25
    assert Vocabulary.build(seen).unknown_rate(seen) == 0
