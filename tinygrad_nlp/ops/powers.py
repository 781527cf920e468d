"""Powers and roots of each element: the function, then its derivative."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.ops.poles import times

__all__ = ["hypot", "pow", "reciprocal", "sqrt", "square"]

elementwise = primitive(broadcasts=True)


@elementwise
def pow(a, b):
    """a^b.  (...), (...) -> broadcast

    A negative a has powers by whole b only, and no derivative by b; at a = 0 the derivative by b is 0 for b ≥ 0. Raises
    ShapeError where the shapes do not broadcast, DtypeError for what is no array or number.

    >>> tn.pow([2.0, 3.0], 2)
    Tensor([4., 9.])
    """
    return a**b


@pow.vjp("a")
def _(g, a, b):  # d(a^b)/da = b a^(b-1), 0 for b = 0 even at a = 0
    if isinstance(b, (int, float)):
        return times(g * b, a ** (b - 1)) if b != 0 else g * 0
    xp = namespace(g)
    less = b - xp.ones((), dtype=a.dtype, device=a.device)  # an unsigned 0 - 1 would be large
    return times(g * b, a ** xp.where((a == 0) & (b == 0), 0.0, less))


@pow.vjp("b")
def _(g, y, a, b):  # d(a^b)/db = a^b ln a, 0 at a = 0 where b >= 0
    xp = namespace(g)
    if isinstance(a, (int, float)):
        a = xp.asarray(a, dtype=y.dtype, device=y.device)
    return times(times(g, y), xp.log(xp.where((a == 0) & (b >= 0), 1.0, a)))


@elementwise
def square(x):
    """x².  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.square([2.0, -3.0])
    Tensor([4., 9.])
    """
    return x * x


@square.vjp("x")
def _(g, x):  # d(x^2)/dx = 2x
    return g * (2 * x)


@elementwise
def reciprocal(x):
    """1 / x.  (...) -> (...)

    The derivative is infinite at 0, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.reciprocal([2.0, 4.0])
    Tensor([0.5 , 0.25])
    """
    return 1 / x


@reciprocal.vjp("x")
def _(g, x):  # d(1/x)/dx = -1/x^2
    return times(g, -1 / (x * x))


@elementwise
def sqrt(x):
    """x^(1/2).  (...) -> (...)

    The derivative is infinite at 0, but 0 for a cotangent of 0. Raises DtypeError for what is no array or number.

    >>> tn.sqrt([4.0, 9.0])
    Tensor([2., 3.])
    """
    return namespace(x).sqrt(x)


@sqrt.vjp("x")
def _(g, y):  # d(sqrt x)/dx = 1 / (2 sqrt x)
    return times(g, 0.5 / y)


@elementwise
def hypot(a, b):
    """(a² + b²)^(1/2), without overflow.  (...), (...) -> broadcast

    Both derivatives at the origin are 0. Raises ShapeError where the shapes do not broadcast, DtypeError for what is no
    array or number.

    >>> tn.hypot(3.0, 4.0)
    Tensor(5.)
    """
    return namespace(a).hypot(a, b)


@hypot.vjp("a")
def _(g, y, a):  # d/da = a/y
    return g * _unit(a, y)


@hypot.vjp("b")
def _(g, y, b):  # d/db = b/y
    return g * _unit(b, y)


def _unit(a, y):
    xp = namespace(y)
    return xp.where(y == 0, 0.0, a / xp.where(y == 0, 1.0, y))
