"""Batches for recurrent networks: every token and every sequence once, in an order that two integers give back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import BucketSampler, contiguous_batches, padded


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 80))
def test_streams_go_on_from_batch_to_batch_and_predict_each_token_once(batch, block, length):
    tokens = np.arange(length) * 3
    steps = (length - 1) // batch
    if steps < 1:
        with pytest.raises(UserError, match=rf"{length} tokens have no step for {batch} streams .* {batch + 1} tokens"):
            contiguous_batches(tokens, batch, block)
        contiguous_batches(np.arange(batch + 1), batch, block)
        return
    batches = contiguous_batches(tokens, batch, block)
    assert [len(x) for x, _ in batches[:-1]] == [block] * (len(batches) - 1)
    assert 1 <= len(batches[-1][0]) <= block
    x, y = (np.concatenate([pair[i] for pair in batches]) for i in (0, 1))  # (S, B)
    assert x.shape == y.shape == (steps, batch)
    assert (y == x + 3).all()
    assert x.T.ravel().tolist() == tokens[: steps * batch].tolist()
    assert y.T.ravel().tolist() == tokens[1 : steps * batch + 1].tolist()
    assert all(part.flags.c_contiguous for pair in batches for part in pair)


def test_the_batches_share_no_memory_with_the_text():
    tokens = np.arange(20)
    batches = contiguous_batches(tokens, 1, 5)
    tokens[:] = -1
    assert batches[0][0][:, 0].tolist() == [0, 1, 2, 3, 4]


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(-100, 0))
def test_padding_keeps_each_sequence_and_its_length(sequences, pad):
    batch, lengths = padded(sequences, pad)
    assert batch.shape == (max(map(len, sequences)), len(sequences))
    assert lengths.tolist() == list(map(len, sequences))
    for b, sequence in enumerate(sequences):
        assert batch[: lengths[b], b].tolist() == sequence
        assert (batch[lengths[b] :, b] == pad).all()


@pytest.mark.parametrize(
    ("sequences", "sentence"),
    [
        ([], "a batch needs at least one sequence"),
        ([[1], [], [2]], "sequence 1 of the batch has length 0; leave it out, or begin each one with <bos>"),
        ([[1], [[2]]], r"sequence 1 of the batch has shape \(1, 1\), expected \(T,\)"),
        ([3], r"sequence 0 of the batch has shape \(\)"),
    ],
)
def test_what_cannot_be_padded_is_named(sequences, sentence):
    with pytest.raises(UserError, match=sentence):
        padded(sequences)


lengths = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@given(lengths, st.integers(1, 7), st.integers(1, 4), st.integers(0, 2**64 - 1))
def test_an_epoch_has_each_sequence_once(sizes, batch, pool, seed):
    sampler = BucketSampler(sizes, batch, Generator(seed), pool=pool)
    for _ in range(2):
        drawn = [sampler() for _ in range(sampler.batches)]
        assert sorted(np.concatenate(drawn).tolist()) == list(range(len(sizes)))
        assert sorted(map(len, drawn))[1:] == [batch] * (len(drawn) - 1)
        assert all((np.diff(np.array(sizes)[rows]) >= 0).all() for rows in drawn)


@given(lengths, st.integers(1, 7), st.integers(0, 2**40), st.integers(0, 20))
def test_the_cursor_is_seed_and_counter(sizes, batch, start, skipped):
    def sampler(seed):
        generator = Generator(seed)
        generator.state = (seed, 4 * start)
        return BucketSampler(sizes, batch, generator, pool=2)

    one, other = sampler(5), sampler(0)
    for _ in range(skipped):
        one()
    cursor = one.generator.state
    expected = [one().tolist() for _ in range(2 * one.batches)]
    other()
    other.generator.state = cursor
    assert [other().tolist() for _ in range(2 * one.batches)] == expected


def test_epochs_and_seeds_differ_and_lengths_in_a_batch_are_near():
    sizes = np.asarray(Generator(1).integers(1, 100, (1000,)))
    sampler = BucketSampler(sizes, 10, Generator(3), pool=20)
    first, second = ([sampler() for _ in range(sampler.batches)] for _ in range(2))
    other = BucketSampler(sizes, 10, Generator(4), pool=20)
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert not np.array_equal(np.concatenate(first), np.concatenate([other() for _ in range(other.batches)]))
    spread = np.mean([np.ptp(sizes[rows]) for rows in first])
    assert spread < 10  # in random batches it is about 80
    one_pool = BucketSampler(sizes, 10, Generator(3), pool=100)
    means = [sizes[one_pool()].mean() for _ in range(one_pool.batches)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3  # short ones do not come first


def test_a_stream_that_begins_elsewhere_has_another_order():
    generators = [Generator(1), Generator(1)]
    generators[1].reserve(2**40)
    orders = [BucketSampler(np.full(100, 5), 10, generator)().tolist() for generator in generators]
    assert orders[0] != orders[1]


def test_what_cannot_be_batched_is_named():
    with pytest.raises(UserError, match="there is no sequence"):
        BucketSampler([], 2, Generator(0))
    with pytest.raises(UserError, match="sequence 2 has length 0; leave it out"):
        BucketSampler([3, 1, 0], 2, Generator(0))
    for sizes in ({"batch_size": 0}, {"batch_size": 2, "pool": 0}):
        with pytest.raises(UserError, match="must be at least 1, not 0"):
            BucketSampler([1], generator=Generator(0), **sizes)
    for sizes in ((0, 3), (2, -1)):
        with pytest.raises(UserError, match="must be at least 1, not"):
            contiguous_batches(np.arange(9), *sizes)


@pytest.mark.parametrize("counter", [0, 4 + 8 + 4])
def test_a_cursor_of_other_data_is_refused(counter):
    generator = Generator(0)
    generator.state = (0, 8)
    sampler = BucketSampler([1, 2], 2, generator)
    generator.state = (0, counter)
    with pytest.raises(UserError, match="the cursor is of other data"):
        sampler()
