"""Products of stacks of matrices, (..., M, K) (..., K, N): what a kernel is told of their batch axes. README.md."""

import functools
import math
from typing import Any

import numpy as np

from nlp_kernels.common.check import contiguous
from nlp_kernels.common.xp import array_namespace

SIDE = COUNT = 2**31 - 128  # of a matrix, with room for a tile beyond its edge; of products
LONGEST = 65535  # of a grid's second and third axis
BATCHES = np.dtype([*((name, "i8") for name in ("a_outer", "a_inner", "b_outer", "b_inner")), ("count", "i4")], True)


def lead(a: Any, b: Any) -> tuple[int, ...]:
    """The batch axes of a b."""
    return () if a.ndim == b.ndim == 2 else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])


def fits(a: Any, b: Any) -> bool:
    """Whether 32 bits count the products, and the rows and columns of each."""
    return max(*a.shape, *b.shape) < SIDE and math.prod(lead(a, b)) < COUNT


def strides(x: Any) -> tuple[int, ...]:
    """Numbers between neighbours along each axis, 0 where there are none."""
    return tuple(stride // x.itemsize if n > 1 else 0 for n, stride in zip(x.shape, x.strides, strict=True))


def merged(shape: tuple[int, ...], *operands: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axes as (length, stride of each operand), neighbours as one where every operand steps evenly through both."""
    axes: list[tuple[int, ...]] = []
    for n, *apart in zip(shape, *operands, strict=True):
        if n == 1:
            continue
        if axes and axes[-1][1:] == tuple(n * stride for stride in apart):
            n *= axes.pop()[0]
        axes.append((n, *apart))
    return axes


def stacks(a: Any, b: Any) -> tuple[Any, Any]:
    """a and b without what is repeated along batch axes; written out where a grid cannot go along these."""
    if a.ndim == b.ndim == 2:
        return a, b
    shape = lead(a, b)
    a, b = (x[tuple(slice(None if stride else 1) for stride in strides(x)[:-2])] for x in (a, b))
    axes = merged(shape, *(_along(shape, strides(x)[:-2]) for x in (a, b)))
    if len(axes) > 2 or (len(axes) == 2 and max(axes)[0] > LONGEST):
        xp = array_namespace(a)
        a, b = (contiguous(xp.broadcast_to(x, (*shape, *x.shape[-2:]))) for x in (a, b))
    return a, b


@functools.lru_cache(maxsize=256)  # looking takes longer than a launch
def batches(shape: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int]]:
    """`Batches` of batches.cuh, and the grid's y and z, for batch axes of this shape and these strides of both."""
    axes = merged(shape, _along(shape, a), _along(shape, b))
    (outer, a_outer, b_outer), (inner, a_inner, b_inner) = [(1, 0, 0)] * (2 - len(axes)) + axes
    if inner > LONGEST:
        outer = -(-inner // LONGEST)
        inner = -(-inner // outer)
        a_outer, b_outer = inner * a_inner, inner * b_inner
    return np.array([(a_outer, a_inner, b_outer, b_inner, math.prod(shape))], BATCHES), (inner, outer)


def _along(shape, apart):
    """Strides along all axes of a shape, whose last ones the operand has."""
    return (0,) * (len(shape) - len(apart)) + apart
