"""Elementwise arithmetic and analytic functions: the function, then its derivative. Inputs broadcast."""

from tinygrad_nlp.autograd import namespace, primitive

elementwise = primitive(broadcasts=True)


@elementwise
def add(a, b):
    """a + b"""
    return a + b


@add.vjp("a")
@add.vjp("b")
def _(g):
    return g


@elementwise
def subtract(a, b):
    """a - b"""
    return a - b


@subtract.vjp("a")
def _(g):
    return g


@subtract.vjp("b")
def _(g):
    return -g


@elementwise
def multiply(a, b):
    """a b"""
    return a * b


@multiply.vjp("a")
def _(g, b):  # d(ab)/da = b
    return g * b


@multiply.vjp("b")
def _(g, a):  # d(ab)/db = a
    return g * a


@elementwise
def divide(a, b):
    """a / b"""
    return a / b


@divide.vjp("a")
def _(g, b):  # d(a/b)/da = 1/b
    return g / b


@divide.vjp("b")
def _(g, y, b):  # d(a/b)/db = -a/b^2 = -y/b
    return -g * y / b


@elementwise
def pow(a, b):
    """a^b; for a = 0 the derivative by b is 0."""
    return a**b


@pow.vjp("a")
def _(g, a, b):  # d(a^b)/da = b a^(b-1), 0 for b = 0 even at a = 0
    if isinstance(b, (int, float)):
        return g * b * a ** (b - 1) if b != 0 else g * 0
    xp = namespace(g)
    return g * b * a ** xp.where(b == 0, 0 * b, b - 1)


@pow.vjp("b")
def _(g, y, a):  # d(a^b)/db = a^b ln a
    xp = namespace(g)
    if isinstance(a, (int, float)):
        a = xp.asarray(a, dtype=y.dtype)
    positive = a > 0
    return xp.where(positive, g * y * xp.log(xp.where(positive, a, 1)), 0)


@elementwise
def negative(x):
    """-x"""
    return -x


@negative.vjp("x")
def _(g):
    return -g


@elementwise
def positive(x):
    """+x"""
    return +x


@positive.vjp("x")
def _(g):
    return g


@elementwise
def square(x):
    """x^2"""
    return x * x


@square.vjp("x")
def _(g, x):  # d(x^2)/dx = 2x
    return g * (2 * x)


@elementwise
def reciprocal(x):
    """1 / x"""
    return 1 / x


@reciprocal.vjp("x")
def _(g, y):  # d(1/x)/dx = -1/x^2
    return -g * y * y


@elementwise
def sqrt(x):
    """x^(1/2)"""
    return namespace(x).sqrt(x)


@sqrt.vjp("x")
def _(g, y):  # d(sqrt x)/dx = 1 / (2 sqrt x)
    return g / (2 * y)


@elementwise
def exp(x):
    """e^x"""
    return namespace(x).exp(x)


@exp.vjp("x")
def _(g, y):  # d(e^x)/dx = e^x
    return g * y


@elementwise
def expm1(x):
    """e^x - 1, exact near 0"""
    return namespace(x).expm1(x)


@expm1.vjp("x")
def _(g, y):  # d(e^x - 1)/dx = e^x
    return g * (y + 1)


@elementwise
def log(x):
    """ln x"""
    return namespace(x).log(x)


@log.vjp("x")
def _(g, x):  # d(ln x)/dx = 1/x
    return g / x


@elementwise
def log1p(x):
    """ln(1 + x), exact near 0"""
    return namespace(x).log1p(x)


@log1p.vjp("x")
def _(g, x):  # d(ln(1 + x))/dx = 1/(1 + x)
    return g / (1 + x)


@elementwise
def log2(x):
    """log_2 x"""
    return namespace(x).log2(x)


@log2.vjp("x")
def _(g, x):  # d(log_2 x)/dx = 1/(x ln 2)
    return g / (x * 0.6931471805599453)


@elementwise
def log10(x):
    """log_10 x"""
    return namespace(x).log10(x)


@log10.vjp("x")
def _(g, x):  # d(log_10 x)/dx = 1/(x ln 10)
    return g / (x * 2.302585092994046)


@elementwise
def logaddexp(a, b):
    """ln(e^a + e^b), without overflow"""
    return namespace(a).logaddexp(a, b)


@logaddexp.vjp("a")
def _(g, y, a):  # d/da = e^(a - y)
    return g * namespace(g).exp(a - y)


@logaddexp.vjp("b")
def _(g, y, b):  # d/db = e^(b - y)
    return g * namespace(g).exp(b - y)


@elementwise
def sin(x):
    """sin x, x in radians"""
    return namespace(x).sin(x)


@sin.vjp("x")
def _(g, x):  # d(sin x)/dx = cos x
    return g * namespace(g).cos(x)


@elementwise
def cos(x):
    """cos x, x in radians"""
    return namespace(x).cos(x)


@cos.vjp("x")
def _(g, x):  # d(cos x)/dx = -sin x
    return -g * namespace(g).sin(x)


@elementwise
def tan(x):
    """tan x, x in radians"""
    return namespace(x).tan(x)


@tan.vjp("x")
def _(g, y):  # d(tan x)/dx = 1 + tan^2 x
    return g * (1 + y * y)


@elementwise
def asin(x):
    """arcsin x"""
    return namespace(x).asin(x)


@asin.vjp("x")
def _(g, x):  # d(asin x)/dx = (1 - x^2)^(-1/2)
    return g / namespace(g).sqrt(1 - x * x)


@elementwise
def acos(x):
    """arccos x"""
    return namespace(x).acos(x)


@acos.vjp("x")
def _(g, x):  # d(acos x)/dx = -(1 - x^2)^(-1/2)
    return -g / namespace(g).sqrt(1 - x * x)


@elementwise
def atan(x):
    """arctan x"""
    return namespace(x).atan(x)


@atan.vjp("x")
def _(g, x):  # d(atan x)/dx = 1/(1 + x^2)
    return g / (1 + x * x)


@elementwise
def atan2(a, b):
    """the angle of the point (b, a)"""
    return namespace(a).atan2(a, b)


@atan2.vjp("a")
def _(g, a, b):  # d/da = b/(a^2 + b^2)
    return g * b / (a * a + b * b)


@atan2.vjp("b")
def _(g, a, b):  # d/db = -a/(a^2 + b^2)
    return -g * a / (a * a + b * b)


@elementwise
def hypot(a, b):
    """(a^2 + b^2)^(1/2), without overflow"""
    return namespace(a).hypot(a, b)


@hypot.vjp("a")
def _(g, y, a):  # d/da = a/y, 0 at the origin
    return g * a / namespace(g).where(y == 0, 1, y)


@hypot.vjp("b")
def _(g, y, b):  # d/db = b/y, 0 at the origin
    return g * b / namespace(g).where(y == 0, 1, y)


@elementwise
def sinh(x):
    """(e^x - e^-x) / 2"""
    return namespace(x).sinh(x)


@sinh.vjp("x")
def _(g, x):  # d(sinh x)/dx = cosh x
    return g * namespace(g).cosh(x)


@elementwise
def cosh(x):
    """(e^x + e^-x) / 2"""
    return namespace(x).cosh(x)


@cosh.vjp("x")
def _(g, x):  # d(cosh x)/dx = sinh x
    return g * namespace(g).sinh(x)


@elementwise
def tanh(x):
    """(e^x - e^-x) / (e^x + e^-x)  (E13)"""
    return namespace(x).tanh(x)


@tanh.vjp("x")
def _(g, y):  # d(tanh x)/dx = 1 - tanh^2 x
    return g * (1 - y * y)


@elementwise
def asinh(x):
    """ln(x + (x^2 + 1)^(1/2))"""
    return namespace(x).asinh(x)


@asinh.vjp("x")
def _(g, x):  # d(asinh x)/dx = (x^2 + 1)^(-1/2)
    return g / namespace(g).sqrt(x * x + 1)


@elementwise
def acosh(x):
    """ln(x + (x^2 - 1)^(1/2)), x >= 1"""
    return namespace(x).acosh(x)


@acosh.vjp("x")
def _(g, x):  # d(acosh x)/dx = (x^2 - 1)^(-1/2)
    return g / namespace(g).sqrt(x * x - 1)


@elementwise
def atanh(x):
    """ln((1 + x)/(1 - x)) / 2"""
    return namespace(x).atanh(x)


@atanh.vjp("x")
def _(g, x):  # d(atanh x)/dx = 1/(1 - x^2)
    return g / (1 - x * x)
