"""Mistakes get an answer that names the function, the shapes and the way out."""

import copy
import pickle
import re

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad

rng = np.random.default_rng(0)


def leaf(*shape):
    return Tensor(rng.normal(size=shape), requires_grad=True)


def test_grad_of_a_non_leaf():
    x = leaf(3)
    y = tn.tanh(x)
    with pytest.raises(RuntimeError, match=r"tanh, which is not a leaf.*retain_grad\(\).*grad\(output, \[x\]\)"):
        _ = y.grad
    y.retain_grad()
    g = rng.normal(size=3)
    (y * y).backward(g)
    np.testing.assert_allclose(y.grad.data, 2 * y.data * g)


def test_a_second_sweep():
    x = leaf(3)
    y = tn.tanh(x * x)
    y.backward(rng.normal(size=3))
    with pytest.raises(tn.FreedGraphError, match=r"tanh: .*released.*retain_graph=True"):
        y.backward(rng.normal(size=3))
    y = tn.tanh(x * x)
    g = rng.normal(size=3)
    x.grad = None
    y.backward(g, retain_graph=True)
    first = x.grad.data.copy()
    y.backward(g)
    np.testing.assert_allclose(x.grad.data, 2 * first)


@pytest.mark.parametrize("function", [tn.softmax, tn.add], ids=["fused", "keeps nothing"])
def test_a_second_sweep_of_any_kind_of_node(function):
    x = leaf(3, 3)
    y = function(x) if function is tn.softmax else function(x, x)
    y.backward(rng.normal(size=(3, 3)))
    with pytest.raises(tn.FreedGraphError, match="released"):
        y.backward(rng.normal(size=(3, 3)))


def test_cotangents():
    x = leaf(3)
    with pytest.raises(tn.ShapeError, match=r"cotangent is needed for an output of shape \(3,\)"):
        (x * x).backward()
    with pytest.raises(tn.ShapeError, match=r"cotangent of shape \(2,\) for an output of shape \(3,\)"):
        grad(x * x, x, rng.normal(size=2))
    with pytest.raises(tn.ShapeError, match="1 cotangents for 2 outputs"):
        grad([x * x, x], x, [rng.normal(size=3)])
    (g,) = grad(x * x, x, rng.normal(size=3).astype(np.float32))
    assert g.dtype == np.float64


def test_unused_and_untracked_inputs():
    x, w = leaf(3), leaf(3)
    with pytest.raises(RuntimeError, match=r"input 1 of grad\(\), of shape \(3,\), is not used.*allow_unused"):
        grad(tn.tanh(x), [x, w], rng.normal(size=3))
    _, zero = grad(tn.tanh(x), [x, w], rng.normal(size=3), allow_unused=True)
    np.testing.assert_array_equal(zero.data, np.zeros(3))
    with pytest.raises(RuntimeError, match=r"input 0 of grad.*does not require a gradient"):
        grad(tn.tanh(x), [Tensor([1.0])], rng.normal(size=3))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        Tensor([1.0]).backward()
    with pytest.raises(tn.DtypeError, match=r"only floating-point tensors.*int64"):
        Tensor([1, 2], requires_grad=True)


def test_in_place_changes():
    x = leaf(3)
    y = tn.exp(x)
    with pytest.raises(tn.InplaceError, match=r"x\[i\] = v on the result of exp.*where\(mask, v, x\)"):
        y[0] = 1.0
    with pytest.raises(tn.InplaceError, match=r"x \+= v.*write x = x \+ v"):
        x += 1.0
    constant = Tensor(np.zeros(3))
    with pytest.raises(tn.InplaceError, match="would overwrite"):
        constant[0] = x[0]
    counts = Tensor(np.zeros(3))
    counts[1] = 2.0
    counts += 1
    np.testing.assert_array_equal(counts.data, [1, 3, 1])
    with pytest.raises(tn.ShapeError, match=r"the result has shape \(2, 3\), x has \(3,\)"):
        counts += np.ones((2, 3))
    with tn.no_grad():
        x += 1.0
    assert x.requires_grad


def test_a_kept_array_that_changed_is_found():
    x, w = leaf(3), leaf(3)
    y = x * w
    with tn.no_grad():
        w *= 2.0
    with pytest.raises(tn.InplaceError, match=r"multiply: an array of shape \(3,\).*changed in place"):
        y.backward(rng.normal(size=3))
    y = tn.exp(x)
    y.detach()[0] = 5.0
    with pytest.raises(tn.InplaceError, match="exp: an array"):
        y.backward(rng.normal(size=3))
    y = x + w
    with tn.no_grad():
        w *= 2.0
    y.backward(rng.normal(size=3))  # addition kept nothing
    y = tn.softmax(x)
    with tn.no_grad():
        x[0] = 1.0
    with pytest.raises(tn.InplaceError, match="softmax: an array"):
        y.backward(rng.normal(size=3))


def test_a_view_of_a_kept_array_counts_too():
    x = leaf(4)
    part = Tensor(x.data[1:])
    y = x * x
    part[0] = 7.0
    with pytest.raises(tn.InplaceError, match="multiply"):
        y.backward(rng.normal(size=4))


def test_shapes_name_the_function():
    x, w = leaf(2, 3), leaf(4)
    for f, name in [(tn.add, "add"), (tn.matmul, "matmul"), (tn.maximum, "maximum")]:
        with pytest.raises(tn.ShapeError, match=rf"^{name}.*\(2, 3\).*\(4,\)"):
            f(x, w)
    with pytest.raises(tn.ShapeError, match=r"reshape.*\(2, 3\).*\(7,\)"):
        tn.reshape(x, (7,))
    with pytest.raises(IndexError, match=r"getitem.*out of bounds"):
        x[5]
    with pytest.raises(tn.ShapeError, match=r"linear: input \(2, 3\) and weight \(5, 4\)"):
        tn.linear(x, leaf(5, 4))
    with pytest.raises(tn.ShapeError, match=r"concat.*\(2, 3\), \(4,\)"):
        tn.concat([x, w])


def test_a_rule_of_a_wrong_shape():
    @tn.primitive
    def double(x):
        return 2 * x

    @double.vjp("x")
    def _(g):
        return g[0]

    with pytest.raises(tn.ShapeError, match=re.escape("double: the rule for x returned a gradient of shape ()")):
        double(leaf(3)).backward(rng.normal(size=3))


def test_a_rule_that_asks_for_what_is_not_there():
    @tn.primitive
    def double(x):
        return 2 * x

    with pytest.raises(ValueError, match="asks for 'z'"):

        @double.vjp("x")
        def _(g, z):
            return g

    with pytest.raises(ValueError, match="no input named 'w'"):
        double.vjp("w")

    with pytest.raises(TypeError, match="names its inputs"):

        @tn.primitive
        def anything(*xs):
            return xs


def test_kernels_refuse_mixed_dtypes_and_ops_promote():
    from nlp_kernels import matmul

    x32, w64 = np.ones((2, 3), np.float32), np.ones((3, 4))
    with pytest.raises(tn.DtypeError, match="w is float64 but x is float32"):
        matmul.forward(x32, w64)
    x, w = Tensor(x32, requires_grad=True), Tensor(w64.T, requires_grad=True)
    y = tn.linear(x, w)
    assert y.dtype == np.float64
    y.backward(rng.normal(size=y.shape))
    assert (x.grad.dtype, w.grad.dtype) == (np.float32, np.float64)


def test_devices():
    assert Tensor([1.0]).device == "cpu"
    assert Tensor([1.0]).to("cpu").device == "cpu"
    with pytest.raises(tn.DeviceError, match="unknown device 'gpu'"):
        Tensor([1.0]).to("gpu")


def test_no_silent_cuts_of_the_graph():
    x = leaf(3)
    for export in (np.asarray, Tensor.numpy, np.from_dlpack):
        with pytest.raises(RuntimeError, match=r"would cut the graph: x\.detach\(\)"):
            export(x)
    with pytest.raises(TypeError):
        np.exp(x)
    with pytest.raises(RuntimeError, match="only leaf tensors can be pickled"):
        pickle.dumps(tn.tanh(x))
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        copy.deepcopy(tn.tanh(x))


def test_every_error_of_the_library_has_one_base():
    for error in (tn.ShapeError, tn.DtypeError, tn.DeviceError, tn.FreedGraphError, tn.InplaceError, tn.BackendError):
        assert issubclass(error, tn.TinygradError)
