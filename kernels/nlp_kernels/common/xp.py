"""The array API, and the few functions that references need and the standard lacks.

A reference is written once and runs on every array library: NumPy, CuPy, PyTorch, JAX, array_api_strict, and on the
tensors of `tinygrad_nlp`, whose namespace is reached through `__array_namespace__` alone. Each function below has one
branch per library; a library without a branch (a tensor's) brings a function of the same name in its namespace.
Everything is functional, and everything takes `numpy.longdouble`.
"""

from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np

from nlp_kernels.common.philox import keep_mask

Array = Any  # an array of any library, or a Tensor

_NOT_ARRAYS = (type(None), bool, int, float, complex, np.generic)
SQRT_PI = np.sqrt(4 * np.arctan(np.longdouble(1)))


def array_namespace(*arrays: Array) -> Any:
    """The namespace of the arrays; None and scalars have none, and NumPy arrays give way to any other library's.

    Raises TypeError for arrays of two libraries, neither of which is NumPy, and where nothing is an array.
    """
    others = [x for x in arrays if type(x) is not np.ndarray and not isinstance(x, _NOT_ARRAYS)]
    if others:
        return array_api_compat.array_namespace(*others)
    if any(type(x) is np.ndarray for x in arrays):
        return np
    raise TypeError(f"no array among the arguments: {', '.join(type(x).__name__ for x in arrays)}")


def erf(x: Array) -> Array:
    """erf(x) = 2/√π ∫₀ˣ exp(-t²) dt, elementwise (E13)."""
    xp = array_namespace(x)
    match library(xp):
        case "numpy":
            return _erf_extended(x) if x.dtype == np.longdouble else _scipy("special").erf(x)
        case "cupy":
            return import_module("cupyx.scipy.special").erf(x)
        case "jax":
            return import_module("jax.scipy.special").erf(x)
        case "array_api_strict":
            return _through_numpy(erf, x)
        case _:
            return xp.erf(x)


def scatter_add(updates: Array, indices: Array, n_rows: int) -> Array:
    """T[r] = Σ_{n: indices[n] = r} updates[n]: rows that share an index sum.  (N, D), (N,) -> (n_rows, D)  (E02)

    Raises IndexError for an index outside 0 … n_rows - 1 (NumPy).
    """
    xp = array_namespace(updates)
    match library(xp):
        case "numpy":
            return _scatter_add_numpy(updates, np.asarray(indices), n_rows)
        case "cupy":
            table = xp.zeros((n_rows, updates.shape[1]), dtype=updates.dtype)
            xp.add.at(table, indices, updates)
            return table
        case "torch":
            return updates.new_zeros((n_rows, updates.shape[1])).index_add(0, indices, updates)
        case "jax":
            return xp.zeros((n_rows, updates.shape[1]), dtype=updates.dtype).at[indices].add(updates)
        case "array_api_strict":
            return _through_numpy(lambda u, i: scatter_add(u, i, n_rows), updates, indices)
        case _:
            return xp.scatter_add(updates, indices, n_rows)


def gather(table: Array, indices: Array) -> Array:
    """The rows table[indices], for indices of any shape.  (V, D), (...) -> (..., D)  (E02)"""
    xp = array_namespace(table)
    rows = xp.take(table, xp.reshape(indices, (-1,)), axis=0)
    return xp.reshape(rows, (*indices.shape, *table.shape[1:]))


def pick(x: Array, indices: Array) -> Array:
    """One entry of each row: x[n, indices[n]].  (N, C), (N,) -> (N,)"""
    xp = array_namespace(x)
    columns = xp.astype(xp.reshape(indices, (-1, 1)), xp.int64)  # PyTorch gathers by int64 only
    return xp.squeeze(xp.take_along_axis(x, columns, axis=1), axis=1)


def where_finite(x: Array, otherwise: float = 0.0) -> Array:
    """x where it is finite, `otherwise` where it is infinite or NaN; no gradient flows through the latter."""
    xp = array_namespace(x)
    return xp.where(xp.isfinite(x), x, otherwise)


def row_max(x: Array) -> Array:
    """The largest entry of each row, 0 for a row without a finite one: what a stable exponential subtracts.

    (..., C) -> (..., 1), where C may be 0.
    """
    xp = array_namespace(x)
    if x.shape[-1] == 0:
        return xp.sum(x, axis=-1, keepdims=True)
    return where_finite(xp.max(x, axis=-1, keepdims=True))


def arange(n: int, like: Array) -> Array:
    """0, 1, …, n - 1 in the library and on the device of `like`.  -> (n,)"""
    xp = array_namespace(like)
    return xp.arange(n) if library(xp) == "jax" else xp.arange(n, device=like.device)


def unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """The slices x[0], x[1], … along an axis: the inverse of `stack`."""
    return array_namespace(x).unstack(x, axis=axis)


def dropout_mask(like: Array, p: float, seed: int, offset: int, shape: tuple[int, ...]) -> Array:
    """keep ~ Bernoulli(1 - p) of a shape, True = keep, in the library and on the device of `like`  (E16).

    A pure function: entry i is decided by Philox(seed, offset + i), the same on every backend.
    """
    xp = array_namespace(like)
    if library(xp) == "cupy":
        return import_module("nlp_kernels.common.mask").keep_mask(like, p, seed, offset, shape)
    keep = keep_mask(p, seed, offset, shape)
    return xp.asarray(keep) if library(xp) == "jax" else xp.asarray(keep, device=like.device)


def library(xp: Any) -> str:
    """The library behind a namespace: "numpy", "torch", "jax", "cupy", "array_api_strict", "tinygrad_nlp", …"""
    return xp.__name__.removeprefix("array_api_compat.").partition(".")[0]


def _scatter_add_numpy(updates, indices, n_rows):
    if indices.size and not (indices.min() >= 0 and indices.max() < n_rows):
        raise IndexError(f"scatter_add: indices {indices.min()} … {indices.max()} for a table of {n_rows} rows")
    # table = O^T updates, O the one-hot matrix of the indices: 20 times the speed of np.add.at, and in order
    ones, starts = np.ones(indices.size, updates.dtype), np.arange(indices.size + 1)
    return _scipy("sparse").csc_array((ones, indices, starts), shape=(n_rows, indices.size)) @ updates


def _erf_extended(x):
    """erf in the precision of `numpy.longdouble`, which SciPy lacks; a = |x|, the sign comes last.

    a < 2: 2/√π exp(-a²) Σ_n 2ⁿ a^(2n+1) / (2n+1)!!  (DLMF 7.6.2; all terms are positive, nothing cancels)
    beyond: 1 - exp(-a²) / (√π (a + ½/(a + 1/(a + 3/2/(a + …)))))  (DLMF 7.9.1)
    """
    a = np.abs(np.asarray(x))
    near = np.where(a < 2, a, 0)
    term = total = near
    for n in range(1, 100):
        term = term * (2 * near * near) / (2 * n + 1)
        total = total + term
    far = np.clip(a, 2, 12)  # erf(12) = 1 - 1e-64; NaN stays NaN
    fraction = far
    for k in range(200, 0, -1):
        fraction = far + (np.longdouble(k) / 2) / fraction
    tail = 1 - np.exp(-far * far) / (SQRT_PI * fraction)
    return np.copysign(np.where(a < 2, 2 / SQRT_PI * np.exp(-near * near) * total, tail), x)


def _scipy(module):
    return import_module("scipy." + module)  # late: a third of a second that most imports need not pay


def _through_numpy(function, *arrays):
    return array_namespace(*arrays).asarray(function(*(np.asarray(np.from_dlpack(x)) for x in arrays)))
