"""Functions along one axis: running sums and products, differences."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from drawn import Case, axes, generators, laid_out, shapes, uniform

from functions import Function


@st.composite
def cumulative(draw, *, zeros=False):
    shape = draw(shapes(min_dims=1))
    axis = draw(axes(shape, several=False, none=len(shape) == 1))
    x = draw(uniform(shape))
    if zeros:
        x = draw(laid_out(np.where(draw(generators()).random(shape) < 0.2, 0.0, x)))
    return Case((x,), {"axis": axis, "include_initial": draw(st.booleans())})


@st.composite
def differences(draw):
    """Up to two differences, with more laid before and behind."""
    shape = draw(shapes(min_dims=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))

    def more():
        size = draw(st.one_of(st.none(), st.integers(0, 2)))
        return None if size is None else draw(uniform(tuple(size if i == axis % len(shape) else m for i, m in places)))

    places = list(enumerate(shape))
    return Case((draw(uniform(shape)), more(), more()), {"axis": axis, "n": draw(st.integers(0, 2))})


def between(f, x, prepend, append, *, axis, n):
    """diff with all its arrays as differentiable arguments"""
    more = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return f(x, axis=axis, n=n, **more)


def torch_prod(x, *, axis, include_initial):
    import torch

    y = torch.cumprod(x, axis or 0)
    return torch.cat([torch.ones_like(y.sum(axis or 0, keepdim=True)), y], axis or 0) if include_initial else y


def torch_diff(x, *, axis, n, prepend=None, append=None):
    import torch

    x = torch.cat([p for p in (prepend, x, append) if p is not None], axis) if n else x + 0
    for _ in range(n):
        x = x.narrow(axis, 1, max(x.shape[axis] - 1, 0)) - x.narrow(axis, 0, x.shape[axis] - 1) if x.shape[axis] else x
    return x


FUNCTIONS = [
    Function("cumulative_sum", cumulative()),
    Function("cumulative_prod", cumulative(zeros=True), torch=torch_prod),
    Function("diff", differences(), torch=torch_diff, call=between),
]
