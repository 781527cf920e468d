"""Recomputed activations give the same gradients, and are not kept."""

import tracemalloc

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, checkpoint, grad
from tinygrad_nlp.autograd.check import check_grads

rng = np.random.default_rng(0)


def test_the_same_gradients_with_captured_parameters_and_dropout():
    x = Tensor(rng.normal(size=(4, 5)), requires_grad=True)
    w = Tensor(rng.normal(size=(5, 5)), requires_grad=True)

    def block(h):
        return tn.dropout(tn.tanh(h @ w), 0.4)

    g = rng.normal(size=(4, 5))
    results = []
    for segment in (block, lambda h: checkpoint(block, h)):
        tn.manual_seed(3)
        y = segment(segment(x) * x)
        after = tn.random.default_generator.state
        results.append([y.data, *(d.data for d in grad(y, [x, w], g))])
        assert tn.random.default_generator.state == after
    for kept, recomputed in zip(*results, strict=True):
        np.testing.assert_array_equal(kept, recomputed)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_orders(order):
    def f(x, w):
        return checkpoint(lambda h: tn.tanh(h @ w) * h, x @ w)

    check_grads(f, [rng.normal(size=(2, 3)), rng.normal(size=(3, 3))], order=order)


def test_an_input_made_from_another_input_counts_once():
    """w reaches the segment by itself and through h: the segment's own part must not be taken twice."""

    def f(w):
        h = w * w
        return checkpoint(lambda a: a * w, h)

    check_grads(f, [rng.normal(size=3)], order=3)


def test_several_outputs_and_backward():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    a, b = checkpoint(lambda h: (tn.sin(h), tn.cos(h)), x)
    g = rng.normal(size=3)
    b.backward(g)
    np.testing.assert_allclose(x.grad.data, -g * np.sin(x.data))
    assert a.shape == (3,)


def test_activations_are_not_kept():
    def deep(h):
        for _ in range(20):
            h = tn.tanh(h * h)
        return h

    def held(segment):
        x = Tensor(rng.normal(size=100_000), requires_grad=True)
        tracemalloc.start()
        y = segment(x)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert y.requires_grad
        return size

    assert held(lambda x: checkpoint(deep, x)) < held(deep) / 10


def test_without_recording_it_is_just_the_function():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    with tn.no_grad():
        assert not checkpoint(tn.tanh, x).requires_grad
    assert checkpoint(tn.isnan, x).dtype == np.bool_


def test_outputs_without_a_gradient_stay_constants():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    a, index = checkpoint(lambda h: [h * 2, tn.argmax(h)], x)
    assert (a.requires_grad, index.requires_grad) == (True, False)
    g = rng.normal(size=3)
    a.backward(g)
    np.testing.assert_allclose(x.grad.data, 2 * g)


def test_an_input_changed_before_it_is_used_again_is_found():
    x = Tensor(rng.normal(size=3), requires_grad=True)
    y = checkpoint(tn.exp, x)
    with tn.no_grad():
        x *= 2.0
    with pytest.raises(tn.InplaceError, match=r"checkpoint\(exp\): an array of shape \(3,\)"):
        y.backward(rng.normal(size=3))


def test_a_parameter_changed_before_it_is_used_again_is_found():
    x, w = (Tensor(rng.normal(size=3), requires_grad=True) for _ in range(2))
    y = checkpoint(lambda h: tn.sin(h * w), x)
    with tn.no_grad():
        w *= 2.0
    with pytest.raises(tn.InplaceError, match=r"checkpoint\(<lambda>\): an array of shape \(3,\)"):
        y.backward(rng.normal(size=3))
    y = checkpoint(lambda h: tn.sin(h * w), x)
    Tensor(np.zeros(2))[0] = 1.0  # another array's change is nothing to it
    y.backward(rng.normal(size=3))
