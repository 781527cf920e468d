"""Token ids as vectors (E01)."""

from __future__ import annotations

from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError
from numpy.typing import ArrayLike, NDArray


def one_hot(ids: ArrayLike, vocab_size: int) -> NDArray[np.float32]:
    """(o_j)_i = 1[i = j] (E01), float32.  (…) -> (…, V)

    Raises IndexError for an id outside 0 … V−1, DtypeError for ids that are no integers.

    >>> text.one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    indices = checked_ids("one_hot", ids, vocab_size)
    vectors = np.zeros((*indices.shape, vocab_size), np.float32)
    np.put_along_axis(vectors, indices[..., None], 1, axis=-1)
    return vectors


def checked_ids(function: str, ids: ArrayLike, vocab_size: int) -> NDArray[Any]:
    """The ids as an array; IndexError outside 0 … V−1, DtypeError for what is no integer."""
    array = np.asarray(ids)
    if not array.size:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{function}: ids are integers, not {array.dtype}")
    if not (array.min() >= 0 and array.max() < vocab_size):
        raise IndexError(f"{function}: ids must lie in 0 … {vocab_size - 1}, not {array.min()} … {array.max()}")
    return array
