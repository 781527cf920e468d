"""Functions over axes, and products of matrices."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from drawn import Case, axes, broadcastable, distinct, shapes, uniform
from hypothesis import assume

from functions import Function


def reduced_size(shape, axis):
    """How many elements make one result."""
    picked = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([shape[a] for a in picked]))


@st.composite
def over_axes(draw, *, least=0, values=uniform, one_axis=False):
    shape = draw(shapes())
    axis = draw(axes(shape, several=not one_axis))
    assume(reduced_size(shape, axis) >= least)
    x = draw(values(shape))
    return Case((x[0] if isinstance(x, tuple) else x,), {"axis": axis, "keepdims": draw(st.booleans())})


@st.composite
def moments(draw):
    case = draw(over_axes(least=2))
    x = draw(uniform(case.args[0].shape, repeated=False))
    assume(x.size)
    return Case((x,), case.params | {"correction": draw(st.sampled_from([0, 1, 0.5]))})


@st.composite
def norms(draw):
    case = draw(over_axes(least=1, values=distinct))
    return Case(case.args, case.params | {"ord": draw(st.sampled_from([1, 2, 3.5, float("inf")]))})


@st.composite
def products(draw):
    """matmul of any two shapes: vectors, matrices, leading axes that broadcast"""
    n, m, k = (draw(st.integers(0, 3)) for _ in range(3))
    lead_a, lead_b = draw(broadcastable(2))
    a = draw(st.sampled_from([(k,), (n, k), (*lead_a, n, k)]))
    b = draw(st.sampled_from([(k,), (k, m), (*lead_b, k, m)]))
    return Case((draw(uniform(a)), draw(uniform(b))))


@st.composite
def row_products(draw):
    a, b = draw(broadcastable(2))
    k, axis = draw(st.integers(0, 3)), draw(st.integers(1, min(len(a), len(b)) + 1))
    a, b = ((*s[: len(s) - axis + 1], k, *s[len(s) - axis + 1 :]) for s in (a, b))
    return Case((draw(uniform(a)), draw(uniform(b))), {"axis": -axis})


@st.composite
def contractions(draw):
    shared = draw(shapes(max_dims=2, max_side=3))
    a = (*draw(shapes(max_dims=2, max_side=3)), *shared)
    b = (*shared, *draw(shapes(max_dims=2, max_side=3)))
    n = len(shared)
    pairs = ([i - n for i in range(n)], list(range(n)))
    return Case((draw(uniform(a)), draw(uniform(b))), {"axes": draw(st.sampled_from([n, pairs]))})


@st.composite
def outers(draw):
    return Case(tuple(draw(uniform((draw(st.integers(0, 4)),))) for _ in range(2)))


def logsumexp(x, *, axis, keepdims):
    with np.errstate(divide="ignore"):
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def torch_logsumexp(x, *, axis, keepdims):
    import torch

    axis = tuple(range(x.ndim)) if axis is None else axis
    return torch.logsumexp(x, axis, keepdims) if axis != () else x + 0


def torch_vecdot(a, b, *, axis):
    return (a * b).sum(axis)


def torch_prod(x, *, axis, keepdims):
    axis = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for a in sorted(a % x.ndim for a in axis)[::-1]:
        x = x.prod(dim=a, keepdim=keepdims)
    return x + 0


def torch_norm(x, *, axis, keepdims, ord):
    import torch

    return torch.linalg.vector_norm(x, ord=ord, dim=axis, keepdim=keepdims) if axis != () else abs(x)


def torch_moment(name):
    def call(x, *, axis, keepdims, correction):
        import torch

        axis = tuple(range(x.ndim)) if axis is None else axis
        return getattr(torch, name)(x, axis, correction=correction, keepdim=keepdims)

    return call


FUNCTIONS = [
    Function("sum", over_axes()),
    Function("mean", over_axes(least=1)),
    Function("prod", over_axes(), torch=torch_prod),
    Function("max", over_axes(least=1, values=distinct)),
    Function("min", over_axes(least=1, values=distinct)),
    Function("var", moments(), torch=torch_moment("var")),
    Function("std", moments(), torch=torch_moment("std")),
    Function("logsumexp", over_axes(least=1), numpy=logsumexp, torch=torch_logsumexp),
    Function("vector_norm", norms(), numpy=np.linalg.vector_norm, torch=torch_norm),
    Function("matmul", products()),
    Function("vecdot", row_products(), torch=torch_vecdot),
    Function("tensordot", contractions()),
    Function("outer", outers()),
]
