"""BLAS from inside kernels: every order and stride, stacks that broadcast, and the cut among workers."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators, layouts, sizes
from hypothesis import given
from nlp_kernels.common import blas, threads
from nlp_kernels.common.compiled import kernel

DTYPES = st.sampled_from([np.float32, np.float64])


@kernel("c[M,N] | a(M,K) b(K,N) alpha beta gemm:int64 transa:int64 transb:int64 lda:int64 ldb:int64")
def gemm(c, a, b, alpha, beta, gemm, transa, transb, lda, ldb):
    (M, N), K = c.shape, a.shape[1]
    blas.gemm(gemm, transa, transb, M, N, K, alpha, a.ctypes.data, lda, b.ctypes.data, ldb, beta, c.ctypes.data, N)


def assert_equal_to_rounding(c, a, b):
    """Each entry is a sum of K products: off by at most K roundings of the sum of their sizes."""
    wide = [x.astype(np.longdouble) for x in (a, b)]
    bound = (a.shape[-1] + 1) * np.finfo(c.dtype).eps * (np.abs(wide[0]) @ np.abs(wide[1]))
    assert c.dtype == a.dtype
    assert c.shape == (wide[0] @ wide[1]).shape
    assert np.all(np.abs(c - wide[0] @ wide[1]) <= bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_gemm_in_c_order(dtype, ta, tb):
    """C ← α op(A) op(B) + β C with every transposition, A and B within larger arrays."""
    rng = np.random.default_rng(0)
    stored_a, stored_b = rng.normal(size=(9, 11)).astype(dtype), rng.normal(size=(12, 8)).astype(dtype)
    a = stored_a[:3, :5].T if ta else stored_a[:5, :3]
    b = stored_b[:7, :3].T if tb else stored_b[:3, :7]
    c = rng.normal(size=(5, 7)).astype(dtype)
    right = 2 * a.astype(np.float64) @ b + c / 2
    trans = [blas.TRANSPOSED if t else blas.AS_IT_IS for t in (ta, tb)]
    gemm(c, a, b, 2.0, 0.5, blas.address(c.dtype), *trans, 11, 8)
    np.testing.assert_allclose(c, right, rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_without_beta_the_old_values_are_not_read():
    a = np.ones((3, 3))
    c = np.full((3, 3), np.nan)
    gemm(c, a, a, 1.0, 0.0, blas.address(c.dtype), blas.AS_IT_IS, blas.AS_IT_IS, 3, 3)
    np.testing.assert_array_equal(c, 3)


@given(data=st.data(), rng=generators(), dtype=DTYPES)
def test_any_stack_of_any_strides(data, rng, dtype):
    M, K, N = (data.draw(sizes(20)) for _ in range(3))
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    left, right = ([1 if data.draw(st.booleans()) else n for n in lead[data.draw(st.integers(0, 2)) :]] for _ in "ab")
    a = data.draw(layouts(rng.normal(size=(*left, M, K)).astype(dtype)))
    b = data.draw(layouts(rng.normal(size=(*right, K, N)).astype(dtype)))
    assert_equal_to_rounding(blas.product(a, b), a, b)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
        lambda x: x[:, ::2],
        lambda x: x[:1],
        lambda x: x[:, :1],
        lambda x: x[3:4, ::3],
        lambda x: x[::3, 3:4],
        lambda x: x[2:3, 2:3],
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.broadcast_to(x[:, :1], x.shape),
        lambda x: np.lib.stride_tricks.sliding_window_view(x.ravel(), 5),
        lambda x: x.view([("re", float), ("im", float)])["im"],
    ],
)
def test_what_blas_cannot_read_is_copied(view):
    """Negative, zero, overlapping and gapped strides, and axes of size 1, where strides say nothing."""
    x = np.random.default_rng(0).normal(size=(8, 8))
    for a in (view(x), view(x).T):
        assert_equal_to_rounding(blas.product(a, np.ascontiguousarray(a.T)), a, a.T)
        assert_equal_to_rounding(blas.product(np.ascontiguousarray(a.T), a), a.T, a)


def test_no_copy_of_rows_or_columns():
    x = np.zeros((4, 6, 8))
    for a in (x, x[:, 1:3], x[..., 2:5], x.mT, x[0], x[0].T, x[1:2, 0], np.broadcast_to(x[0], (3, 6, 8))):
        assert blas.readable(a) is a
    for a in (x[..., ::2], x[..., ::-1], x[:, ::-1], x.transpose(1, 2, 0)[..., ::2, :]):
        assert blas.readable(a) is not a


@pytest.mark.parametrize("shape", [(300, 70, 200), (3, 2000, 500), (900, 65, 30)])
@pytest.mark.parametrize("stack", [(), (3,), (8,)])
def test_any_number_of_workers(shape, stack, monkeypatch):
    """Equal bits for one number of workers, equal to rounding among numbers."""
    rng, (M, K, N) = np.random.default_rng(0), shape
    a, b = rng.normal(size=(*stack, M, K)), rng.normal(size=(*stack, N, K)).swapaxes(-1, -2)
    for n in (1, 2, 4, 7):
        monkeypatch.setattr(threads, "_threads", n)
        monkeypatch.setattr(blas, "GRAIN", 1)
        c = blas.product(a, b)
        assert_equal_to_rounding(c, a, b)
        np.testing.assert_array_equal(blas.product(a, b), c)


def test_small_products_are_not_cut(monkeypatch):
    monkeypatch.setattr(threads, "_threads", 8)
    assert blas.workers(10, 10, 10) == 1
    assert blas.workers(1000, 1000, 1000) == 8
    assert blas.workers(0, 10, 10) == 1
