"""Functions that read some places of an array, perhaps several times."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
from drawn import Case, axes, distinct, generators, laid_out, shapes, uniform

from functions import Function


@st.composite
def indexed(draw):
    """Integers, slices of any step, None, ..., integer arrays with repeats, masks, and mixtures of them."""
    shape = draw(shapes(min_dims=1, min_side=1))
    kind = draw(st.sampled_from(["basic", "integers", "mask", "rows", "mixed", "mask of rows"]))
    rng = draw(generators())
    rows = rng.integers(-shape[0], shape[0], draw(shapes(max_dims=2)))
    match kind:
        case "basic":
            index = draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
        case "integers":
            index = draw(hnp.integer_array_indices(shape, dtype=np.dtype(np.int64)))
        case "mask":
            index = rng.random(shape) < 0.5
        case "rows":
            index = draw(st.sampled_from([rows, rows.tolist()])) if rows.size else rows
        case "mixed":
            index = (rows, ..., None)
        case "mask of rows":
            index = (rng.random(shape[0]) < 0.5, *[slice(None, None, -1)] * (len(shape) - 1))
    return Case((draw(uniform(shape)), index))


@st.composite
def taken(draw):
    shape = draw(shapes(min_dims=1))
    axis = draw(axes(shape, several=False, none=len(shape) == 1))
    n = shape[axis or 0]
    count = draw(shapes(max_dims=2, max_side=3)) if n else (0,)
    indices = draw(laid_out(draw(generators()).integers(-n, max(n, 1), count), repeated=True))
    return Case((draw(uniform(shape)), indices), {"axis": axis})


@st.composite
def taken_along(draw):
    """Indices as long as they like along the axis; elsewhere sizes broadcast."""
    shape = draw(shapes(min_dims=1))
    axis = draw(axes(shape, several=False, none=False))
    n, at = shape[axis], axis % len(shape)
    sizes = [draw(st.sampled_from([m, 1])) for m in shape]
    sizes[at] = draw(st.integers(0, 4)) if n else 0
    indices = draw(laid_out(draw(generators()).integers(-n, max(n, 1), sizes), repeated=True))
    ours = tuple(m if i == at or draw(st.booleans()) else 1 for i, m in enumerate(shape))
    if any(m != 1 and k == 1 and o == 1 for m, k, o in zip(shape, sizes, ours, strict=True)):
        ours = shape
    return Case((draw(uniform(ours)), indices), {"axis": axis})


@st.composite
def scattered(draw):
    n, d, rows = draw(st.integers(0, 5)), draw(st.integers(0, 3)), draw(st.integers(1, 4))
    return Case((draw(uniform((n, d))), draw(generators()).integers(0, rows, n), rows))


@st.composite
def sorted_(draw):
    shape = draw(shapes(min_dims=1))
    (x,) = draw(distinct(shape))
    axis = draw(axes(shape, several=False, none=False))
    return Case((x,), {"axis": axis, "descending": draw(st.booleans())})


def numpy_scatter(updates, indices, n_rows):
    table = np.zeros((n_rows, updates.shape[1]), updates.dtype)
    np.add.at(table, indices, updates)
    return table


def torch_scatter(updates, indices, n_rows):
    return updates.new_zeros((n_rows, updates.shape[1])).index_add(0, indices, updates)


def torch_take(x, indices, *, axis):
    return x[(slice(None),) * ((axis or 0) % x.ndim) + (indices,)]


def torch_along(x, indices, *, axis):
    import torch

    n = x.shape[axis]
    return torch.take_along_dim(x, indices % n if n else indices, dim=axis)


def numpy_sort(x, *, axis, descending):
    y = np.sort(x, axis=axis)
    return np.flip(y, axis=axis) if descending else y


FUNCTIONS = [
    Function("getitem", indexed(), numpy=lambda x, index: x[index], torch=None),
    Function("take", taken(), torch=torch_take),
    Function("take_along_axis", taken_along(), torch=torch_along),
    Function("scatter_add", scattered(), numpy=numpy_scatter, torch=torch_scatter),
    Function("sort", sorted_(), numpy=numpy_sort),
]
