"""The distinct elements of an array, in ascending order; each NaN is its own element.

Their number depends on the values, so they are constants of the graph: no gradient flows through them.
"""

from typing import NamedTuple

from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.tensor import Tensor, wrap

__all__ = ["unique_all", "unique_counts", "unique_inverse", "unique_values"]


class UniqueAll(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


@explained
def unique_all(x):
    """The distinct values v, where each is first, inverse indices with v[inverse] = x, and counts.

    (...) -> values (M,), indices (M,), inverse_indices (...), counts (M,). Constants of the graph. Raises DtypeError
    for what is no array.

    >>> tn.unique_all([2, 1, 2]).inverse_indices
    Tensor([1, 0, 1])
    """
    data = as_array(x)
    found = namespace(data).unique(data, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    values, indices, inverse, counts = map(wrap, found)
    return UniqueAll(values, indices, wrap(inverse.data.reshape(data.shape)), counts)


@explained
def unique_counts(x):
    """The distinct values, and how often each occurs.  (...) -> values (M,), counts (M,)

    Constants of the graph. Raises DtypeError for what is no array.

    >>> tn.unique_counts([2, 1, 2]).counts
    Tensor([1, 2])
    """
    every = unique_all(x)
    return UniqueCounts(every.values, every.counts)


@explained
def unique_inverse(x):
    """The distinct values v, and the indices with v[inverse] = x.  (...) -> values (M,), inverse_indices (...)

    Constants of the graph. Raises DtypeError for what is no array.

    >>> tn.unique_inverse([2, 1, 2]).inverse_indices
    Tensor([1, 0, 1])
    """
    every = unique_all(x)
    return UniqueInverse(every.values, every.inverse_indices)


@explained
def unique_values(x):
    """The distinct values.  (...) -> (M,)

    A constant of the graph. Raises DtypeError for what is no array.

    >>> tn.unique_values([2, 1, 2])
    Tensor([1, 2])
    """
    return unique_all(x).values
