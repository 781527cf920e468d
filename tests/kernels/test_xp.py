"""The helpers that references need beyond the array API, on each library, and erf in extended precision."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from engines import ENGINES, Jax
from hypothesis import given, settings
from nlp_kernels.common import xp as helpers
from nlp_kernels.common.philox import keep_mask

engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
EPS = np.finfo(np.longdouble).eps


def run(engine, function, *arrays):
    """function(*arrays) in the engine's library, back as NumPy."""
    with engine.context():
        return engine.numpy(function(*map(engine.array, arrays)))


def test_erf_in_extended_precision():
    mpmath = pytest.importorskip("mpmath")
    x = np.linspace(-13, 13, 1501, dtype=np.longdouble) + np.longdouble(1) / 3
    x = np.concatenate([x, np.asarray([2, -2, 1e-30, 1e-5, 0], np.longdouble)])
    with mpmath.workdps(50):
        exact = [mpmath.erf(mpmath.mpf(float(v)) + mpmath.mpf(float(v - float(v)))) for v in x]
        right = np.asarray([np.longdouble(mpmath.nstr(v, 40)) for v in exact])
    assert np.max(np.abs(helpers.erf(x) - right) / np.where(right == 0, 1, np.abs(right))) < 8 * EPS
    special = helpers.erf(np.asarray([np.inf, -np.inf, np.nan, -0.0], np.longdouble))
    np.testing.assert_array_equal(special, [1, -1, np.nan, 0])
    assert np.signbit(special[3])


@engines
def test_erf(engine):
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(run(engine, helpers.erf, x), special.erf(x), rtol=4e-16)
    assert run(engine, helpers.erf, x.astype(np.float32)).dtype == np.float32


@engines
def test_scatter_add_sums_repeated_rows(engine):
    @given(rng=generators(), n=st.integers(0, 9), V=st.integers(1, 5), D=st.integers(0, 3))
    @(settings(max_examples=5) if isinstance(engine, Jax) else settings())
    def check(rng, n, V, D):
        updates, indices = rng.normal(size=(n, D)), rng.integers(0, V, n)
        right = np.zeros((V, D))
        np.add.at(right, indices, updates)
        ours = run(engine, lambda u, i: helpers.scatter_add(u, i, V), updates, indices)
        np.testing.assert_allclose(ours, right, rtol=1e-15, atol=1e-15)

    check()


@pytest.mark.parametrize("indices", [[0, 3], [-1, 0]])
def test_scatter_add_refuses_rows_that_do_not_exist(indices):
    with pytest.raises(IndexError, match="for a table of 3 rows"):
        helpers.scatter_add(np.ones((2, 2)), np.asarray(indices), 3)


def test_scatter_add_keeps_the_dtype():
    for dtype in (np.float32, np.float64, np.longdouble):
        assert helpers.scatter_add(np.ones((2, 2), dtype), np.asarray([0, 0]), 3).dtype == dtype


@engines
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2), (2, 0)])
def test_gather(engine, shape):
    table, indices = np.arange(12.0).reshape(4, 3), np.random.default_rng(0).integers(0, 4, shape)
    np.testing.assert_array_equal(run(engine, helpers.gather, table, indices), table[indices])


@engines
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("N", [0, 1, 4])
def test_pick(engine, N, dtype):
    x, indices = np.arange(3.0 * N).reshape(N, 3), np.random.default_rng(0).integers(0, 3, N).astype(dtype)
    np.testing.assert_array_equal(run(engine, helpers.pick, x, indices), x[np.arange(N), indices])


@engines
def test_rows_without_a_finite_maximum(engine):
    x = np.asarray([[1.0, 2.0], [-np.inf, 3.0], [-np.inf, -np.inf], [np.inf, 1.0]])
    np.testing.assert_array_equal(run(engine, helpers.row_max, x), [[2], [3], [0], [0]])
    assert run(engine, helpers.row_max, np.ones((3, 0))).shape == (3, 1)
    np.testing.assert_array_equal(run(engine, helpers.where_finite, x[2:]), [[0, 0], [0, 1]])


@engines
def test_unstack_undoes_stack(engine):
    x = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(run(engine, lambda a: helpers.unstack(a, axis=1)[2], x), x[:, 2])


@engines
def test_dropout_mask_is_the_same_everywhere(engine):
    mask = run(engine, lambda x: helpers.dropout_mask(x, 0.3, 7, 11, (5, 6)), np.ones(1))
    np.testing.assert_array_equal(mask, keep_mask(0.3, 7, 11, (5, 6)))


def test_the_namespace_is_the_one_library_that_is_not_numpy():
    torch = pytest.importorskip("torch")
    strict = pytest.importorskip("array_api_strict")
    a = np.ones(2)
    assert helpers.array_namespace(None, a, 1.0, np.float64(2)) is np
    assert helpers.library(helpers.array_namespace(a, torch.ones(2), None)) == "torch"
    with pytest.raises(TypeError, match="Multiple namespaces"):
        helpers.array_namespace(strict.ones(2), torch.ones(2))
    with pytest.raises(TypeError, match="no array among the arguments: NoneType, float"):
        helpers.array_namespace(None, 1.0)
