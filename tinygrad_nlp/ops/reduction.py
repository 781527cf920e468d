"""Reductions over axes."""

import math

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.arrays import broadcast


@primitive
def sum(x, *, axis=None, keepdims=False):
    """Σ x over the axes, all by default"""
    return x.sum(axis=axis, keepdims=keepdims)


@sum.vjp("x")
def _(g, x_shape, axis):  # every summand receives the sum's gradient
    return broadcast(g.reshape(kept_shape(x_shape, axis)), x_shape)


def mean(x, *, axis=None, keepdims=False):
    """Σ x / n over the axes"""
    return sum(x, axis=axis, keepdims=keepdims) / _count(x.shape, axis)


def var(x, *, axis=None, correction=0.0, keepdims=False):
    """Σ (x - mean)² / (n - correction), in two passes"""
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / max_number(_count(x.shape, axis) - correction, 0)


def std(x, *, axis=None, correction=0.0, keepdims=False):
    """var(x)^(1/2)"""
    from tinygrad_nlp.ops.elementwise import sqrt

    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@primitive
def max(x, *, axis=None, keepdims=False):
    """the largest element; ties share the gradient equally"""
    return namespace(x).max(x, axis=axis, keepdims=keepdims)


@primitive
def min(x, *, axis=None, keepdims=False):
    """the smallest element; ties share the gradient equally"""
    return namespace(x).min(x, axis=axis, keepdims=keepdims)


@max.vjp("x")
@min.vjp("x")
def _(g, y, x, axis):  # 1[x = y] / (number of ties)
    xp = namespace(g)
    shape = kept_shape(x.shape, axis)
    chosen = x == xp.reshape(y, shape)
    ties = xp.sum(xp.astype(chosen, g.dtype), axis=axis, keepdims=True)
    return xp.where(chosen, xp.reshape(g, shape) / ties, 0)


def logsumexp(x, *, axis=None, keepdims=False):
    """ln Σ e^x = m + ln Σ e^(x - m), m = max x; a row of -inf gives -inf and no gradient"""
    from tinygrad_nlp.ops.comparison import isfinite
    from tinygrad_nlp.ops.elementwise import exp, log
    from tinygrad_nlp.ops.kinks import where
    from tinygrad_nlp.ops.shape import reshape

    m = max(x.detach(), axis=axis, keepdims=True)
    m = where(isfinite(m), m, 0)
    y = log(sum(exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else reshape(y, _dropped(x.shape, axis))


def max_number(a, b):
    return a if a > b else b


def kept_shape(shape, axis):
    """The shape with reduced axes kept as 1."""
    if axis is None:
        return (1,) * len(shape)
    kept = list(shape)
    for a in axis if isinstance(axis, tuple) else (axis,):
        kept[a] = 1
    return tuple(kept)


def _dropped(shape, axis):
    axes = _axes(shape, axis)
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _axes(shape, axis):
    if axis is None:
        return range(len(shape))
    return [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]


def _count(shape, axis):
    return math.prod(shape[i] for i in _axes(shape, axis))
