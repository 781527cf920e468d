"""Batches: windows are shifted by one, and the cursor is two integers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import WindowSampler, consecutive_windows


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**64 - 1), st.integers(0, 30))
def test_windows_are_slices_and_targets_the_next_tokens(block, batch, seed, extra):
    tokens = np.arange(block + 1 + extra) * 7
    x, y = WindowSampler(tokens, block, batch, Generator(seed))()
    assert x.shape == y.shape == (batch, block)
    assert (y == x + 7).all()
    assert (np.diff(x, axis=1) == 7).all()
    assert x.min() >= 0
    assert y.max() <= tokens[-1]


def test_every_window_can_be_drawn_the_first_and_the_last_too():
    starts = {int(x) for x in WindowSampler(np.arange(8), 4, 400, Generator(3))()[0][:, 0]}
    assert starts == {0, 1, 2, 3}


@given(st.integers(0, 10), st.integers(1, 10))
def test_the_cursor_is_seed_and_counter(skipped, seed):
    sampler = WindowSampler(np.arange(1000), 8, 3, Generator(seed))
    for _ in range(skipped):
        sampler()
    cursor = sampler.generator.state
    expected = [sampler()[0] for _ in range(3)]
    again = WindowSampler(np.arange(1000), 8, 3, Generator(0))
    again.generator.state = cursor
    np.testing.assert_array_equal([again()[0] for _ in range(3)], expected)


@given(st.integers(1, 9), st.integers(2, 60))
def test_consecutive_windows_predict_each_token_once(block, length):
    x, y = consecutive_windows(np.arange(length), block)
    n = (length - 1) // block
    assert x.shape == y.shape == (n, block)
    assert y.ravel().tolist() == list(range(1, n * block + 1))
    assert (y == x + 1).all()
