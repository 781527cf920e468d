"""Clipping: the equation, the whole norm, and gradients that are not finite."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels import dispatch

from tinygrad_nlp import AnomalyError, Tensor, nn, optim
from tinygrad_nlp.train.loop import training_steps

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


OPTIMIZERS = {
    "SGD": lambda ps, **options: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.1, **options),
    "Adagrad": lambda ps, **options: optim.Adagrad(ps, lr=0.1, **options),
    "RMSprop": lambda ps, **options: optim.RMSprop(ps, lr=0.1, **options),
    "Adam": lambda ps, **options: optim.Adam(ps, lr=0.1, weight_decay=0.1, **options),
    "AdamW": lambda ps, **options: optim.AdamW(ps, lr=0.1, weight_decay=0.1, **options),
}


def three_steps(kind, dtypes, c, in_place, **options):
    rng = np.random.default_rng(0)
    shapes = (3, 40), (5,), (), (0,), (7,)
    ps = [nn.Parameter(rng.normal(size=s).astype(dtype)) for s in shapes for dtype in dtypes]
    optimizer, norms = OPTIMIZERS[kind](ps, **options), []
    for _ in range(3):
        gradients = [rng.normal(size=p.shape).astype(p.dtype) for p in ps]
        for p, g in zip(ps, gradients, strict=True):
            p.grad = Tensor(g.copy())
        if in_place:
            norms.append(nn.utils.clip_grad_norm_(ps, c))
            optimizer.step()
        else:
            norm, scale = optim.clip_scale(ps, c)
            assert norm.shape == scale.shape == ()
            norms.append(float(norm))
            optimizer.step(grad_scale=scale)
            for p, g in zip(ps, gradients, strict=True):
                np.testing.assert_array_equal(p.grad.data, g)
    return norms, [p.data for p in ps]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("dtypes", ["f", "d", "fd"])
@pytest.mark.parametrize("c", [0.5, 1e3, math.inf])
def test_a_scaled_step_is_a_step_of_clipped_gradients(kind, dtypes, c):
    """To the last bit, in a pass over the gradients less; and with gradients that are climbed.

    Where L2 decay is added to the scaled gradient, a fused multiply-add may round once less.
    """
    for options in ({}, {"maximize": True}):
        norms, right = three_steps(kind, dtypes, c, in_place=True, **options)
        ours, data = three_steps(kind, dtypes, c, in_place=False, **options)
        assert ours == norms
        for a, b in zip(data, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=100 * np.finfo(a.dtype).eps if kind == "Adam" else 0)


@pytest.mark.parametrize("backend", [name for name in dispatch.backends("adamw") if name != "cpu"])
def test_a_scaled_step_on_every_backend(backend):
    try:
        with dispatch.use_backend(backend, "adamw", simulate=backend == "cuda"):
            norms, data = three_steps("AdamW", "fd", 0.5, in_place=False)
    except dispatch.simulator.SimulatorMissingError as error:
        pytest.skip(str(error))
    expected, right = three_steps("AdamW", "fd", 0.5, in_place=True)
    assert norms == pytest.approx(expected)
    for a, b in zip(data, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_training_loop_clips():
    """`training_steps` against clipping in place, bit for bit."""

    def model():
        layer = nn.Linear(3, 2)
        nn.init.constant_(layer.weight, 0.5)
        nn.init.zeros_(layer.bias)
        return layer, optim.AdamW(layer.parameters(), lr=0.1)

    x = Tensor(np.random.default_rng(0).normal(size=(4, 3)).astype("f"))
    ours, optimizer = model()
    steps = list(
        training_steps(ours, optimizer, lambda: (ours(x) ** 2).mean(), lambda t: 0.1 / t, first=1, last=4, clip=0.3)
    )
    right, optimizer = model()
    for t, step in enumerate(steps, 1):
        optimizer.param_groups[0]["lr"] = 0.1 / t
        optimizer.zero_grad()
        (right(x) ** 2).mean().backward()
        assert step.grad_norm == optim.clip_grad_norm_(right.parameters(), 0.3) > 0.3
        optimizer.step()
    for a, b in zip(ours.parameters(), right.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_factor_by_hand_and_none_for_nothing():
    for scale, expected in ((0.5, [1.0, 2.0]), (None, [2.0, 4.0]), (np.asarray(0.0), [0.0, 0.0])):
        p = with_gradients([-2.0, -4.0])[0]
        optim.SGD([p], lr=1.0).step(grad_scale=scale)
        np.testing.assert_array_equal(p.data, expected)
    for bad in (np.nan, np.inf):
        norm, scale = optim.clip_scale(with_gradients([1.0, bad]), 1.0)
        assert not math.isfinite(norm)
        assert scale == 1
    assert [float(x) for x in optim.clip_scale([nn.Parameter([1.0])], 1.0)] == [0, 1]


def test_by_value():
    p = with_gradients([-3.0, -0.5, 0.0, 0.5, 3.0])[0]
    optim.clip_grad_value_([p], 1.0)
    np.testing.assert_array_equal(p.grad.data, [-1, -0.5, 0, 0.5, 1])


def test_mistakes_get_an_answer():
    with pytest.raises(ValueError, match="max_norm must not be negative, got -1"):
        optim.clip_grad_norm_([], -1)
    with pytest.raises(ValueError, match="clip_value must not be negative, got nan"):
        optim.clip_grad_value_([], math.nan)
