"""Elementwise arithmetic: the function, then its derivative. Inputs broadcast."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.poles import times

__all__ = [
    "add",
    "conj",
    "divide",
    "hypot",
    "multiply",
    "negative",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "sqrt",
    "square",
    "subtract",
]

elementwise = primitive(broadcasts=True)


@elementwise
def add(a, b):
    """a + b

    >>> tn.add([1.0, 2.0], 1)
    Tensor([2., 3.])
    """
    return a + b


@add.vjp("a")
@add.vjp("b")
def _(g):
    return g


@elementwise
def subtract(a, b):
    """a - b

    >>> tn.subtract([1.0, 2.0], 1)
    Tensor([0., 1.])
    """
    return a - b


@subtract.vjp("a")
def _(g):
    return g


@subtract.vjp("b")
def _(g):
    return -g


@elementwise
def multiply(a, b):
    """a b

    >>> tn.multiply([1.0, 2.0], [3.0, 4.0])
    Tensor([3., 8.])
    """
    return a * b


@multiply.vjp("a")
def _(g, b):  # d(ab)/da = b
    return g * b


@multiply.vjp("b")
def _(g, a):  # d(ab)/db = a
    return g * a


@elementwise
def divide(a, b):
    """a / b

    >>> tn.divide([1.0, 3.0], 2)
    Tensor([0.5, 1.5])
    """
    return a / b


@divide.vjp("a")
def _(g, b):  # d(a/b)/da = 1/b
    if isinstance(b, (int, float)):
        return g / b
    return times(g, 1 / (b if b.dtype.kind == "f" else namespace(b).astype(b, g.dtype)))


@divide.vjp("b")
def _(g, y, b):  # d(a/b)/db = -a/b^2 = -y/b
    return times(g, -y / b)


@elementwise
def remainder(a, b):
    """a - b ⌊a / b⌋, of the sign of b; the jumps have no derivative of their own

    >>> tn.remainder([5.0, -5.0], 3)
    Tensor([2., 1.])
    """
    return a % b


@remainder.vjp("a")
def _(g):
    return g


@remainder.vjp("b")
def _(g, a, b):  # d/db = -⌊a / b⌋
    return times(g, -namespace(g).floor_divide(a, b))


@elementwise
def pow(a, b):
    """a^b; a negative number has powers by whole numbers only, and no derivative by b

    >>> tn.pow([2.0, 3.0], 2)
    Tensor([4., 9.])
    """
    return a**b


@pow.vjp("a")
def _(g, a, b):  # d(a^b)/da = b a^(b-1), 0 for b = 0 even at a = 0
    if isinstance(b, (int, float)):
        return times(g * b, a ** (b - 1)) if b != 0 else g * 0
    xp = namespace(g)
    less = b - xp.ones((), dtype=a.dtype)  # an unsigned 0 - 1 would be large
    return times(g * b, a ** xp.where((a == 0) & (b == 0), 0.0, less))


@pow.vjp("b")
def _(g, y, a, b):  # d(a^b)/db = a^b ln a, 0 at a = 0 where b >= 0
    xp = namespace(g)
    if isinstance(a, (int, float)):
        a = xp.asarray(a, dtype=y.dtype)
    return times(times(g, y), xp.log(xp.where((a == 0) & (b >= 0), 1.0, a)))


@elementwise
def negative(x):
    """-x

    >>> tn.negative([1.0, -2.0])
    Tensor([-1.,  2.])
    """
    return -x


@negative.vjp("x")
def _(g):
    return -g


@elementwise
def positive(x):
    """+x

    >>> tn.positive([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return +x


@positive.vjp("x")
def _(g):
    return g


@explained
def conj(x, /):
    """The complex conjugate: x itself, as there are no complex tensors.

    >>> tn.conj([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return positive(x)


@explained
def real(x, /):
    """The real part: x itself, as there are no complex tensors.

    >>> tn.real([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return positive(x)


@elementwise
def square(x):
    """x^2

    >>> tn.square([2.0, -3.0])
    Tensor([4., 9.])
    """
    return x * x


@square.vjp("x")
def _(g, x):  # d(x^2)/dx = 2x
    return g * (2 * x)


@elementwise
def reciprocal(x):
    """1 / x

    >>> tn.reciprocal([2.0, 4.0])
    Tensor([0.5 , 0.25])
    """
    return 1 / x


@reciprocal.vjp("x")
def _(g, x):  # d(1/x)/dx = -1/x^2
    return times(g, -1 / (x * x))


@elementwise
def sqrt(x):
    """x^(1/2)

    >>> tn.sqrt([4.0, 9.0])
    Tensor([2., 3.])
    """
    return namespace(x).sqrt(x)


@sqrt.vjp("x")
def _(g, y):  # d(sqrt x)/dx = 1 / (2 sqrt x)
    return times(g, 0.5 / y)


@elementwise
def hypot(a, b):
    """(a^2 + b^2)^(1/2), without overflow; derivative 0 at the origin

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
