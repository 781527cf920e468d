"""Functions of matrices, and products over named axes."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from drawn import Case, broadcastable, distinct, shapes, uniform

from functions import Function


@st.composite
def diagonals(draw):
    shape = draw(shapes(min_dims=2, max_dims=4, max_side=3))
    return Case((draw(uniform(shape)),), {"offset": draw(st.integers(-4, 4))})


@st.composite
def matrix_norms(draw):
    shape = draw(shapes(min_dims=2, min_side=1, max_side=3))
    order = draw(st.sampled_from(["fro", 1, -1, float("inf"), -float("inf")]))
    return Case(draw(distinct(shape)), {"keepdims": draw(st.booleans()), "ord": order})


@st.composite
def einsums(draw):
    """Operands over letters with sizes of their own: products, sums, transposes, diagonals, broadcast ellipses."""
    sizes = dict(zip("ijkl", draw(st.lists(st.integers(0, 3), min_size=4, max_size=4)), strict=True))
    terms = draw(st.lists(st.text("ijkl", max_size=3), min_size=1, max_size=3))
    used = sorted({c for t in terms for c in t})
    output = "".join(draw(st.permutations(used)))[: draw(st.integers(0, len(used)))]
    dots = draw(st.booleans())
    leads = draw(broadcastable(len(terms))) if dots else [()] * len(terms)
    arrays = [draw(uniform((*lead, *(sizes[c] for c in t)))) for lead, t in zip(leads, terms, strict=True)]
    text = ",".join("..." * dots + t for t in terms)
    if draw(st.booleans()) or any(t.count(c) > 1 for t in terms for c in t):
        text += "->" + "..." * dots + output
    return Case((text, *arrays))


def numpy_diagonal(x, *, offset):
    return np.linalg.diagonal(x, offset=offset)


def torch_diagonal(x, *, offset):
    n, m = x.shape[-2:]
    return x.diagonal(offset, -2, -1) if -n <= offset <= m else x.new_zeros((*x.shape[:-2], 0)) + x.sum() * 0


def torch_trace(x, *, offset):
    return torch_diagonal(x, offset=offset).sum(-1)


def torch_matrix_norm(x, *, keepdims, ord):
    import torch

    return torch.linalg.matrix_norm(x, ord, keepdim=keepdims)


def numpy_trace(x, *, offset):
    return np.linalg.trace(x, offset=offset)


FUNCTIONS = [
    Function("diagonal", diagonals(), numpy=numpy_diagonal, torch=torch_diagonal),
    Function("trace", diagonals(), numpy=numpy_trace, torch=torch_trace),
    Function("matrix_norm", matrix_norms(), numpy=np.linalg.matrix_norm, torch=torch_matrix_norm),
    Function("einsum", einsums(), torch=None),
]
