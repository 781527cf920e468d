"""Monte Carlo arithmetic: what a computation would give if every operation rounded at random.

Parker, "Monte Carlo arithmetic", UCLA 1997. The computation runs in extended precision on arrays that multiply the
result of every inexact operation by 1 + ε u, u uniform in [-1, 1], ε the spacing of the precision in question. Where
large terms cancel their roundings stay, so the spread of a few runs is the error that any order of the same operations
may have. Nothing about the computation need be known.
"""

from typing import Any

import numpy as np

EXACT = {np.maximum, np.minimum, np.negative, np.positive, np.absolute, np.copysign, np.sign}


class Noisy(np.ndarray):
    """An extended-precision array whose operations round at random to one ulp of a coarser dtype."""

    eps: float
    rng: Any  # numpy.random.Generator

    def __array_finalize__(self, other):
        if other is not None:
            self.eps, self.rng = getattr(other, "eps", 0.0), getattr(other, "rng", None)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        kwargs.pop("out", None)  # NumPy's own mean divides into its sum, but returns the quotient too
        result = getattr(ufunc, method)(*map(plain, inputs), **kwargs)
        return self._wrap(result, exact=ufunc in EXACT)

    def __array_function__(self, function, types, args, kwargs):
        return self._wrap(super().__array_function__(function, types, args, kwargs), exact=True)

    def _wrap(self, result, *, exact):
        if isinstance(result, tuple | list):
            return type(result)(self._wrap(r, exact=exact) for r in result)
        if not isinstance(result, np.ndarray | np.floating) or result.dtype.kind != "f":
            return plain(result)
        result = plain(np.asarray(result))
        return noisy(result if exact else result * (1 + self.eps * self.rng.uniform(-1, 1, result.shape)), self)


def noisy(x, like=None, *, eps=None, rng=None):
    """x as an array that rounds at random."""
    view = np.asarray(x, np.longdouble).view(Noisy)
    view.eps, view.rng = (like.eps, like.rng) if like is not None else (eps, rng)
    return view


def plain(x):
    """The values, without the noise of further operations."""
    return x.view(np.ndarray) if isinstance(x, Noisy) else x
