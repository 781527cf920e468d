"""Philox4x32-10: the published test vectors, and every entry of a stream computable alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.common import philox as module
from nlp_kernels.common.philox import keep_mask, philox, uniform, words
from nlp_kernels.errors import DtypeError

U64 = st.integers(0, 2**64 - 1)
ONES = 0xFFFFFFFF

# Known answers of Random123 1.14 (tests/kat_vectors), philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def _join(low, high):
    return low | high << 32


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    block = philox(_join(*key), np.array([_join(*counter[:2])], np.uint64), stream=_join(*counter[2:]))
    assert block.dtype == np.uint32
    assert tuple(block[0]) == answer


@pytest.mark.parametrize("rounds", [9, 11])
def test_known_answers_need_exactly_ten_rounds(monkeypatch, rounds):
    monkeypatch.setattr(module, "ROUNDS", rounds)
    assert tuple(philox(0, np.zeros(1, np.uint64))[0]) != KNOWN_ANSWERS[0][2]


def _scalar_block(seed, counter, stream):
    """The round function of the module's docstring, word by word in Python integers."""
    c0, c1, c2, c3 = counter & ONES, counter >> 32, stream & ONES, stream >> 32
    k0, k1 = seed & ONES, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & ONES, (p0 >> 32) ^ c3 ^ k1, p0 & ONES
        k0, k1 = (k0 + 0x9E3779B9) & ONES, (k1 + 0xBB67AE85) & ONES
    return c0, c1, c2, c3


@given(seed=U64, counters=st.lists(U64, max_size=5), stream=U64)
def test_vectorised_equals_scalar(seed, counters, stream):
    blocks = philox(seed, np.array(counters, np.uint64), stream)
    assert [tuple(map(int, b)) for b in blocks] == [_scalar_block(seed, c, stream) for c in counters]


def test_chunks_do_not_show(monkeypatch):
    whole = words(3, 1, 1000)
    monkeypatch.setattr(module, "BLOCKS", 7)
    np.testing.assert_array_equal(words(3, 1, 1000), whole)


@pytest.mark.parametrize("draw", [words, uniform, lambda *a: uniform(*a, dtype=np.float64)])
@given(seed=U64, offset=st.integers(0, 2**64 - 100), start=st.integers(0, 40), n=st.integers(0, 40))
def test_a_slice_of_the_stream_is_computable_alone(draw, seed, offset, start, n):
    np.testing.assert_array_equal(draw(seed, offset, 80)[start : start + n], draw(seed, offset + start, n))


@given(seed=U64, offset=st.integers(0, 2**63), n=st.integers(0, 50))
def test_float32_is_float64_cut_to_24_bits(seed, offset, n):
    wide, narrow = uniform(seed, offset, n, np.float64), uniform(seed, offset, n, np.float32)
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(narrow, np.floor(wide * 2**24) / 2**24)


def test_uniform_stays_below_one(monkeypatch):
    for word in (0, ONES):
        monkeypatch.setattr(module, "words", lambda s, o, n, stream=0, w=word: np.full(n, w, np.uint32))
        for dtype, bits in ((np.float32, 24), (np.float64, 53)):
            expected = 1 - 2.0**-bits if word else 0.0
            assert uniform(0, 0, 1, dtype)[0] == expected


def test_uniform_is_uniform_and_uncorrelated():
    u = uniform(1, 0, 1 << 18, np.float64)
    counts, n = np.bincount((u * 256).astype(int), minlength=256), len(u)
    assert abs(((counts - n / 256) ** 2).sum() / (n / 256) - 255) < 5 * np.sqrt(2 * 255)  # chi-square, 255 degrees
    for lag in (1, 2, 4, 64):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 5 / np.sqrt(n)
    neighbour_seed = uniform(2, 0, 1 << 18, np.float64)
    assert abs(np.corrcoef(u, neighbour_seed)[0, 1]) < 5 / np.sqrt(n)


@given(p=st.floats(0, 1), seed=U64, offset=st.integers(0, 2**63), T=st.integers(0, 5), S=st.integers(0, 5))
def test_keep_mask_is_a_function_of_the_index(p, seed, offset, T, S):
    mask = keep_mask(p, seed, offset, (T, S))
    assert (mask.dtype, mask.shape) == (np.bool_, (T, S))
    for t in range(T):
        np.testing.assert_array_equal(mask[t], keep_mask(p, seed, offset + t * S, (S,)))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_keep_mask_keeps_with_probability_one_minus_p(p):
    n = 1 << 17
    kept = keep_mask(p, 5, 0, (n,)).mean()
    assert abs(kept - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / n)


def test_refusals():
    with pytest.raises(ValueError, match=r"seed must lie in \[0, 2\*\*64\)"):
        words(-1, 0, 1)
    with pytest.raises(ValueError, match="offset"):
        words(0, 2**64, 1)
    with pytest.raises(ValueError, match="stream"):
        philox(0, np.zeros(1, np.uint64), stream=2**64)
    with pytest.raises(TypeError):
        words(0.5, 0, 1)
    with pytest.raises(DtypeError, match="uint64"):
        philox(0, np.zeros(1, np.int64))
    with pytest.raises(DtypeError, match="float16"):
        uniform(0, 0, 1, np.float16)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="probability"):
            keep_mask(p, 0, 0, (1,))
