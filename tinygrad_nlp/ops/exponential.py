"""Exponentials and logarithms: the function, then its derivative."""

import math

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.ops.poles import times

__all__ = ["exp", "expm1", "log", "log1p", "log2", "log10", "logaddexp"]

elementwise = primitive(broadcasts=True)


@elementwise
def exp(x):
    """e^x.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.exp([0.0])
    Tensor([1.])
    """
    return namespace(x).exp(x)


@exp.vjp("x")
def _(g, y):  # d(e^x)/dx = e^x
    return times(g, y)


@elementwise
def expm1(x):
    """e^x - 1, exact near 0.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.expm1(0.0)
    Tensor(0.)
    """
    return namespace(x).expm1(x)


@expm1.vjp("x")
def _(g, y):  # d(e^x - 1)/dx = e^x
    return times(g, y + 1)


@elementwise
def log(x):
    """ln x.  (...) -> (...)

    The derivative is infinite at 0, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.log(1.0)
    Tensor(0.)
    """
    return namespace(x).log(x)


@log.vjp("x")
def _(g, x):  # d(ln x)/dx = 1/x
    return times(g, 1 / x)


@elementwise
def log1p(x):
    """ln(1 + x), exact near 0.  (...) -> (...)

    The derivative is infinite at -1, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.log1p(0.0)
    Tensor(0.)
    """
    return namespace(x).log1p(x)


@log1p.vjp("x")
def _(g, x):  # d(ln(1 + x))/dx = 1/(1 + x)
    return times(g, 1 / (1 + x))


@elementwise
def log2(x):
    """log_2 x.  (...) -> (...)

    The derivative is infinite at 0, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.log2(8.0)
    Tensor(3.)
    """
    return namespace(x).log2(x)


@log2.vjp("x")
def _(g, x):  # d(log_2 x)/dx = 1/(x ln 2)
    return times(g, 1 / (x * math.log(2)))


@elementwise
def log10(x):
    """log_10 x.  (...) -> (...)

    The derivative is infinite at 0, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.log10(1.0)
    Tensor(0.)
    """
    return namespace(x).log10(x)


@log10.vjp("x")
def _(g, x):  # d(log_10 x)/dx = 1/(x ln 10)
    return times(g, 1 / (x * math.log(10)))


@elementwise
def logaddexp(a, b):
    """ln(e^a + e^b), without overflow.  (...), (...) -> broadcast

    Both derivatives are 0 where a and b are -∞. Raises ShapeError where the shapes do not broadcast, DtypeError for
    what is no array or number.

    >>> tn.logaddexp(1e3, 0.0)
    Tensor(1000.)
    """
    return namespace(a).logaddexp(a, b)


@logaddexp.vjp("a")
def _(g, a, b):  # d/da = e^a/(e^a + e^b)
    return g * _share(namespace(g), a, b)


@logaddexp.vjp("b")
def _(g, a, b):  # d/db = e^b/(e^a + e^b)
    return g * _share(namespace(g), b, a)


def _share(xp, a, b):
    """1/(1 + e^(b - a)), 0 where both are -∞; e^(a - y) would be 1 for each of a = b = 1e17, whose y has no ln 2"""
    nothing = (a == -math.inf) & (b == -math.inf)
    apart = xp.where(nothing, 0.0, b) - xp.where(nothing, 0.0, a)
    return xp.where(nothing, 0.0, xp.exp(-xp.logaddexp(apart, 0.0)))
