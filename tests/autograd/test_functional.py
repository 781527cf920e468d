"""vjp, jvp, jacobian, hessian and hvp agree with one another and with finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import hessian, hvp, jacobian, jvp, value_and_grad, vjp

shapes = st.lists(st.integers(1, 3), max_size=2).map(tuple)


def f(x):
    return tn.tanh(x) * tn.sum(x * x) + tn.exp(-x)


def scalar(x):
    return tn.sum(tn.sin(x) * tn.exp(x)) + tn.sum(x) ** 3


def numeric_jacobian(g, x, h=1e-6):
    columns = []
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = h
        e = e.reshape(x.shape)
        columns.append((np.asarray(g(x + e).data) - np.asarray(g(x - e).data)) / (2 * h))
    return np.stack(columns, axis=-1).reshape(columns[0].shape + x.shape)


@given(shapes, st.integers(0, 2**32 - 1))
def test_jacobian_and_its_products(shape, seed):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=shape), rng.normal(size=shape)
    J = jacobian(f, x).data
    np.testing.assert_allclose(J, numeric_jacobian(f, x), rtol=1e-6, atol=1e-6)
    n = x.ndim
    y, Jv = jvp(f, x, v)
    np.testing.assert_allclose(y.data, f(x).data)
    np.testing.assert_allclose(Jv.data, np.tensordot(J, v, axes=n), atol=1e-10)
    g = rng.normal(size=shape)
    _, gJ = vjp(f, x, g)
    np.testing.assert_allclose(gJ.data, np.tensordot(g, J, axes=n), atol=1e-10)


@given(shapes, st.integers(0, 2**32 - 1))
def test_hessian_and_its_product(shape, seed):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=shape), rng.normal(size=shape)
    H = hessian(scalar, x).data
    np.testing.assert_allclose(H, numeric_jacobian(lambda z: value_and_grad(scalar, z)[1], x), rtol=1e-5, atol=1e-5)
    y, Hv = hvp(scalar, x, v)
    np.testing.assert_allclose(y.data, scalar(x).data)
    np.testing.assert_allclose(Hv.data, np.tensordot(H, v, axes=x.ndim), atol=1e-9)


def test_several_inputs_and_outputs_keep_their_structure():
    x, w = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    value, (dx, dw) = value_and_grad(lambda x, w: tn.sum(x * w), (x, w))
    assert value.item() == -1.5
    np.testing.assert_array_equal(dx.data, w)
    np.testing.assert_array_equal(dw.data, x)
    ys, dxs = vjp(lambda x, w: (x * w, x + w), (x, w), (np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    assert len(ys) == len(dxs) == 2
    np.testing.assert_array_equal(dxs[0].data, np.array([1.0, 2.0]) * w + [3.0, 4.0])
    ys, tangents = jvp(lambda x, w: (x * w, x + w), (x, w), (np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    np.testing.assert_array_equal(tangents[0].data, np.array([1.0, 2.0]) * w + np.array([3.0, 4.0]) * x)
    np.testing.assert_array_equal(tangents[1].data, [4.0, 6.0])


def test_functions_that_do_not_depend_on_an_input():
    x, w = np.array([1.0, 2.0]), np.array([3.0])
    _, (_, dw) = value_and_grad(lambda x, w: tn.sum(x * x), (x, w))
    np.testing.assert_array_equal(dw.data, [0.0])
    np.testing.assert_array_equal(hessian(lambda x: tn.sum(x), x).data, np.zeros((2, 2)))
    _, Hv = hvp(lambda x: tn.sum(x), x, x)
    np.testing.assert_array_equal(Hv.data, [0.0, 0.0])


def test_what_the_functions_refuse():
    with pytest.raises(tn.ShapeError, match=r"a scalar function is needed.*\(2,\)"):
        hessian(lambda x: x * x, np.ones(2))
    with pytest.raises(TypeError, match="one output"):
        jacobian(lambda x: (x, x), np.ones(2))
    with pytest.raises(tn.ShapeError, match=r"tangent of shape \(3,\) for an input of shape \(2,\)"):
        jvp(lambda x: x * x, np.ones(2), np.ones(3))


def test_a_hessian_can_be_differentiated():
    x = tn.Tensor(np.array([0.3, -0.7]), requires_grad=True)
    H = hessian(lambda z: tn.sum(z**4), x, create_graph=True)
    weights = np.array([[1.0, 2.0], [3.0, -4.0]])
    (third,) = tn.grad(H, x, weights)
    np.testing.assert_allclose(third.data, 24 * x.data * np.diag(weights))
