"""Every differentiable function: its values against NumPy's, and its dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Case, generators
from functions import ALL, BY_NAME
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad

each = pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)
BINARY = "add subtract multiply divide pow logaddexp atan2 hypot maximum minimum remainder".split()
PROMOTING = [BY_NAME[n] for n in [*BINARY, "where", "matmul", "vecdot", "tensordot", "concat", "stack", "layer_norm"]]


def several(ys):
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def cast(case, *dtypes):
    """The case with its floating-point arrays in other dtypes."""
    at = dict(zip(case.places, [dtypes[i % len(dtypes)] for i in range(len(case.places))], strict=True))
    return Case(tuple(x.astype(at[i]) if i in at else x for i, x in enumerate(case.args)), case.params)


@each
@given(data=st.data())
def test_shapes_and_values_equal_numpys(function, data):
    case = data.draw(function.cases)
    ours, theirs = several(function(*case.args, **case.params)), several(function.by_numpy(case))
    assert len(ours) == len(theirs)
    for y, z in zip(ours, theirs, strict=True):
        assert type(y) is Tensor
        assert y.node is None
        assert y.shape == np.shape(z)
        np.testing.assert_allclose(y.data, z, rtol=1e-11, atol=1e-13)


@each
@given(data=st.data(), rng=generators())
@settings(max_examples=20)
def test_float32_stays_float32(function, data, rng):
    """Values, gradients and second gradients; near those of float64."""
    if function.name == "astype":
        return
    case = cast(data.draw(function.cases), np.float32)
    leaves = [Tensor(x, requires_grad=True) for x in case.floats]
    ys = several(function.of(case)(*leaves))
    wide = several(function(*cast(case, np.float64).args, **case.params))
    for y, z in zip(ys, wide, strict=True):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.data, z.data, rtol=1e-3, atol=1e-3)
    used = [y for y in ys if y.node is not None]
    if not used:
        return
    gs = [rng.normal(size=y.shape) for y in used]
    dxs = grad(used, leaves, gs, create_graph=True, allow_unused=True)
    assert all(dx.dtype == np.float32 for dx in dxs)
    tracked = [dx for dx in dxs if dx.node is not None]
    if tracked:
        ddxs = grad(tracked, leaves, [rng.normal(size=dx.shape) for dx in tracked], allow_unused=True)
        assert all(ddx.dtype == np.float32 for ddx in ddxs)


@pytest.mark.parametrize("function", PROMOTING, ids=lambda f: f.name)
@given(data=st.data(), rng=generators())
def test_mixed_precisions_promote_and_gradients_return(function, data, rng):
    """float32 with float64 gives float64; each gradient has the dtype of its input."""
    case = data.draw(function.cases)
    mixed = cast(case, *data.draw(st.permutations([np.float32, np.float64])))
    assume(len({x.dtype for x in mixed.floats}) > 1)
    leaves = [Tensor(x, requires_grad=True) for x in mixed.floats]
    ys = several(function.of(mixed)(*leaves))
    gs = [rng.normal(size=y.shape) for y in ys]
    assert all(y.dtype == np.float64 for y in ys)
    reference = cast(mixed, np.float64)
    wide = [Tensor(x, requires_grad=True) for x in reference.floats]
    expected = grad(several(function.of(reference)(*wide)), wide, gs, allow_unused=True)
    for create_graph in (False, True):
        dxs = grad(ys, leaves, gs, create_graph=create_graph, retain_graph=True, allow_unused=True)
        for x, dx, e in zip(leaves, dxs, expected, strict=True):
            assert dx.dtype == x.dtype
            np.testing.assert_allclose(dx.data, e.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [2, 0.75, True, np.float64(0.75), np.float32(0.75), np.int64(2)], ids=repr)
def test_numbers_are_weak(name, number, dtype):
    """Python's and NumPy's scalars take the dtype of the array, in values and gradients."""
    function, g = BY_NAME[name], np.asarray([0.75, -1.5])
    for place in (0, 1):
        args: list = [number, number]
        args[place] = x = Tensor(np.asarray([0.25, 0.5], dtype), requires_grad=True)
        y = function(*args)
        assert y.dtype == dtype
        (dx,) = grad(y, x, g)
        assert dx.dtype == dtype
        same = Tensor(np.asarray([0.25, 0.5], dtype), requires_grad=True)
        args[place], args[1 - place] = same, np.asarray(number, dtype)
        z = function(*args)
        np.testing.assert_allclose(y.data, z.data, rtol=1e-6)
        np.testing.assert_allclose(dx.data, grad(z, same, g)[0].data, rtol=1e-6)


@pytest.mark.parametrize("name", ["exp", "relu", "sigmoid", "gelu", "sum", "mean", "square", "logsumexp", "max"])
def test_python_floats_and_lists_are_float32(name):
    function = BY_NAME[name]
    assert function(0.5).dtype == np.float32
    assert function([0.5, 0.25]).dtype == np.float32
    np.testing.assert_array_equal(function([0.5, 0.25]).data, function(np.float32([0.5, 0.25])).data)


@pytest.mark.parametrize("name", BINARY)
def test_two_numbers_or_lists(name):
    function = BY_NAME[name]
    assert function(0.5, 0.25).dtype == np.float32
    listed = function([0.5, 0.25], [1.0, 2.0])
    assert listed.dtype == np.float32
    np.testing.assert_array_equal(listed.data, function(np.float32([0.5, 0.25]), np.float32([1, 2])).data)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.int8, np.bool_])
@pytest.mark.parametrize("name", ["add", "multiply", "divide", "maximum", "where", "pow", "remainder", "clip"])
def test_integers_and_bools_beside_floats(name, dtype):
    """NumPy's promotion; the gradient returns in the dtype of the float; integers have none."""
    x = Tensor(np.float32([1.5, 2.5, -3.5]), requires_grad=True)
    n = np.asarray([1, 0, 1]).astype(dtype)
    if name in ("divide", "remainder"):
        n[1] = 1
    function, numpy = BY_NAME[name], getattr(np, name)
    args = (np.asarray([True, False, True]), x, n) if name == "where" else (x, n, None) if name == "clip" else (x, n)
    plain = [a.data if a is x else a for a in args]
    y, z = function(*args), numpy(*plain)
    assert y.dtype == z.dtype
    np.testing.assert_array_equal(y.data, z)
    for create_graph in (False, True):
        (dx,) = grad(y, x, np.asarray([1.5, -0.5, 2.0]), create_graph=create_graph, retain_graph=True)
        assert dx.dtype == np.float32
        assert np.isfinite(dx.data).all()


@pytest.mark.parametrize("name", ["sum", "prod", "max", "cumulative_sum", "add", "multiply", "negative", "abs", "clip"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_integers_stay_integers(name, dtype):
    """As NumPy: whole numbers in, whole numbers out."""
    x = np.arange(1, 7, dtype=dtype).reshape(2, 3)
    args = {"add": (x, x), "multiply": (x, 2), "clip": (x, 2, 4)}.get(name, (x,))
    params = {"axis": 1} if name == "cumulative_sum" else {}
    y, z = BY_NAME[name](*args, **params), getattr(np, name)(*args, **params)
    assert y.dtype == z.dtype
    assert not y.requires_grad
    np.testing.assert_array_equal(y.data, z)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_sums_and_products_of_another_dtype(dtype):
    x = Tensor(np.float32([[1.5, 2.5], [3.5, -1.0]]), requires_grad=True)
    for function in (tn.sum, tn.prod, tn.cumulative_sum):
        y = function(x, axis=1, dtype=dtype)
        assert y.dtype == dtype
        if y.requires_grad:
            assert grad(y, x, np.arange(1.0, y.size + 1).reshape(y.shape))[0].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_indices_of_any_integer_dtype(dtype):
    """Also where the axis is longer than the dtype can count."""
    x = Tensor(np.random.default_rng(0).normal(size=(300, 2)), requires_grad=True)
    places = np.array([0, 127, 100, 127])
    indices = places.astype(dtype)
    g = np.random.default_rng(1).normal(size=(4, 2))
    expected = np.zeros((300, 2))
    np.add.at(expected, places, g)
    for read in (
        lambda: x[indices],
        lambda: tn.take(x, indices, axis=0),
        lambda: tn.take_along_axis(x, np.stack([indices, indices], axis=1), axis=0),
        lambda: tn.matrix_transpose(tn.take(x.T, indices, axis=1)),
    ):
        np.testing.assert_array_equal(read().data, x.data[places])
        np.testing.assert_allclose(grad(read(), x, g)[0].data, expected)
    np.testing.assert_allclose(tn.scatter_add(g, indices, 300).data, expected)


def test_conversion_cuts_the_graph_at_integers():
    x = Tensor([1.5, 2.5], requires_grad=True)
    assert not tn.astype(x, tn.int64).requires_grad
    assert not tn.astype(x, bool).requires_grad
    y = tn.astype(x, tn.float64)
    assert y.dtype == np.float64
    assert grad(y, x, np.asarray([1.0, -2.0]))[0].dtype == np.float32
    assert not tn.sum(x, dtype=tn.int64).requires_grad
