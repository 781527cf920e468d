"""Indexing reads places; its gradient adds into the places that were read, repeats included."""

import math

import numpy as np
from nlp_kernels.common import xp as helpers

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.operators import plain_index
from tinygrad_nlp.autograd.sweep import Piece
from tinygrad_nlp.autograd.tensor import Tensor
from tinygrad_nlp.ops.joining import Joining

_BASIC = (int, slice, type(None), type(Ellipsis))


def getitem(x, index):
    """x[index]: integers, slices, None, ..., boolean and integer arrays."""
    return _getitem(x, plain_index(index))


@primitive
def _getitem(x, index):
    return x[index]


@_getitem.vjp("x")
def _(g, index):
    return Piece(index, g, _put)


def _add_at(buffer, index, value):
    """buffer[index] += value, where a place read twice receives both."""
    if isinstance(index, _BASIC) or (type(index) is tuple and all(isinstance(i, _BASIC) for i in index)):
        buffer[index] += value
    elif isinstance(buffer, np.ndarray):
        np.add.at(buffer, index, value)
    else:
        namespace(buffer).add.at(buffer, index, value)


class _Put(Joining):
    """zeros(shape) with every value added at its index: the gradient of many x[index] at once."""

    def __call__(self, *args):  # in a first-order sweep: into the sweep's buffer
        if len(args) == 3:
            return _add_at(*args)
        return super().__call__(*args)

    def joined(self, shape, indices, values):
        return super().__call__(values, (shape, indices))


def _put_forward(xp, arrays, how):
    shape, indices = how
    out = xp.zeros(shape, dtype=arrays[0].dtype)
    for index, value in zip(indices, arrays, strict=True):
        _add_at(out, index, value)
    return out


_put = _Put("put", _put_forward, lambda g, shapes, how: [g[i] for i in how[1]])


@primitive
def take(x, indices, *, axis=None):
    """the slices of x at integer indices along an axis (optional for one axis); repeated ones sum in the gradient"""
    return namespace(x).take(x, indices, axis=axis)


@take.vjp("x")
def _(g, x_shape, indices, axis):
    xp, axis = namespace(g), (axis or 0) % len(x_shape)
    index = indices.data if type(indices) is Tensor else np.asarray(indices)
    first = g if axis == 0 else xp.moveaxis(g, axis, 0)
    rest = first.shape[1:]
    rows = xp.reshape(first, (first.shape[0], math.prod(rest)))
    n = x_shape[axis]
    total = xp.reshape(scatter_rows(rows, index % n if n else index, n), (n, *rest))
    return total if axis == 0 else xp.moveaxis(total, 0, axis)


def scatter_rows(rows, indices, n):
    return scatter_add(rows, indices, n) if type(rows) is Tensor else helpers.scatter_add(rows, indices, n)


@primitive
def scatter_add(updates, indices, n_rows):
    """T[r] = Σ_{n: indices[n] = r} updates[n].  (N, D), (N,) -> (n_rows, D)  (E02)"""
    return helpers.scatter_add(updates, indices, n_rows)


@scatter_add.vjp("updates")
def _(g, indices):  # row n went to row indices[n]
    return namespace(g).take(g, indices, axis=0)


@primitive
def take_along_axis(x, indices, *, axis=-1):
    """y[..., i, ...] = x[..., indices[..., i, ...], ...] along an axis"""
    return namespace(x).take_along_axis(x, indices, axis=axis)


@take_along_axis.vjp("x")
def _(g, x_shape, indices, axis):
    index = indices.data if type(indices) is Tensor else np.asarray(indices)
    axis %= len(x_shape)
    shape = tuple(n if i == axis else m for i, (n, m) in enumerate(zip(index.shape, x_shape, strict=True)))
    index = namespace(index).broadcast_to(index, shape)
    xp = namespace(index)
    where = tuple(
        index if i == axis else xp.reshape(xp.arange(m), tuple(m if j == i else 1 for j in range(len(shape))))
        for i, m in enumerate(shape)
    )
    return Piece(where, g, _put)
