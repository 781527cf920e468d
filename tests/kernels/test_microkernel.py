"""The micro-kernel against NumPy, for every width of vectors on any machine; and the packing of its operands."""

import functools

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
from cases import generators, layouts
from hypothesis import given, settings
from nlp_kernels.common import microkernel
from nlp_kernels.common.microkernel import pack, pack_transposed, product_of

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
WIDTHS = pytest.mark.parametrize("width", [16, 32, 64])


@functools.cache
def compiled(width, dtype):
    """(c, a, x, panels, how, add): C (+)= A X, X as it is (0), packed (1), or given transposed and packed (2)."""
    product = product_of(width)

    def multiply(c, a, x, panels, how, add):
        if how == 0:
            product(c, a, x, add)
        elif how == 1:
            pack(panels, x)
            product(c, a, panels, add)
        else:
            pack_transposed(panels, x)
            product(c, a, panels, add)

    T, types = numba.from_dtype(np.dtype(dtype)), numba.types
    matrix, read = types.Array(T, 2, "A"), types.Array(T, 2, "A", readonly=True)
    signature = types.void(matrix, read, read, types.Array(T, 3, "C"), types.int64, types.boolean)
    return numba.njit(signature)(multiply)


def assert_equals_numpy(width, a, b, how, add, rng):
    """To the rounding of a sum of K products, and nothing beside the M rows is touched."""
    (M, K), N, dtype = a.shape, b.shape[1], a.dtype
    NR = 2 * width // dtype.itemsize
    P = -(-N // NR)
    x = (np.pad(b, ((0, 0), (0, P * NR - N))), b, b.T)[how]
    panels = np.full((P, K, NR), np.nan, dtype)
    whole = rng.normal(size=(M + 2, P * NR + 3)).astype(dtype)
    before, c = whole.copy(), whole[1:-1, : P * NR]
    compiled(width, dtype.type)(c, a, x, panels, how, add)
    exact = a.astype(np.float64) @ b.astype(np.float64) + (before[1:-1, :N] if add else 0)
    sizes = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(before[1:-1, :N])
    assert (np.abs(c[:, :N] - exact) <= (K + 2) * np.finfo(dtype).eps * sizes).all()
    np.testing.assert_array_equal(c[:, N:], before[1:-1, N : P * NR] if add else 0)  # what was filled up
    whole[1:-1, : P * NR] = before[1:-1, : P * NR]
    np.testing.assert_array_equal(whole, before)


@WIDTHS
@DTYPES
@pytest.mark.parametrize("add", [False, True], ids=["=", "+="])
def test_every_height(width, dtype, add):
    rng = np.random.default_rng(0)
    for M in range(2 * microkernel.height(width) + 2):
        a, b = rng.normal(size=(M, 7)).astype(dtype), rng.normal(size=(7, 40)).astype(dtype)
        assert_equals_numpy(width, a, b, M % 3, add, rng)


@WIDTHS
@DTYPES
@given(rng=generators(), data=st.data())
@settings(max_examples=20)
def test_equals_numpy(width, dtype, rng, data):
    """Strides of A, empty axes, column remainders, both ways to pack."""
    M, K, N = (data.draw(st.integers(0, n)) for n in (30, 70, 70))
    a = data.draw(layouts(rng.normal(size=(M, K)).astype(dtype)))
    a = a if data.draw(st.booleans()) else np.ascontiguousarray(a.T).T
    how = data.draw(st.sampled_from([0, 1, 2]))
    b = rng.normal(size=(K, N)).astype(dtype)
    assert_equals_numpy(width, a, data.draw(layouts(b)) if how else b, how, data.draw(st.booleans()), rng)


def test_the_width_is_the_processors_unless_it_is_set(monkeypatch):
    features = {"": 16, "+sse2,-avx": 16, "+avx,+avx2": 32, "+avx,+avx512f": 64}
    monkeypatch.delenv("TINYGRAD_NLP_VECTOR_BYTES", raising=False)
    for text, width in features.items():
        monkeypatch.setattr(microkernel, "_target", lambda text=text: ("x86_64", tuple(text.split(","))))
        assert microkernel.vector_bytes.__wrapped__() == width
        assert microkernel.height(width) == (12 if width == 64 else 6)
    monkeypatch.setattr(microkernel, "_target", lambda: ("aarch64-linux", ("+neon",)))
    assert (microkernel.vector_bytes.__wrapped__(), microkernel.height(16)) == (16, 12)
    monkeypatch.setenv("TINYGRAD_NLP_VECTOR_BYTES", "32")
    assert microkernel.vector_bytes.__wrapped__() == 32
    assert microkernel.columns(np.float64) == 2 * microkernel.vector_bytes() // 8


def test_other_operands_are_refused():
    @numba.njit
    def multiply(c, a, b):
        microkernel.product(c, a, b, False)

    x = np.zeros((2, 2))
    with pytest.raises(numba.TypingError, match="product takes matrices of one dtype"):
        multiply(x, x, x.astype(np.float32))
