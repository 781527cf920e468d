"""Every public name of `text` says what it is, its shapes, errors and an example, all of it true."""

from __future__ import annotations

import inspect
import os

import documentation
import numpy as np
import pytest
from nlp_kernels.errors import DtypeError, ShapeError, UserError

from tinygrad_nlp import text
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import BucketSampler, CharTokenizer, Vocabulary, WordTokenizer

THINGS = {name: getattr(text, name) for name in text.__all__ if callable(getattr(text, name))}
METHODS = {
    f"{owner.__name__}.{name}": getattr(owner, name)
    for owner in (CharTokenizer, Vocabulary, WordTokenizer)
    for name, found in vars(owner).items()
    if (inspect.isfunction(found) or isinstance(found, classmethod)) and not name.startswith("_")
}
PUBLIC = THINGS | METHODS
OF_REAL_DATA = {"fetch", "load_text", "read_conll", "read_labelled", "read_categories"}
WITHOUT_SHAPES = {"CharTokenizer", "Corpus", "LabelledTexts", "Scores", "Span", "TaggedSentence", "Vocabulary"}
WITHOUT_SHAPES |= {"WordTokenizer"}
WORDS, CHARACTERS = Vocabulary(["a"], specials=[]), CharTokenizer("a")


def calls(function, *cases):
    return [lambda case=case: function(*case) for case in cases]


IDS = {IndexError: ([1],), DtypeError: ([1.5],)}
MISTAKES = {
    "BucketSampler": {
        UserError: calls(BucketSampler, ([], 1, Generator()), ([1, 0], 1, Generator()), ([1], 0, Generator()))
    },
    "CharTokenizer.decode": {error: calls(CHARACTERS.decode, case) for error, case in IDS.items()},
    "CharTokenizer.encode": {UserError: calls(CHARACTERS.encode, ("b",))},
    "CharTokenizer.from_dict": {UserError: calls(CharTokenizer.from_dict, ({},))},
    "CharTokenizer.one_hot": {error: calls(CHARACTERS.one_hot, case) for error, case in IDS.items()},
    "TaggedSentence": {UserError: calls(text.TaggedSentence, (("a",), ()))},
    "Vocabulary": {
        UserError: [*calls(Vocabulary, (["a", "a"],), (["<pad>"],)), lambda: Vocabulary([], specials=["<sos>"])]
    },
    "Vocabulary.build": {
        UserError: [lambda: Vocabulary.build([], min_count=0), lambda: Vocabulary.build([], max_size=0)]
    },
    "Vocabulary.decode": {error: calls(WORDS.decode, case) for error, case in IDS.items()},
    "Vocabulary.encode": {
        UserError: [*calls(WORDS.encode, (["b"],), ("a",)), lambda: WORDS.encode([], bos=True)],
    },
    "Vocabulary.from_dict": {UserError: calls(Vocabulary.from_dict, ({},))},
    "Vocabulary.id": {UserError: calls(WORDS.id, ("b",))},
    "Vocabulary.one_hot": {error: calls(WORDS.one_hot, case) for error, case in IDS.items()},
    "Vocabulary.unknown_rate": {UserError: calls(WORDS.unknown_rate, ([],))},
    "WordTokenizer.build": {
        UserError: [lambda: WordTokenizer.build([], min_count=0), lambda: WordTokenizer.build([], max_size=0)]
    },
    "WordTokenizer.decode": {error: calls(WordTokenizer().decode, case) for error, case in IDS.items()},
    "WordTokenizer.from_dict": {UserError: calls(WordTokenizer.from_dict, ({},))},
    "accuracy": {ShapeError: calls(text.accuracy, ([1], [1, 2]))},
    "bio_tags": {
        UserError: calls(
            text.bio_tags, ([(0, 0, "X")], 1), ([(0, 2, "X")], 1), ([(0, 1, "")], 1), ([(0, 1, "X"), (0, 1, "Y")], 1)
        )
    },
    "contiguous_batches": {
        UserError: calls(text.contiguous_batches, ([1, 2], 0, 1), ([1, 2], 1, 0), ([1], 1, 1), ([1, 2], 2, 1))
    },
    "entity_scores": {
        ShapeError: calls(text.entity_scores, ([], [["O"]]), ([["O"]], [[]])),
        UserError: calls(text.entity_scores, ([["X"]], [["O"]])),
    },
    "fetch": {UserError: calls(text.fetch, ("qqq",))},
    "load_text": {UserError: calls(text.load_text, ("no/such/file",), ("btc",))},
    "names_text": {UserError: calls(text.names_text, ("btc",))},
    "one_hot": {error: calls(text.one_hot, (*case, 1)) for error, case in IDS.items()},
    "padded": {UserError: calls(text.padded, ([],), ([[]],), ([[[1]]],)), DtypeError: calls(text.padded, ([[0.5]],))},
    "perplexity": {ValueError: calls(text.perplexity, (-1.0,), (np.nan,))},
    "read_categories": {UserError: calls(text.read_categories, ([],), (["no/such/file"],))},
    "read_conll": {UserError: calls(text.read_conll, ("no/such/file",))},
    "read_labelled": {UserError: calls(text.read_labelled, ("no/such/file",))},
    "spans": {UserError: calls(text.spans, (["X"],))},
    "random_parts": {UserError: calls(text.random_parts, (9,))},
    "split_tokens": {UserError: calls(text.split_tokens, (np.arange(10), 2))},
    "to_bio": {UserError: calls(text.to_bio, (["X"],))},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    if name in OF_REAL_DATA and "TINYGRAD_NLP_DATA" not in os.environ:
        pytest.skip("its example reads a corpus")
    documentation.tells_all(name, PUBLIC[name], MISTAKES.get(name, {}), shapes=name not in WITHOUT_SHAPES)


def test_every_mistake_is_one_of_a_public_name():
    assert not MISTAKES.keys() - PUBLIC.keys()


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    assert len(documentation.message_of(error, call)) > 20
