"""Clipping: the equation, the whole norm, and gradients that are not finite."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import AnomalyError, Tensor, nn, optim

seeds = st.integers(0, 2**32 - 1)


def with_gradients(*gradients):
    ps = [nn.Parameter(np.zeros(np.shape(g), np.asarray(g).dtype)) for g in gradients]
    for p, g in zip(ps, gradients, strict=True):
        p.grad = Tensor(np.array(g))
    return ps


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.floats(0, 10), seeds)
def test_the_equation(sizes, c, seed):
    """E22: g · min(1, c/‖g‖), ‖g‖ over all together."""
    rng = np.random.default_rng(seed)
    gs = [rng.normal(size=n) for n in sizes]
    ps = with_gradients(*gs)
    everything = np.concatenate(gs)
    norm = np.linalg.norm(everything)
    assert optim.clip_grad_norm_(ps, c) == pytest.approx(norm, rel=1e-13)
    expected = everything * min(1.0, c / norm) if norm else everything
    np.testing.assert_allclose(np.concatenate([p.grad.data for p in ps]), expected, rtol=1e-13)
    assert np.linalg.norm(np.concatenate([p.grad.data for p in ps])) <= c * (1 + 1e-12) or norm <= c


def test_what_it_leaves_alone():
    p, without = nn.Parameter([3.0, 4.0]), nn.Parameter([1.0])
    p.grad = Tensor([3.0, 4.0])
    frozen = nn.Parameter([1.0]).requires_grad_(False)
    assert nn.utils.clip_grad_norm_([p, without, frozen], math.inf) == 5
    np.testing.assert_array_equal(p.grad.data, [3, 4])
    assert optim.clip_grad_norm_(p, 1.0) == 5
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)
    assert optim.clip_grad_norm_([without], 1.0) == 0.0
    assert optim.clip_grad_norm_([], 1.0) == 0.0
    assert optim.clip_grad_norm_(with_gradients(np.zeros(3)), 0.0) == 0.0
    tied = with_gradients([3.0, 4.0])[0]
    assert optim.clip_grad_norm_([tied, tied], math.inf) == 5  # one gradient counts once


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_that_leave_float32(size):
    ps = with_gradients(np.full(4, size, "f"), np.full(12, size, "f"))
    assert optim.clip_grad_norm_(ps, math.inf) == pytest.approx(4 * size, rel=1e-6)


def test_a_norm_that_is_not_finite():
    for bad in (np.nan, np.inf):
        ps = with_gradients([1.0, bad], [2.0])
        assert not math.isfinite(optim.clip_grad_norm_(ps, 1.0))
        np.testing.assert_array_equal(ps[0].grad.data, [1.0, bad])
        with pytest.raises(AnomalyError, match="clip_grad_norm_: the gradients of 2 parameters have the norm"):
            optim.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)


def test_by_value():
    p = with_gradients([-3.0, -0.5, 0.0, 0.5, 3.0])[0]
    optim.clip_grad_value_([p], 1.0)
    np.testing.assert_array_equal(p.grad.data, [-1, -0.5, 0, 0.5, 1])


def test_mistakes_get_an_answer():
    with pytest.raises(ValueError, match="max_norm must not be negative, got -1"):
        optim.clip_grad_norm_([], -1)
    with pytest.raises(ValueError, match="clip_value must not be negative, got nan"):
        optim.clip_grad_value_([], math.nan)
