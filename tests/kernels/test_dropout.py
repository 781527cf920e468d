"""Dropout's mask inside a kernel is `philox.keep_mask`, bit for bit, wherever a slice begins."""

import numba
import numpy as np
import pytest
from cases import generators
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.common import dropout
from nlp_kernels.common.philox import philox

LAST = 2**64 - 1


@numba.njit
def factors(factor, words, index, drop, rescale):
    dropout.factors(factor, words, index, drop, rescale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rng=generators(),
    p=st.sampled_from([2.0**-40, 0.1, 0.5, 1 - 2.0**-40]),
    seed=st.sampled_from([0, 7, LAST]),
    offset=st.sampled_from([0, 1, 2, 3, 2**32 - 2, 2**40 + 3, LAST]),
    index=st.integers(0, 10**6),
    n=st.integers(0, 70),
)
def test_factors_are_the_keep_mask(dtype, rng, p, seed, offset, index, n):
    first = offset + index  # whose block is below 2^62 even where it is beyond 2^64 itself
    blocks = np.arange(first // 4, first // 4 + n // 4 + 2, dtype=np.uint64)
    keep = philox(seed, blocks).reshape(-1)[first % 4 :][:n] >= round(p * 2**32)
    drop, rescale = dropout.arguments((p, seed, offset))
    factor, words = np.full(n, np.nan, dtype), np.empty(dropout.room(n), np.uint32)
    factors(factor, words, index, drop, dtype(rescale))
    np.testing.assert_array_equal(factor, np.where(keep, dtype(rescale), dtype(0)))
