"""Parts: nothing that a model is judged by is trained on, and nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import random_parts, split_tokens


@given(st.integers(1, 20), st.integers(0, 300))
def test_the_split_keeps_the_last_tenth_and_loses_nothing(block, length):
    tokens = np.arange(length)
    if length // 10 <= block:
        with pytest.raises(UserError, match=rf"has {length} tokens, too few for blocks of {block}") as refusal:
            split_tokens(tokens, block)
        needed = int(str(refusal.value).split("takes about ")[1].split(";")[0])
        split_tokens(np.arange(needed), block)
        with pytest.raises(UserError):
            split_tokens(np.arange(needed - 1), block)
    else:
        train, held_out = split_tokens(tokens, block)
        assert len(held_out) == length // 10
        assert np.concatenate([train, held_out]).tolist() == tokens.tolist()


@given(st.integers(10, 300), st.integers(1, 3))
def test_random_parts_are_disjoint_tenths_that_lose_nothing(n, held_out):
    train, *held = random_parts(n, held_out=held_out)
    assert [len(part) for part in held] == [n // 10] * held_out
    assert sorted(np.concatenate([train, *held]).tolist()) == list(range(n))
    for part, again in zip((train, *held), random_parts(n, held_out=held_out), strict=True):
        np.testing.assert_array_equal(part, again)


def test_random_parts_come_from_everywhere_and_too_few_examples_are_refused():
    _, validation, test = random_parts(1000)
    for part in (validation, test):
        assert np.diff(np.histogram(part, bins=4, range=(0, 1000))[0]).max() < 25
        assert not np.array_equal(part, np.arange(part[0], part[0] + 100))
    with pytest.raises(UserError, match="9 examples are too few"):
        random_parts(9)
