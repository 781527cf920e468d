"""What the array API has beside differentiable functions: sets, searching, limits, and mistakes that get an answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import AxisError, ShapeError, Tensor, grad


@given(st.lists(st.integers(-3, 3) | st.just(np.nan), max_size=8), st.booleans())
def test_distinct_elements(values, column):
    x = np.asarray(values, np.float64).reshape((-1, 1) if column else (-1,))
    values, indices, inverse, counts = tn.unique_all(x)
    assert inverse.shape == x.shape
    np.testing.assert_array_equal(values.data[inverse.data], x)
    np.testing.assert_array_equal(x.reshape(-1)[indices.data], values.data)
    assert counts.data.sum() == x.size
    np.testing.assert_array_equal(values.data, np.unique(x, equal_nan=False))
    np.testing.assert_array_equal(tn.unique_counts(x).counts.data, counts.data)


def test_no_gradient_through_a_set():
    assert not tn.unique_values(Tensor([1.0, 2.0, 1.0], requires_grad=True)).requires_grad


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=6), st.lists(st.integers(-6, 6), max_size=6))
def test_where_to_insert(values, wanted):
    x, v = np.asarray(values), np.asarray(wanted, np.int64)
    order = tn.argsort(x)
    for side in ("left", "right"):
        expected = np.searchsorted(np.sort(x), v, side=side)
        np.testing.assert_array_equal(tn.searchsorted(x, v, side=side, sorter=order).data, expected)
        np.testing.assert_array_equal(tn.searchsorted(tn.sort(x), Tensor(v), side=side).data, expected)


def test_floor_division_at_infinity():
    y = tn.floor_divide(tn.asarray([np.inf, -np.inf, 3.0, -3.0]), tn.asarray([2.0, 2.0, -np.inf, np.inf]))
    np.testing.assert_array_equal(y.data, [np.inf, -np.inf, -0.0, -0.0])
    assert np.signbit(y.data[2:]).all()


def test_limits_are_python_numbers():
    for dtype in (tn.float32, tn.float64):
        f = tn.finfo(tn.zeros(1, dtype=dtype))
        assert all(type(v) is float for v in (f.eps, f.max, f.min, f.smallest_normal))
        assert f.eps == np.finfo(dtype).eps
        assert f.dtype == dtype
    assert tn.iinfo(tn.uint8) == tn.iinfo(tn.zeros(1, dtype=tn.uint8))
    assert (tn.iinfo(tn.int16).min, tn.iinfo(tn.int16).max) == (-(2**15), 2**15 - 1)


def test_what_the_namespace_can_do():
    info = tn.Tensor([1.0]).__array_namespace__().__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] == tn.asarray(0.5).dtype == tn.float32
    assert info.dtypes(kind="real floating") == {"float32": tn.float32, "float64": tn.float64}
    assert set(info.dtypes(kind=("bool", "signed integer"))) == {"bool", "int8", "int16", "int32", "int64"}
    assert len(info.dtypes()) == 11
    assert tn.__array_api_version__ == "2024.12"


@pytest.mark.parametrize("subscripts", ["ij->ij", "i,j->ij", "ij,jk->il", "ij,jk->iik", "i1,jk->i", "ij,kj,->"])
def test_a_wrong_einsum_says_so(subscripts):
    with pytest.raises(ShapeError, match="einsum"):
        tn.einsum(subscripts, np.ones((2, 3)), np.ones((3, 2)))


def test_einsum_of_sizes_that_differ():
    with pytest.raises(ShapeError, match="'j' has the sizes 3 and 4"):
        tn.einsum("ij,jk->ik", np.ones((2, 3)), np.ones((4, 2)))
    with pytest.raises(ShapeError, match="'i' twice"):
        tn.einsum("ii->i", np.ones((2, 3)))


def test_mistakes():
    for error in (AxisError, IndexError, ValueError):
        with pytest.raises(error, match="expand_dims"):
            tn.expand_dims(np.ones(3), axis=5)
    with pytest.raises(ShapeError, match="diff of \\(3,\\): there is no axis 1"):
        tn.diff(np.ones(3), axis=1)
    with pytest.raises(ValueError, match="-1 differences"):
        tn.diff(np.ones(3), n=-1)
    with pytest.raises(ValueError, match="ord is"):
        tn.matrix_norm(np.ones((2, 2)), ord="nuc")
    with pytest.raises(ShapeError, match="a matrix is needed"):
        tn.trace(np.ones(3))


def test_running_products_through_zeros():
    """d(x₀ x₁ x₂)/dx₁ at x₁ = 0 is x₀ x₂: no division by the zero."""
    x = Tensor(np.asarray([2.0, 0.0, 5.0, 0.0]), requires_grad=True)
    (dx,) = grad(tn.cumulative_prod(x), x, [1.0, 10.0, 100.0, 1000.0])
    np.testing.assert_array_equal(dx.data, [1.0, 20.0 + 1000.0, 0.0, 0.0])


def test_copies_and_devices():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = tn.reshape(x, (2, 1), copy=True)
    assert not np.may_share_memory(y.data, x.data)
    assert np.may_share_memory(tn.reshape(x, (2, 1), copy=False).data, x.data)
    (dx,) = grad(tn.astype(y, tn.float64, device="cpu"), x, [[3.0], [4.0]])
    np.testing.assert_array_equal(dx.data, [3.0, 4.0])
