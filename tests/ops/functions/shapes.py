"""Functions that move values."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from drawn import Case, axes, broadcastable, shapes, uniform

from functions import Function


@st.composite
def reshaped(draw):
    x = draw(uniform(draw(shapes())))
    factors = [x.size] if x.size < 2 else draw(st.sampled_from([[x.size], _factors(x.size), _factors(x.size)[::-1]]))
    shape = [*factors, *[1] * draw(st.integers(0, 1))]
    if x.size and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return Case((x, tuple(shape)))


def _factors(n):
    first = next(f for f in range(2, n + 1) if n % f == 0)
    return [first, n // first]


@st.composite
def repeated_to(draw):
    a, b = draw(broadcastable(2))
    return Case((draw(uniform(a)), np.broadcast_shapes(a, b)))


@st.composite
def permuted(draw):
    x = draw(uniform(draw(shapes())))
    order = draw(st.permutations(range(x.ndim)))
    return Case((x, tuple(i - x.ndim if draw(st.booleans()) else i for i in order)))


@st.composite
def matrices(draw):
    return Case((draw(uniform(draw(shapes(min_dims=2)))),))


@st.composite
def triangles(draw):
    return Case((draw(uniform(draw(shapes(min_dims=2)))),), {"k": draw(st.integers(-3, 3))})


@st.composite
def moved(draw):
    x = draw(uniform(draw(shapes(min_dims=1))))
    n = draw(st.integers(1, x.ndim))
    source, target = (tuple(draw(st.permutations(range(x.ndim)))[:n]) for _ in range(2))
    if n == 1 and draw(st.booleans()):
        return Case((x, source[0] - x.ndim, target[0]))
    return Case((x, source, target))


@st.composite
def expanded(draw):
    x = draw(uniform(draw(shapes())))
    return Case((x,), {"axis": draw(st.integers(-x.ndim - 1, x.ndim))})


@st.composite
def squeezed(draw):
    shape = list(draw(shapes()))
    at = draw(st.integers(0, len(shape)))
    shape.insert(at, 1)
    axis = draw(st.sampled_from([at, (at,), at - len(shape)]))
    return Case((draw(uniform(tuple(shape))), axis))


@st.composite
def flipped(draw):
    x = draw(uniform(draw(shapes())))
    return Case((x,), {"axis": draw(axes(x.shape))})


@st.composite
def rolled(draw):
    x = draw(uniform(draw(shapes(min_dims=1))))
    axis = draw(axes(x.shape)) or 0
    shift = st.integers(-5, 5)
    if isinstance(axis, tuple):
        return Case((x, tuple(draw(shift) for _ in axis)), {"axis": axis})
    return Case((x, draw(shift)), {"axis": axis})


@st.composite
def converted(draw):
    return Case((draw(uniform(draw(shapes()))), np.dtype("float64")))


@st.composite
def tiled(draw):
    x = draw(uniform(draw(shapes(max_side=3))))
    return Case((x, tuple(draw(st.lists(st.integers(0, 2), max_size=x.ndim + 1)))))


@st.composite
def repeated(draw):
    x = draw(uniform(draw(shapes(max_side=3))))
    axis = draw(axes(x.shape, several=False))
    n = x.size if axis is None else x.shape[axis]
    counts = draw(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), min_size=n, max_size=n).map(np.asarray)))
    return Case((x, counts if isinstance(counts, int) else counts.astype(np.int64)), {"axis": axis})


@st.composite
def joined(draw):
    """concat of arrays that differ along the axis, or of any arrays, flattened"""
    shape = draw(shapes(min_dims=1, max_side=3))
    axis, n = draw(axes(shape, several=False)), draw(st.integers(1, 3))
    if axis is None:
        return Case(tuple(draw(uniform(draw(shapes(max_dims=2)))) for _ in range(n)), {"axis": None})
    sizes = [draw(st.integers(0, 3)) for _ in range(n)]
    axis_ = axis % len(shape)
    parts = [draw(uniform((*shape[:axis_], m, *shape[axis_ + 1 :]))) for m in sizes]
    return Case(tuple(parts), {"axis": axis})


@st.composite
def stacked(draw):
    shape = draw(shapes(max_side=3))
    n = draw(st.integers(1, 3))
    return Case(tuple(draw(uniform(shape)) for _ in range(n)), {"axis": draw(st.integers(-len(shape) - 1, len(shape)))})


@st.composite
def unstacked(draw):
    x = draw(uniform(draw(shapes(min_dims=1))))
    return Case((x,), {"axis": draw(st.integers(-x.ndim, x.ndim - 1))})


@st.composite
def meshes(draw):
    n = draw(st.integers(1, 3))
    parts = tuple(draw(uniform((draw(st.integers(0, 3)),))) for _ in range(n))
    return Case(parts, {"indexing": draw(st.sampled_from(["xy", "ij"]))})


@st.composite
def broadcast_together(draw):
    return Case(tuple(draw(uniform(s)) for s in draw(broadcastable(draw(st.integers(1, 3))))))


@st.composite
def any_array(draw, *more):
    return Case((draw(uniform(draw(shapes()))), *more))


def of_list(f, *arrays, **params):
    return f(list(arrays), **params)


def torch_meshgrid(*arrays, indexing):
    import torch

    return torch.meshgrid(*arrays, indexing=indexing)


FUNCTIONS = [
    Function("reshape", reshaped()),
    Function("broadcast_to", repeated_to()),
    Function("broadcast_arrays", broadcast_together()),
    Function("meshgrid", meshes(), torch=torch_meshgrid),
    Function("permute_dims", permuted()),
    Function("matrix_transpose", matrices()),
    Function("moveaxis", moved()),
    Function("expand_dims", expanded()),
    Function("squeeze", squeezed()),
    Function("flip", flipped()),
    Function("roll", rolled()),
    Function("tril", triangles()),
    Function("triu", triangles()),
    Function("astype", converted(), torch=None),
    Function("asarray", any_array(), torch=None),
    Function("to_device", any_array("cpu"), numpy=lambda x, device: x, torch=None),
    Function("tile", tiled()),
    Function("repeat", repeated()),
    Function("concat", joined(), call=of_list),
    Function("stack", stacked(), call=of_list),
    Function("unstack", unstacked()),
]
