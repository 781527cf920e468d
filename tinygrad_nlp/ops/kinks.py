"""Functions with kinks, and what their derivative is there: 0 at the kink of one argument, ties share equally."""

from tinygrad_nlp.autograd import namespace, primitive

__all__ = ["abs", "clip", "copysign", "maximum", "minimum", "where"]

elementwise = primitive(broadcasts=True)


@elementwise
def abs(x):
    """|x|.  (...) -> (...)

    The derivative at 0 is 0. Raises DtypeError for what is no array or number.

    >>> tn.abs([-1.0, 2.0])
    Tensor([1., 2.])
    """
    return namespace(x).abs(x)


@abs.vjp("x")
def _(g, x):  # d|x|/dx = sign x
    return g * namespace(g).sign(x)


@elementwise
def copysign(a, b):
    """|a| with the sign of b.  (...), (...) -> broadcast

    The derivative by a is 0 at a = 0; there is none by b. Raises ShapeError where the shapes do not broadcast,
    DtypeError for what is no array or number.

    >>> tn.copysign([1.0, 2.0], [-1.0, 1.0])
    Tensor([-1.,  2.])
    """
    return namespace(a).copysign(a, b)


@copysign.vjp("a")
def _(g, y, a):  # d/da = sign a sign b
    xp = namespace(g)
    return g * (xp.sign(a) * xp.sign(y))


@elementwise
def maximum(a, b):
    """max(a, b).  (...), (...) -> broadcast

    At a tie each gets half of the gradient. Raises ShapeError where the shapes do not broadcast, DtypeError for what is
    no array or number.

    >>> tn.maximum([1.0, 5.0], 3)
    Tensor([3., 5.])
    """
    return namespace(a).maximum(a, b)


@elementwise
def minimum(a, b):
    """min(a, b).  (...), (...) -> broadcast

    At a tie each gets half of the gradient. Raises ShapeError where the shapes do not broadcast, DtypeError for what is
    no array or number.

    >>> tn.minimum([1.0, 5.0], 3)
    Tensor([1., 3.])
    """
    return namespace(a).minimum(a, b)


def _share(g, chosen, other):
    xp = namespace(g)
    return xp.where(chosen == other, 0.5 * g, g)


@maximum.vjp("a")
def _(g, a, b):  # 1[a > b] + ½[a = b]
    return namespace(g).where(a >= b, _share(g, a, b), 0)


@maximum.vjp("b")
def _(g, a, b):  # 1[b > a] + ½[a = b]
    return namespace(g).where(b >= a, _share(g, a, b), 0)


@minimum.vjp("a")
def _(g, a, b):  # 1[a < b] + ½[a = b]
    return namespace(g).where(a <= b, _share(g, a, b), 0)


@minimum.vjp("b")
def _(g, a, b):  # 1[b < a] + ½[a = b]
    return namespace(g).where(b <= a, _share(g, a, b), 0)


@elementwise
def clip(x, min=None, max=None):
    """min(max(x, lo), hi), lo = `min` and hi = `max`, either may be missing.  (...), (...), (...) -> broadcast

    The derivative by x is 1 inside and at the bounds and 0 outside, where that of the bound is 1. Raises ShapeError
    where the shapes do not broadcast, DtypeError for what is no array or number.

    >>> tn.clip([-1.0, 0.5, 2.0], 0, 1)
    Tensor([0. , 0.5, 1. ])
    """
    return namespace(x).clip(x, min, max)


@clip.vjp("x")
def _(g, x, min, max):  # 1[min <= x <= max]
    xp = namespace(g)
    if min is not None:
        g = xp.where(x >= min, g, 0)
    return g if max is None else xp.where(x <= max, g, 0)


@clip.vjp("min")
def _(g, x, min, max):  # 1[x < min <= max]
    xp = namespace(g)
    return xp.where(x < min if max is None else (x < min) & (min <= max), g, 0)


@clip.vjp("max")
def _(g, x, min, max):  # 1[x > max], or min > max, which max wins
    xp = namespace(g)
    return xp.where(x > max if min is None else (x > max) | (min > max), g, 0)


@elementwise
def where(condition, a, b):
    """a where the condition holds, else b.  (...), (...), (...) -> broadcast

    The gradient reaches only what was chosen, and none the condition. Raises ShapeError where the shapes do not
    broadcast, DtypeError for what is no array or number.

    >>> tn.where([True, False], [1.0, 2.0], 0)
    Tensor([1., 0.])
    """
    return namespace(condition).where(condition, a, b)


@where.vjp("a")
def _(g, condition):  # 1[condition]
    return namespace(g).where(condition, g, 0)


@where.vjp("b")
def _(g, condition):  # 1[not condition]
    return namespace(g).where(condition, 0, g)
