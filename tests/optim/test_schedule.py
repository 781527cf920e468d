"""Schedules: their equations at the places where they bend, and the object that drives an optimiser."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import nn, optim

warmups = st.integers(0, 50)


@given(warmups, st.integers(1, 100), st.floats(1e-4, 1), st.floats(0, 1e-4))
def test_warm_up_and_cosine(warmup, length, lr, low):
    """Rises by equal steps to η at t = w, is half-way down in the middle of the rest, and ends at η_min for good."""
    rate, end = optim.WarmupCosine(lr, low, warmup, warmup + length), warmup + length
    for t in range(1, warmup + 1):
        assert rate(t) == pytest.approx(lr * t / warmup)
    if length % 2 == 0:
        assert rate(warmup + length // 2) == pytest.approx((lr + low) / 2)
    assert rate(end) == rate(end + 10) == low
    falling = [rate(t) for t in range(max(warmup, 1), end + 2)]
    assert falling == sorted(falling, reverse=True)
    assert all(low <= r <= lr for r in falling)


@given(st.integers(1, 50), st.floats(1e-4, 1), st.integers(1, 1024))
def test_inverse_square_root(warmup, lr, d):
    """Noam's schedule is the inverse square root with the peak k / √(d w)."""
    rate, noam = optim.InverseSqrt(lr, warmup), optim.Noam(d, warmup, 2.0)
    peak = optim.InverseSqrt(2.0 / math.sqrt(d * warmup), warmup)
    assert rate(warmup) == pytest.approx(lr)
    assert rate(4 * warmup) == pytest.approx(lr / 2)
    for t in range(1, 2 * warmup + 20):
        assert rate(t) == pytest.approx(lr * min(t / warmup, math.sqrt(warmup / t)))
        assert noam(t) == pytest.approx(2 * d**-0.5 * min(t**-0.5, t * warmup**-1.5))
        assert noam(t) == pytest.approx(peak(t))


def test_constant_and_no_warm_up():
    assert [optim.Constant(0.5)(t) for t in (1, 7)] == [0.5, 0.5]
    assert [optim.Constant(0.5, warmup=4)(t) for t in (1, 2, 4, 9)] == [0.125, 0.25, 0.5, 0.5]
    assert optim.InverseSqrt(1.0, 0)(4) == 0.5
    assert optim.WarmupCosine(1.0, 0.1, 5, 3)(4) == 0.8  # the warm-up goes first
    for rate in (optim.Constant(1.0), optim.WarmupCosine(1, 0, 0, 5), optim.InverseSqrt(1, 2), optim.Noam(4, 2)):
        with pytest.raises(ValueError, match="counts steps from 1, got 0"):
            rate(0)


def test_driving_an_optimiser():
    ps = [nn.Parameter(np.ones(1)) for _ in range(2)]
    optimizer = optim.SGD([{"params": ps[:1]}, {"params": ps[1:], "lr_scale": 0.1}], lr=9.0)
    rate = optim.WarmupCosine(1.0, 0.0, 2, 6)
    schedule = optim.LRSchedule(optimizer, rate)
    seen = []
    for _ in range(4):
        seen.append([g["lr"] for g in optimizer.param_groups])
        schedule.step()
    np.testing.assert_allclose(seen, [[rate(t), 0.1 * rate(t)] for t in range(1, 5)])
    assert schedule.state_dict() == {"t": 5}
    assert schedule.lr == rate(5) == optimizer.param_groups[0]["lr"]
    again = optim.LRSchedule(optimizer, rate)
    assert optimizer.param_groups[0]["lr"] == rate(1)
    again.load_state_dict(schedule.state_dict())
    assert optimizer.param_groups[0]["lr"] == rate(5)
