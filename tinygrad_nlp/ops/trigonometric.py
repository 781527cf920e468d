"""Trigonometric and hyperbolic functions: the function, then its derivative."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.ops.poles import times

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "sin", "sinh", "tan", "tanh"]

elementwise = primitive(broadcasts=True)


@elementwise
def sin(x):
    """sin x, x in radians.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.sin(0.0)
    Tensor(0.)
    """
    return namespace(x).sin(x)


@sin.vjp("x")
def _(g, x):  # d(sin x)/dx = cos x
    return g * namespace(g).cos(x)


@elementwise
def cos(x):
    """cos x, x in radians.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.cos(0.0)
    Tensor(1.)
    """
    return namespace(x).cos(x)


@cos.vjp("x")
def _(g, x):  # d(cos x)/dx = -sin x
    return -g * namespace(g).sin(x)


@elementwise
def tan(x):
    """tan x, x in radians.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.tan(0.0)
    Tensor(0.)
    """
    return namespace(x).tan(x)


@tan.vjp("x")
def _(g, y):  # d(tan x)/dx = 1 + tan^2 x
    return g * (1 + y * y)


@elementwise
def asin(x):
    """arcsin x, NaN beyond |x| ≤ 1.  (...) -> (...)

    The derivative is infinite at ±1, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.asin(0.0)
    Tensor(0.)
    """
    return namespace(x).asin(x)


@asin.vjp("x")
def _(g, x):  # d(asin x)/dx = (1 - x^2)^(-1/2)
    return times(g, 1 / namespace(g).sqrt((1 - x) * (1 + x)))


@elementwise
def acos(x):
    """arccos x, NaN beyond |x| ≤ 1.  (...) -> (...)

    The derivative is infinite at ±1, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.acos(1.0)
    Tensor(0.)
    """
    return namespace(x).acos(x)


@acos.vjp("x")
def _(g, x):  # d(acos x)/dx = -(1 - x^2)^(-1/2)
    return times(g, -1 / namespace(g).sqrt((1 - x) * (1 + x)))


@elementwise
def atan(x):
    """arctan x.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.atan(0.0)
    Tensor(0.)
    """
    return namespace(x).atan(x)


@atan.vjp("x")
def _(g, x):  # d(atan x)/dx = 1/(1 + x^2)
    return g / (1 + x * x)


@elementwise
def atan2(a, b):
    """The angle of the point (b, a), from -π to π.  (...), (...) -> broadcast

    The derivatives are undefined at the origin, but 0 for a cotangent of 0. Raises ShapeError where the shapes do not
    broadcast, DtypeError for what is no array or number.

    >>> tn.atan2(0.0, 1.0)
    Tensor(0.)
    """
    return namespace(a).atan2(a, b)


@atan2.vjp("a")
def _(g, a, b):  # d/da = b/(a^2 + b^2), whose squares may leave the range
    h = namespace(g).hypot(a, b)
    return times(g, b / h / h)


@atan2.vjp("b")
def _(g, a, b):  # d/db = -a/(a^2 + b^2)
    h = namespace(g).hypot(a, b)
    return times(g, -a / h / h)


@elementwise
def sinh(x):
    """(e^x - e^-x) / 2.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.sinh(0.0)
    Tensor(0.)
    """
    return namespace(x).sinh(x)


@sinh.vjp("x")
def _(g, x):  # d(sinh x)/dx = cosh x
    return times(g, namespace(g).cosh(x))


@elementwise
def cosh(x):
    """(e^x + e^-x) / 2.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.cosh(0.0)
    Tensor(1.)
    """
    return namespace(x).cosh(x)


@cosh.vjp("x")
def _(g, x):  # d(cosh x)/dx = sinh x
    return times(g, namespace(g).sinh(x))


@elementwise
def tanh(x):
    """(e^x - e^-x) / (e^x + e^-x)  (E13).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.tanh(1e3)
    Tensor(1.)
    """
    return namespace(x).tanh(x)


@tanh.vjp("x")
def _(g, y):  # d(tanh x)/dx = 1 - tanh^2 x
    return g * (1 - y * y)


@elementwise
def asinh(x):
    """ln(x + (x² + 1)^(1/2)).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.asinh(0.0)
    Tensor(0.)
    """
    return namespace(x).asinh(x)


@asinh.vjp("x")
def _(g, x):  # d(asinh x)/dx = (x^2 + 1)^(-1/2)
    return g / namespace(g).sqrt(x * x + 1)


@elementwise
def acosh(x):
    """ln(x + (x² - 1)^(1/2)), NaN below 1.  (...) -> (...)

    The derivative is infinite at 1, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.acosh(1.0)
    Tensor(0.)
    """
    return namespace(x).acosh(x)


@acosh.vjp("x")
def _(g, x):  # d(acosh x)/dx = (x^2 - 1)^(-1/2)
    return times(g, 1 / namespace(g).sqrt((x - 1) * (x + 1)))


@elementwise
def atanh(x):
    """ln((1 + x)/(1 - x)) / 2, NaN beyond |x| ≤ 1.  (...) -> (...)

    The derivative is infinite at ±1, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.atanh(0.0)
    Tensor(0.)
    """
    return namespace(x).atanh(x)


@atanh.vjp("x")
def _(g, x):  # d(atanh x)/dx = 1/(1 - x^2)
    return times(g, 1 / ((1 - x) * (1 + x)))
