"""Matrix products on NVIDIA GPUs: which kernel of cuda.cu has which shapes. README.md."""

import math
from dataclasses import dataclass
from itertools import product as every
from typing import Any

import numpy as np

from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import Source, address, empty, serves, span
from nlp_kernels.common.gpu import processors
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import passes
from nlp_kernels.matmul.batches import batches, fits, lead, stacks, strides
from nlp_kernels.matmul.passes import THREADS, code, finish

STEP, SHARE = 16, 64  # of K at a time; a block that shares K has at least this much
FILLED = 0.8  # of large tiles, at least, is what small ones would compute
SMALL, LARGE = "64", "512 / sizeof(T)"  # tiles; of double the large one is 64, too
NARROW, WIDE = "1", "16 / sizeof(T)"  # accesses
KINDS = ((SMALL, NARROW), (SMALL, WIDE), (LARGE, WIDE))

SOURCE = Source(
    __file__,
    *(f"matmul<T, {t}, {a}, {b}, {w}>" for (t, w), a, b in every(KINDS, ("false", "true"), ("false", "true"))),
    "finish<T>",
    "slopes<T>",
)


@dataclass(frozen=True)
class Operand:
    """Matrices as their kernel takes them: rows along M or N, columns along K."""

    x: Any  # what is passed: an array that begins at the first element
    apart: tuple[int, ...]  # numbers between matrices, along each batch axis
    stride: int  # between neighbours along the other axis than the one that is contiguous
    by_k: bool  # whether that one is K
    wide: bool  # whether it can be read 16 bytes at a time


@dataclass(frozen=True)
class Plan:
    """The tiles of a product."""

    tile: int
    splits: int  # blocks that share K
    share: int  # of K, for each


def supports(x, w, b=None, residual=None, **hyper):
    return serves(x) and x.dtype.name != "bfloat16" and fits(x, w)


def forward(x, w, b=None, residual=None, **hyper):
    return passes.forward(_product, x, w, b, residual, **hyper)


def backward(dy, x, w, b=None, residual=None, saved=None, **hyper):
    return passes.backward(SOURCE, _product, _as_it_is, dy, x, w, b, residual, saved, **hyper)


def product(a, b, *, tile=None):
    """a b, of stacks of matrices with any strides; tile: 64 or 128, where there is one, else what `plan` chooses."""
    return _product(*stacks(a, b), of=lead(a, b), tile=tile)[0]


def plan(
    M: int, N: int, K: int, at_once: int, largest: int = 128, step: int = STEP, least: int = SHARE, batch: int = 1,
    tile: int | None = None,
) -> Plan:  # fmt: skip
    """The largest tile that keeps all processors busy and is not mostly beyond the edges, unless one is given; blocks
    share K where there are fewer tiles than processors.

    A share is a multiple of `step`, and `least` of K unless there is no more. Raises ShapeError for a tile that no
    kernel has.
    """
    tiles = {size: batch * -(-M // size) * -(-N // size) for size in (largest, 64)}
    if tile is None:
        filled = tiles[64] * 64**2 >= FILLED * tiles[largest] * largest**2
        tile = largest if tiles[largest] >= at_once and filled else 64
    elif tile not in tiles:
        raise ShapeError(f"matmul: these arrays have no tile of {tile}; there are {', '.join(map(str, tiles))}")
    splits = 1 if tiles[tile] >= at_once else min(-(-2 * at_once // tiles[tile]), max(1, K // least))
    share = -(-K // (splits * step)) * step if K else step
    return Plan(tile, max(1, -(-K // share)), share)


def _product(a, b, bias=None, residual=None, activation="none", *, keeps_z=False, sums=None, of=(), tile=None):
    """g(a b + bias) + residual, (*of, M, N); what g was of, or None; the sums of b's columns or a's rows, or None.

    `of` are the batch axes: of a stack of products, which has nothing but y.
    """
    (M, K), N = a.shape[-2:], b.shape[-1]
    y = empty(a, (*of, M, N))
    z = empty(a, y.shape) if keeps_z else None
    lengths = {"a": M, "b": N}
    if y.size == 0:
        return y, z, {"a": lambda: a.sum(axis=1), "b": lambda: b.sum(axis=0), None: lambda: None}[sums]()
    left, right = _operand(a), _operand(b.mT)
    wide = left.wide and right.wide
    chosen = plan(M, N, K, processors(a), 512 // a.itemsize if wide else 64, batch=math.prod(of), tile=tile)
    partial = empty(a, (chosen.splits, *y.shape)) if chosen.splits > 1 else None
    summed = empty(a, (chosen.splits, lengths[sums])) if sums else None
    text, width = LARGE if chosen.tile > 64 else SMALL, WIDE if wide else NARROW
    instance = f"matmul<T, {text}, {cpp(left.by_k)}, {cpp(right.by_k)}, {width}>"
    stack, along = batches(of, left.apart, right.apart)
    bias, residual = contiguous(bias), contiguous(residual)
    apart = stack, np.int64(left.stride), np.int64(right.stride)
    sizes = np.int64(y.size), np.int32(M), np.int32(N), np.int32(K), np.int32(chosen.share)
    arrays = (y, z, partial, summed, left.x, right.x, bias, residual)
    arguments = (*arrays, *apart, *sizes, code(activation), np.bool_(sums == "a"))
    grid = (-(-M // chosen.tile) * -(-N // chosen.tile) * chosen.splits, *along)
    SOURCE.kernel(instance, a)(grid, (THREADS,), arguments)
    if partial is not None:
        finish(SOURCE, y, z, partial, bias, residual, activation)
    if chosen.splits > 1 and sums:
        summed, parts = empty(a, (1, lengths[sums])), summed
        finish(SOURCE, summed, None, parts)
    return y, z, None if summed is None else summed[0]


def _as_it_is(x):
    return x


def _operand(x):
    """Matrices (..., rows, K) in whichever order they lie; a copy where neither axis is contiguous."""
    rows, K = x.shape[-2:]
    *apart, row_stride, k_stride = strides(x)
    if x.size == 0:
        return Operand(x, tuple(apart), 1, True, False)
    if min((0, *apart)) < 0:
        return _operand(contiguous(x))
    if (k_stride == 1 or K == 1) and (row_stride >= K or rows == 1):
        stride, by_k, along = row_stride if rows > 1 else K, True, K
    elif (row_stride == 1 or rows == 1) and (k_stride >= rows or K == 1):
        stride, by_k, along = k_stride if K > 1 else rows, False, rows
    else:
        return _operand(contiguous(x))
    wide = 16 // x.itemsize
    even = all(n % wide == 0 for n in (along, stride, *apart))
    return Operand(span(x), tuple(apart), stride, by_k, even and address(x) % 16 == 0)


def cpp(value):
    """A truth value of Python's in C++."""
    return "true" if value else "false"
