"""Parameters of bfloat16: steps are taken on float32 masters, which are part of the optimiser's state."""

import numpy as np
import pytest
from test_optimizers import ALL, OPTIONS

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn, optim
from tinygrad_nlp.optim.optimizer import MASTER

BF16 = tn.bfloat16
THETA = np.random.default_rng(0).normal(size=(5, 3)).astype(BF16)
GRADIENTS = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(BF16)
each = pytest.mark.parametrize("name", ALL)


def stepped(name, dtype, options=None, restart=None):
    """The parameter and its optimiser after a step for each gradient; stored and taken up again after `restart`."""
    p = nn.Parameter(THETA.astype(dtype))
    optimizer = getattr(optim, name)([p], **(options or OPTIONS[name]))
    for t, g in enumerate(GRADIENTS):
        if t == restart:
            p, state = nn.Parameter(p.data), optimizer.state_dict()
            optimizer = getattr(optim, name)([p], **(options or OPTIONS[name]))
            optimizer.load_state_dict(state)
        p.grad = Tensor(g.astype(dtype))
        optimizer.step()
    return p, optimizer


@each
@pytest.mark.parametrize("maximize", [False, True])
def test_the_steps_are_those_of_float32_and_the_parameter_their_rounding(name, maximize):
    options = OPTIONS[name] | {"maximize": maximize}
    exact, _ = stepped(name, np.float32, options)
    p, optimizer = stepped(name, BF16, options)
    state = optimizer.state[p]
    np.testing.assert_array_equal(state[MASTER], exact.data)
    np.testing.assert_array_equal(p.data, exact.data.astype(BF16))
    assert p.data.dtype == BF16
    assert all(x.dtype == np.float32 for x in state.values() if not isinstance(x, int))


@each
def test_a_state_that_was_stored_goes_on_to_the_last_bit(name):
    (p, whole), (q, again) = stepped(name, BF16), stepped(name, BF16, restart=2)
    np.testing.assert_array_equal(p.data, q.data)
    for key, value in whole.state[p].items():
        np.testing.assert_array_equal(again.state[q][key], value)


class Forgetful(optim.SGD):
    """The bug: each step begins at the rounded parameter."""

    def step(self, grad_scale=None):
        for p, state in self.state.items():
            state[MASTER][...] = p.data
        super().step(grad_scale)


@pytest.mark.parametrize(("optimizer", "moved"), [(optim.SGD, 0.9), (Forgetful, 1.0)])
def test_small_steps_add_up(optimizer, moved):
    """A thousand steps of 1e-4 each; the distance from 1 to the next number below is 39 times as far."""
    p = nn.Parameter(np.ones(1, BF16))
    steps = optimizer([p], lr=1e-4)
    for _ in range(1000):
        p.grad = Tensor(np.ones(1, BF16))
        steps.step()
    assert abs(float(p.data[0]) - moved) < 2**-8


def test_a_clipped_step_and_its_norm_are_of_float32():
    (p, q), scales = (nn.Parameter(THETA), nn.Parameter(THETA.astype(np.float32))), []
    for x in (p, q):
        x.grad = Tensor(GRADIENTS[0].astype(x.dtype))
        steps = optim.AdamW([x], lr=0.1)
        norm, scale = optim.clip_scale([x], 0.5)
        steps.step(grad_scale=scale)
        scales.append((float(norm), float(scale), scale.dtype))
    assert scales[0] == scales[1]
    np.testing.assert_array_equal(p.data, q.data.astype(BF16))


def test_the_state_of_other_parameters_is_refused():
    _, optimizer = stepped("AdamW", np.float32)
    p = nn.Parameter(THETA)
    with pytest.raises(ValueError, match=r"parameter 0 has the state step, exp_avg, exp_avg_sq, expected .*, master"):
        optim.AdamW([p]).load_state_dict(optimizer.state_dict())
