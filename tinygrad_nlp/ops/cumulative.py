"""Functions along one axis: running sums and products, and differences, which undo the sums."""

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.arithmetic import subtract
from tinygrad_nlp.ops.creation import asarray
from tinygrad_nlp.ops.indexing import getitem
from tinygrad_nlp.ops.joining import concat
from tinygrad_nlp.ops.recording import axis_of

__all__ = ["cumulative_prod", "cumulative_sum", "diff"]


@primitive
def cumulative_sum(x, *, axis=None, dtype=None, include_initial=False):
    """y_i = Σ_{j ≤ i} x_j along an axis, optional for one.  (..., N, ...) -> (..., N, ...)

    With `include_initial` y_0 = 0 comes first, and the axis has N + 1 places. Raises AxisError for an axis that is not
    there, ShapeError where it is missing, DtypeError for what is no array or dtype.

    >>> tn.cumulative_sum([1.0, 2.0, 3.0])
    Tensor([1., 3., 6.])
    """
    return namespace(x).cumulative_sum(x, axis=axis, dtype=dtype, include_initial=include_initial)


@cumulative_sum.vjp("x")
def _(g, x_dtype, axis, include_initial):  # x_j is in y_j and all that follow
    xp, axis = namespace(g), (axis or 0) % g.ndim
    if include_initial:
        g = g[(slice(None),) * axis + (slice(1, None),)]
    return xp.astype(_sums_from(xp, g, axis), x_dtype)


def _sums_from(xp, x, axis):
    """Σ_{k ≥ i} x_k"""
    return xp.flip(xp.cumulative_sum(xp.flip(x, axis=axis), axis=axis), axis=axis)


@primitive
def cumulative_prod(x, *, axis=None, dtype=None, include_initial=False):
    """y_i = Π_{j ≤ i} x_j along an axis, optional for one.  (..., N, ...) -> (..., N, ...)

    With `include_initial` y_0 = 1 comes first, and the axis has N + 1 places. Factors of 0 have their gradient. Raises
    AxisError for an axis that is not there, ShapeError where it is missing, DtypeError for what is no array or dtype.

    >>> tn.cumulative_prod([1.0, 2.0, 3.0])
    Tensor([1., 2., 6.])
    """
    return namespace(x).cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


@cumulative_prod.vjp("x")
def _(g, y, x, axis, include_initial):  # dx_i = Σ_{k ≥ i} g_k Π_{j ≤ k, j ≠ i} x_j = Σ_{k ≥ i} g_k y_k / x_i
    xp, axis = namespace(g), (axis or 0) % x.ndim
    if include_initial:
        after = (slice(None),) * axis + (slice(1, None),)
        g, y = g[after], y[after]
    if xp.all(x != 0):
        return xp.astype(_sums_from(xp, g * y, axis) / x, x.dtype)
    g, rows = xp.moveaxis(g, axis, -1), xp.expand_dims(xp.moveaxis(x, axis, -1), axis=-2)
    others = xp.cumulative_prod(xp.where(xp.eye(x.shape[axis], device=x.device) == 1, 1.0, rows), axis=-1)  # i, k
    dx = xp.sum(xp.triu(xp.expand_dims(g, axis=-2) * others), axis=-1)
    return xp.astype(xp.moveaxis(dx, -1, axis), x.dtype)


@explained
def diff(x, *, axis=-1, n=1, prepend=None, append=None):
    """y_i = x_{i+1} - x_i along an axis, n times.  (..., N, ...) -> (..., N - n, ...)

    `prepend` and `append` are laid before and behind x first, and have gradients too. Raises AxisError for an axis that
    is not there, ShapeError where the arrays do not join, ValueError for n < 0, DtypeError for bools and for what is no
    array.

    >>> tn.diff([1.0, 4.0, 9.0])
    Tensor([3., 5.])
    """
    if n < 0:
        raise ValueError(f"diff: n = {n} differences cannot be taken")
    axis = axis_of("diff", as_array(x).shape, axis)
    if n == 0:
        return asarray(x)
    joined = [asarray(part) for part in (prepend, x, append) if part is not None]
    x = concat(joined, axis=axis) if len(joined) > 1 else joined[0]
    before = (slice(None),) * axis
    for _ in range(n):
        x = subtract(getitem(x, (*before, slice(1, None))), getitem(x, (*before, slice(None, -1))))
    return x
