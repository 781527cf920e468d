"""Elementwise arithmetic: the function, then its derivative. Inputs broadcast."""

from tinygrad_nlp.autograd import namespace, primitive
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
