"""Decoding (E05, E46): which tokens may be drawn, with which probabilities, and that the draw follows them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.random import Generator

logits = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-30, 30) | st.sampled_from([0.0, 1.0]),  # with ties
)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@given(logits, st.floats(0.05, 5))
def test_temperature_divides_the_logits(x, temperature):
    p = next_token_probabilities(x, temperature=temperature)
    np.testing.assert_allclose(p, softmax(x / temperature), atol=1e-14)


@given(logits)
def test_temperature_zero_is_the_argmax_and_the_limit(x):
    p = next_token_probabilities(x, temperature=0)
    np.testing.assert_array_equal(np.argmax(p, axis=1), np.argmax(x, axis=1))
    assert set(np.unique(p)) <= {0.0, 1.0}
    np.testing.assert_array_equal(p.sum(axis=1), 1)
    ordered = np.sort(x, axis=1)
    clear = (ordered[:, -1] - ordered[:, -2] > 1e-3) if x.shape[1] > 1 else np.ones(len(x), bool)
    np.testing.assert_array_equal(next_token_probabilities(x, temperature=1e-300)[clear], p[clear])


@given(logits, st.integers(1, 12))
def test_top_k_keeps_exactly_the_k_likeliest_renormalised(x, k):
    p, cut = softmax(x), next_token_probabilities(x, top_k=k)
    V = x.shape[1]
    for row, kept in zip(p, cut, strict=True):
        chosen = sorted(range(V), key=lambda i: (-row[i], i))[:k]
        expected = np.zeros(V)
        expected[chosen] = row[chosen] / row[chosen].sum()
        np.testing.assert_allclose(kept, expected, atol=1e-14)


@given(logits, st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_with_that_mass_renormalised(x, mass):
    p, cut = softmax(x), next_token_probabilities(x, top_p=mass)
    for row, kept in zip(p, cut, strict=True):
        n = np.count_nonzero(kept)
        largest = np.sort(row)[::-1]
        assert n >= 1
        assert largest[:n].sum() >= mass - 1e-12  # enough …
        assert largest[: n - 1].sum() < mass + 1e-12  # … and not with one fewer
        assert kept.sum() == pytest.approx(1)
        np.testing.assert_allclose(kept[kept > 0], row[kept > 0] / row[kept > 0].sum(), rtol=1e-9)
        assert row[kept > 0].min() >= row[kept == 0].max(initial=0)


def test_top_p_by_hand():
    x = np.log([[0.15, 0.5, 0.25, 0.1]])
    np.testing.assert_allclose(next_token_probabilities(x, top_p=0.7), [[0, 2 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(next_token_probabilities(x, top_p=0.4), [[0, 1, 0, 0]])
    np.testing.assert_allclose(next_token_probabilities(x, top_p=1.0), np.exp(x))
    both = next_token_probabilities(x, top_k=3, top_p=0.8)  # of 0.5, 0.25, 0.15 (sum 0.9) the first two have 5/6
    np.testing.assert_allclose(both, [[0, 2 / 3, 1 / 3, 0]])


def test_a_forbidden_token_has_probability_zero():
    p = next_token_probabilities([[1.0, -np.inf, 2.0]])
    assert p[0, 1] == 0
    assert p.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "setting", [{"temperature": -1}, {"temperature": np.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match="top_k >= 1"):
        next_token_probabilities([[1.0, 2.0]], **setting)


def test_draws_follow_the_probabilities_and_never_take_an_impossible_token():
    p = np.array([0.0, 0.2, 0.0, 0.5, 0.3, 0.0])
    n = 20_000
    counts = np.bincount(draw(np.tile(p, (n, 1)), Generator(1)), minlength=6)
    assert (counts[p == 0] == 0).all()
    np.testing.assert_allclose(counts / n, p, atol=5 * np.sqrt(0.25 / n))


class Extreme:
    """A generator whose every number is the largest below 1, or 0."""

    def __init__(self, u):
        self.u = u

    def uniform(self, shape, dtype):
        return np.full(shape, self.u, dtype)


@given(hnp.arrays(np.float64, st.integers(1, 9), elements=st.sampled_from([0, 0.1, 0.3, 1e-17])))
def test_extreme_draws_stay_possible(p):
    if p.sum() > 0:
        for u in (0.0, np.nextafter(1, 0)):
            assert p[draw(p[None, :], Extreme(u))[0]] > 0
