"""Matrix products on tensor cores, of bfloat16, and of float32 in three parts: launches tensor_cores.cu. README.md."""

import math
from dataclasses import dataclass, replace
from itertools import product as every
from typing import Any

import numpy as np

from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import Source, address, empty, serves, span
from nlp_kernels.common.gpu import blocks, capability, processors
from nlp_kernels.matmul import passes
from nlp_kernels.matmul.batches import batches, fits, lead, merged, stacks, strides
from nlp_kernels.matmul.cuda import cpp, plan
from nlp_kernels.matmul.passes import code, finish

STEP, SHARE = 32, 128  # of K at a time; a block that shares K has at least this much
LARGEST = 128  # tile
PLANES = {"float32": 3, "bfloat16": 1}  # that a number is split into
STAGES = {"float32": 2, "bfloat16": 3}  # of the ring
THREADS = 256  # of a block that splits
FULL_RATE = (80, 90, 100, 103)  # where six products of bfloat16 are faster than one of float32: README.md
PAYS = 1 << 29, 256  # multiply-adds, and the shortest side, from which on they are

SOURCE = Source(
    __file__,
    *(f"product<T, {t}, {a}, {b}>" for t, a, b in every((64, LARGEST), ("false", "true"), ("false", "true"))),
    *("split<T, 1>", "split<T, 16 / sizeof(T)>"),
    *("finish<T>", "slopes<T>"),
    dtypes=("float32", "bfloat16"),
    oldest=80,
)


@dataclass(frozen=True)
class Operand:
    """Matrices (..., rows, columns) as planes of bfloat16 in memory, or those transposed."""

    x: Any  # what it was; the planes' where it is passed as it is
    planes: Any
    plane: int  # numbers between planes
    stride: int  # numbers between neighbours along the axis that is not contiguous
    shape: tuple[int, ...]
    apart: tuple[int, ...]  # numbers between matrices, along each batch axis
    by_rows: bool = True  # whether rows are contiguous

    @property
    def T(self) -> "Operand":  # noqa: N802  the name that arrays have
        *of, rows, columns = self.shape
        return replace(self, shape=(*of, columns, rows), by_rows=not self.by_rows)


def supports(x, w, b=None, residual=None, **hyper):
    there = serves(x) and x.dtype.name in PLANES and capability(x) >= SOURCE.oldest
    return there and fits(x, w)


def pays(x, w, *inputs, **hyper):
    """Whether float32 shall be split; bfloat16 is always multiplied here. README.md says where the rule is from."""
    least, shortest = PAYS
    sides = x.shape[-2], *w.shape[-2:]
    large = math.prod((*lead(x, w), *sides)) >= least and min(sides) >= shortest
    return x.dtype.name == "bfloat16" or (large and capability(x) in FULL_RATE)


def forward(x, w, b=None, residual=None, **hyper):
    return passes.forward(_product, operand(x), operand(w), b, residual, **hyper)


def backward(dy, x, w, b=None, residual=None, saved=None, **hyper):
    return passes.backward(SOURCE, _product, operand, dy, x, w, b, residual, saved, **hyper)


def product(a, b, *, tile=None):
    """a b, of stacks of matrices with any strides; tile: 64 or 128, else what `plan` chooses."""
    return _product(*map(operand, stacks(a, b)), of=lead(a, b), tile=tile)[0]


def operand(x: Any) -> Operand:
    """Matrices of any strides; bfloat16 as it is where rows, or columns, begin at multiples of 16 bytes."""
    rows, columns = x.shape[-2:]
    *apart, across, along = strides(x)
    if x.size == 0:
        return Operand(x, empty(x, (8,), np.uint16), 0, 8, x.shape, tuple(apart))
    across, along = across if rows > 1 else columns, along if columns > 1 else 1
    if rows > 1 and (columns == 1 or across < along):
        return operand(x.mT).T
    if min(*apart, across, along) < 0:
        return operand(contiguous(x))
    wide = 16 // x.itemsize
    aligned = along == 1 and all(n % wide == 0 for n in (columns, across, *apart)) and address(x) % 16 == 0
    if PLANES[x.dtype.name] == 1 and aligned and across >= columns:
        return Operand(x, span(x), 0, across, x.shape, tuple(apart))
    axes = merged(x.shape[:-1], strides(x)[:-1])
    if len(axes) > 1:
        return operand(contiguous(x))
    count, across = axes[0] if axes else (1, columns)
    pitch = -(-columns // 8) * 8
    planes = empty(x, (PLANES[x.dtype.name], *x.shape[:-1], pitch), np.uint16)
    kernel = SOURCE.kernel(f"split<T, {'16 / sizeof(T)' if aligned else '1'}>", x)
    sizes = np.int64(across), np.int64(along), np.int64(count), np.int32(columns), np.int32(pitch)
    kernel((blocks(x, -(-count * pitch // 8 // THREADS)),), (THREADS,), (planes, span(x), *sizes))
    return Operand(x, planes, count * pitch, pitch, x.shape, strides(planes)[1:-2])


def _product(a, b, bias=None, residual=None, activation="none", *, keeps_z=False, sums=None, of=(), tile=None):
    """g(a b + bias) + residual, (*of, M, N); what g was of, or None; the sums of b's columns or a's rows, or None.

    `of` are the batch axes: of a stack of products, which has nothing but y.
    """
    (M, K), N, x = a.shape[-2:], b.shape[-1], a.x
    y = empty(x, (*of, M, N))
    z = empty(x, y.shape) if keeps_z else None
    length = {"a": M, "b": N, None: 0}[sums]
    if y.size == 0:
        return y, z, _row_sums(a if sums == "a" else b.T) if sums else None
    chosen = plan(M, N, K, processors(x), LARGEST, STEP, SHARE, math.prod(of), tile)
    partial = empty(x, (chosen.splits, *y.shape), np.float32) if chosen.splits > 1 else None
    summed = empty(x, (chosen.splits, 1, length), np.float32) if sums else None
    bias, residual = contiguous(bias), contiguous(residual)
    apart = np.int64(a.plane), np.int64(b.plane), np.int64(a.stride), np.int64(b.stride)
    sizes = np.int64(y.size), np.int32(M), np.int32(N), np.int32(K), np.int32(chosen.share)
    stack, along = batches(of, a.apart, b.apart)
    arrays = (y, z, partial, summed, a.planes, b.planes, bias, residual, stack)
    instance = f"product<T, {chosen.tile}, {cpp(a.by_rows)}, {cpp(not b.by_rows)}>"
    grid = (-(-M // chosen.tile) * -(-N // chosen.tile) * chosen.splits, *along)
    _launch(instance, x, grid, chosen.tile, (*arrays, *apart, *sizes, code(activation), np.bool_(sums == "a")))
    if partial is not None:
        finish(SOURCE, y, z, partial, bias, residual, activation)
    if sums and (chosen.splits > 1 or x.dtype != np.float32):
        summed, parts = empty(x, (1, length)), summed
        finish(SOURCE, summed, None, parts)
    return y, z, None if summed is None else summed.reshape(-1)


def _launch(instance, x, grid, tile, arguments):
    kernel = SOURCE.kernel(instance, x)
    shared = STAGES[x.dtype.name] * PLANES[x.dtype.name] * 2 * tile * STEP * 2
    if shared > 48 << 10:
        kernel.max_dynamic_shared_size_bytes = shared
    kernel(grid, (2 * tile,), arguments, shared_mem=shared)


def _row_sums(a):
    """Of an operand of an empty product, which no kernel sees."""
    x = a.x if a.by_rows else a.x.T
    return x.astype(np.float32).sum(axis=1).astype(x.dtype)
