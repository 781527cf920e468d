"""Reductions over axes."""

import math

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.arrays import broadcast
from tinygrad_nlp.autograd.bfloat16 import widened
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.arithmetic import divide, subtract
from tinygrad_nlp.ops.comparison import not_equal
from tinygrad_nlp.ops.kinks import abs, where
from tinygrad_nlp.ops.powers import pow, sqrt, square
from tinygrad_nlp.ops.shape import astype

__all__ = ["logsumexp", "max", "mean", "min", "prod", "std", "sum", "var", "vector_norm"]


@primitive
def sum(x, *, axis=None, dtype=None, keepdims=False):
    """Σ x over the axes, all by default.  (N, C) -> (), or (C,) for axis=0

    Raises AxisError for an axis that is not there, DtypeError for what is no array or dtype.

    >>> tn.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    """
    return x.sum(axis=axis, dtype=dtype, keepdims=keepdims)


@sum.vjp("x")
def _(g, x_shape, x_dtype, axis):  # every summand receives the sum's gradient
    g = broadcast(g.reshape(kept_shape(x_shape, axis)), x_shape)
    return g if g.dtype == x_dtype else namespace(g).astype(g, x_dtype)


@primitive
def mean(x, *, axis=None, keepdims=False):
    """Σ x / n over the axes, all by default.  (N, C) -> (), or (C,) for axis=0

    NaN where there is nothing to average. Raises AxisError for an axis that is not there, DtypeError for what is no
    array or number.

    >>> tn.mean([1.0, 2.0, 6.0])
    Tensor(3.)
    """
    y = x.sum(axis=axis, keepdims=keepdims)
    return y / _each(x.size, y.size)


@mean.vjp("x")
def _(g, x_shape, axis):  # 1/n each
    n = _each(math.prod(x_shape), g.size)
    return broadcast((g / n).reshape(kept_shape(x_shape, axis)), x_shape)


@primitive
def prod(x, *, axis=None, dtype=None, keepdims=False):
    """Π x over the axes, all by default.  (N, C) -> (), or (C,) for axis=0

    The derivative is the product of the other factors, also where some are 0. Raises AxisError for an axis that is not
    there, DtypeError for what is no array or dtype.

    >>> tn.prod([2.0, 3.0])
    Tensor(6.)
    """
    return x.prod(axis=axis, dtype=dtype, keepdims=keepdims)


@prod.vjp("x")
def _(g, y, x, axis):  # the product of the other factors: y/x_i, without the division where a factor is 0
    xp, shape = namespace(g), kept_shape(x.shape, axis)
    g = xp.reshape(g, shape)
    if xp.all(x != 0):
        return xp.astype(g * xp.reshape(y, shape) / x, x.dtype)
    reduced = [i for i in range(x.ndim) if shape[i] != x.shape[i]]
    order = [i for i in range(x.ndim) if i not in reduced] + reduced
    rows = xp.permute_dims(x, tuple(order))
    n = math.prod(rows.shape[x.ndim - len(reduced) :])
    pairs = xp.reshape(rows, (*rows.shape[: x.ndim - len(reduced)], 1, n))
    others = xp.reshape(xp.prod(xp.where(xp.eye(n, device=x.device) == 1, 1.0, pairs), axis=-1), rows.shape)
    return xp.astype(g * xp.permute_dims(others, tuple(map(order.index, range(x.ndim)))), x.dtype)


@primitive
def max(x, *, axis=None, keepdims=False):
    """The largest element over the axes, all by default.  (N, C) -> (), or (C,) for axis=0

    Ties share the gradient equally. Raises AxisError for an axis that is not there, ShapeError where there is no
    element, DtypeError for what is no array or number.

    >>> tn.max([[1.0, 2.0], [3.0, 0.0]], axis=0)
    Tensor([3., 2.])
    """
    return x.max(axis=axis, keepdims=keepdims)


@primitive
def min(x, *, axis=None, keepdims=False):
    """The smallest element over the axes, all by default.  (N, C) -> (), or (C,) for axis=0

    Ties share the gradient equally. Raises AxisError for an axis that is not there, ShapeError where there is no
    element, DtypeError for what is no array or number.

    >>> tn.min([1.0, 2.0])
    Tensor(1.)
    """
    return x.min(axis=axis, keepdims=keepdims)


@max.vjp("x")
@min.vjp("x")
def _(g, y, x, axis):  # 1[x = y] / (number of ties)
    xp, shape = namespace(g), kept_shape(x.shape, axis)
    chosen = xp.astype(x == xp.reshape(y, shape), g.dtype)
    return chosen * (xp.reshape(g, shape) / xp.sum(chosen, axis=axis, keepdims=True))


@explained
@widened
def var(x, *, axis=None, correction=0.0, keepdims=False):
    """Σ (x - mean x)² / (n - correction) over the axes, in two passes.  (N, C) -> (), or (C,) for axis=0

    Raises AxisError for an axis that is not there, DtypeError for what is no array or number.

    >>> tn.var([1.0, 3.0])
    Tensor(1.)
    """
    squares = square(subtract(x, mean(x, axis=axis, keepdims=True)))
    total = sum(squares, axis=axis, keepdims=keepdims)
    n = _each(squares.size, total.size) - correction
    return divide(total, n if n > 0 else 0)


@explained
@widened
def std(x, *, axis=None, correction=0.0, keepdims=False):
    """var(x)^(1/2) over the axes.  (N, C) -> (), or (C,) for axis=0

    The derivative is 0 where all elements are equal. Raises AxisError for an axis that is not there, DtypeError for
    what is no array or number.

    >>> tn.std([1.0, 3.0])
    Tensor(1.)
    """
    return _root(var(x, axis=axis, correction=correction, keepdims=keepdims), 2)


@explained
@widened
def vector_norm(x, *, axis=None, keepdims=False, ord=2):
    """(Σ |x|^p)^(1/p) over the axes, p = `ord`.  (N, C) -> (), or (C,) for axis=0

    ±∞ stands for the largest and the smallest |x|, 0 for the number of x that are not 0, which has no gradient. The
    derivative at the origin is 0. Raises AxisError for an axis that is not there, DtypeError for what is no array, or
    an `ord` that is no number.

    >>> tn.vector_norm([3.0, 4.0])
    Tensor(5.)
    """
    if ord == 0:
        return sum(astype(not_equal(x, 0), as_array(x).dtype), axis=axis, keepdims=keepdims)
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axis=axis, keepdims=keepdims)
    powers = square(x) if ord == 2 else abs(x) if ord == 1 else pow(abs(x), ord)
    return _root(sum(powers, axis=axis, keepdims=keepdims), ord)


def _root(x, p):
    """x^(1/p) of x ≥ 0, with derivative 0 at 0."""
    if p == 1:
        return x
    safe = where(x == 0, 1.0, x)
    return where(x == 0, 0.0, sqrt(safe) if p == 2 else pow(safe, 1 / p))


@primitive
def logsumexp(x, *, axis=None, keepdims=False):
    """ln Σ e^x = m + ln Σ e^(x - m), m = max x.  (N, C) -> (), or (C,) for axis=0

    -∞, with a gradient of 0, where all elements are -∞. Raises AxisError for an axis that is not there, DtypeError for
    what is no array or number.

    >>> tn.logsumexp([1e3, 0.0])
    Tensor(1000.)
    """
    xp = namespace(x)
    m = x.max(axis=axis, keepdims=True) if x.size else x.sum(axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0)
    z = xp.exp(x - m).sum(axis=axis, keepdims=keepdims)
    return xp.where(z == 0, -math.inf, xp.log(xp.where(z == 0, 1, z)) + m.reshape(z.shape))


@logsumexp.vjp("x")
def _(g, y, x, axis):  # e^(x - y)
    xp, shape = namespace(g), kept_shape(x.shape, axis)
    return g.reshape(shape) * xp.exp(x - xp.where(y == -math.inf, 0, y).reshape(shape))


def kept_shape(shape, axis):
    """The shape with reduced axes kept as 1."""
    if axis is None:
        return (1,) * len(shape)
    kept = list(shape)
    for a in axis if isinstance(axis, tuple) else (axis,):
        kept[a] = 1
    return tuple(kept)


def _each(n, results):
    """How many of n elements make one result."""
    return n // results if results else 1
