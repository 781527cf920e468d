"""Elementwise arithmetic: the function, then its derivative. Inputs broadcast."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.bfloat16 import is_floating
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.poles import times

__all__ = [
    "add",
    "conj",
    "divide",
    "multiply",
    "negative",
    "positive",
    "real",
    "remainder",
    "subtract",
]

elementwise = primitive(broadcasts=True)


@elementwise
def add(a, b):
    """a + b.  (...), (...) -> broadcast

    Raises ShapeError where the shapes do not broadcast, DtypeError for what is no array or number.

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
    """a - b.  (...), (...) -> broadcast

    Raises ShapeError where the shapes do not broadcast, DtypeError for bools and for what is no array or number.

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
    """a b.  (...), (...) -> broadcast

    Raises ShapeError where the shapes do not broadcast, DtypeError for what is no array or number.

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
    """a / b.  (...), (...) -> broadcast

    The derivatives are infinite or undefined at b = 0, but 0 for a cotangent of 0. Integers give floats. Raises
    ShapeError where the shapes do not broadcast, DtypeError for what is no array or number.

    >>> tn.divide([1.0, 3.0], 2)
    Tensor([0.5, 1.5])
    """
    return a / b


@divide.vjp("a")
def _(g, b):  # d(a/b)/da = 1/b
    if isinstance(b, (int, float)):
        return g / b
    return times(g, 1 / (b if is_floating(b.dtype) else namespace(b).astype(b, g.dtype)))


@divide.vjp("b")
def _(g, y, b):  # d(a/b)/db = -a/b^2 = -y/b
    return times(g, -y / b)


@elementwise
def remainder(a, b):
    """a - b ⌊a / b⌋, of the sign of b.  (...), (...) -> broadcast

    The derivatives are 1 by a and -⌊a / b⌋ by b: the jumps have none of their own. Raises ShapeError where the shapes
    do not broadcast, DtypeError for what is no array or number.

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
def negative(x):
    """-x.  (...) -> (...)

    Raises DtypeError for bools and for what is no array or number.

    >>> tn.negative([1.0, -2.0])
    Tensor([-1.,  2.])
    """
    return -x


@negative.vjp("x")
def _(g):
    return -g


@elementwise
def positive(x):
    """+x.  (...) -> (...)

    Raises DtypeError for bools and for what is no array or number.

    >>> tn.positive([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return +x


@positive.vjp("x")
def _(g):
    return g


@explained
def conj(x, /):
    """The complex conjugate, x itself: there are no complex tensors.  (...) -> (...)

    Raises DtypeError for bools and for what is no array or number.

    >>> tn.conj([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return positive(x)


@explained
def real(x, /):
    """The real part, x itself: there are no complex tensors.  (...) -> (...)

    Raises DtypeError for bools and for what is no array or number.

    >>> tn.real([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    return positive(x)
