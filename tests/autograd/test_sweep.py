"""How gradients are accumulated: each hook once, no array that somebody else holds, the precision of the input."""

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, checkpoint, grad

rng = np.random.default_rng(0)


def leaf(*shape, dtype=np.float64):
    return Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)


def test_hooks_of_what_enters_a_checkpoint_are_called_once():
    x, w = leaf(3), leaf(3)
    h = tn.sin(x)
    h.retain_grad()
    calls = []
    for tensor in (x, w, h):
        tensor.register_hook(lambda g: calls.append(g) or g * 10)
    v = rng.normal(size=3)
    checkpoint(lambda a: a * w, h).backward(v)
    assert len(calls) == 3
    np.testing.assert_allclose(w.grad.data, 10 * v * h.data)
    np.testing.assert_allclose(h.grad.data, 10 * v * w.data)  # what its hook made of it
    np.testing.assert_allclose(x.grad.data, 100 * v * w.data * np.cos(x.data))


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_a_fused_function_are_called_once_at_order_two(create_graph):
    x, v = leaf(2, 3), rng.normal(size=(2, 3))
    (dx,) = grad(tn.softmax(x), x, v, create_graph=True)
    (plain,) = grad(dx, x, v, retain_graph=True)
    x.register_hook(lambda g: g * 10)
    (hooked,) = grad(dx, x, v, create_graph=create_graph)
    np.testing.assert_allclose(hooked.data, 10 * plain.data)


def test_second_gradients_of_a_fused_function_share_no_array():
    """x and its residual receive one and the same array; what older nodes add to one must not reach the other."""
    x, r = leaf(2, 3), leaf(2, 3)
    v, u = rng.normal(size=(2, 2, 3))
    results = []
    for create_graph in (False, True):
        older, oldest = x * x, r * r * r
        y, _ = tn.layer_norm(x, np.ones(3), np.zeros(3), r)
        (dx,) = grad(y, x, v, create_graph=True)
        results.append(grad(dx * older + oldest, [x, r], u, create_graph=create_graph))
    for in_arrays, in_tensors in zip(*results, strict=True):
        np.testing.assert_allclose(in_arrays.data, in_tensors.data)


def test_an_input_given_twice_has_two_gradients():
    x, v = leaf(3), rng.normal(size=3)
    first, second = grad(x * x, [x, x], v)
    np.testing.assert_array_equal(first.data, second.data)
    assert not np.shares_memory(first.data, second.data)


def test_an_index_of_a_scalar_that_has_other_uses():
    x = leaf()
    p = x[None]
    y = x * x * x + p[0]
    (dx,) = grad(y, x)
    np.testing.assert_allclose(dx.data, 3 * x.data**2 + 1)


def test_gradients_have_the_precision_of_their_input():
    @tn.primitive(broadcasts=True)
    def twice(x):
        return x * 2

    twice.vjp("x")(lambda g: g * np.float64(2))  # NumPy's float64 scalars promote
    x = leaf(3, dtype=np.float32)
    twice(x).backward(rng.normal(size=3))
    (dx,) = grad(twice(x), x, rng.normal(size=3))
    (graph,) = grad(twice(x) * x, x, rng.normal(size=3), create_graph=True)
    assert (x.grad.dtype, dx.dtype, graph.dtype) == (np.float32,) * 3


def test_a_rule_may_use_the_functions_of_the_library():
    @tn.primitive
    def sine(x):
        return np.sin(x)

    sine.vjp("x")(lambda g, x: g * tn.cos(x))
    x, v = leaf(3), rng.normal(size=3)
    (dx,) = grad(sine(sine(x)), x, v)
    np.testing.assert_allclose(dx.data, v * np.cos(np.sin(x.data)) * np.cos(x.data))
    (dx,) = grad(sine(x), x, v, create_graph=True)
    np.testing.assert_allclose(grad(dx, x, v)[0].data, -v * v * np.sin(x.data))


def test_one_number_in_a_list_is_the_cotangent_of_one_element():
    x = leaf(1)
    (dx,) = grad(x * x, x, [5.0])
    np.testing.assert_allclose(dx.data, 10 * x.data)
    (dx,) = grad((x * x).sum(), x, [5.0])
    np.testing.assert_allclose(dx.data, 10 * x.data)


def test_what_lies_below_the_inputs_is_not_released():
    """Gradients in stages: first to an intermediate, then from there."""
    x, v = leaf(3), rng.normal(size=3)
    h = tn.exp(x)
    (dh,) = grad(h * h, h, v)
    other = tn.sin(x)
    grad([h * 2, other], h, [v, v])  # an output beside the path, too
    (dx,) = grad([h, other], x, [dh, v])
    np.testing.assert_allclose(dx.data, 2 * v * h.data**2 + v * np.cos(x.data))
    first, second = tn.unstack(tn.sin(leaf(2, 3)))
    grad(first * second, [first, second], v)
    first.backward(v)
    (dh,) = grad(h * h, h, v)  # released by now, and not needed
    np.testing.assert_allclose(dh.data, 2 * v * h.data)
