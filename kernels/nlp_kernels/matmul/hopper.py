"""Matrix products of bfloat16 on Hopper (compute capability 9.0): launches hopper.cu. README.md."""

from itertools import product as every
from typing import NamedTuple

import numpy as np

from nlp_kernels.common.check import contiguous
from nlp_kernels.common.cuda import Source, address, empty, serves, zeros
from nlp_kernels.common.gpu import has_wgmma, processors
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import passes, tensor_cores
from nlp_kernels.matmul.cuda import cpp
from nlp_kernels.matmul.passes import code, finish
from nlp_kernels.matmul.tensor_cores import Operand, operand

ROWS, STEP, STAGES, CLUSTER, BOX = 128, 64, 4, 2, 64  # hopper.cu: BM, BK, …; a box is 64 × 64
COLUMNS = 128, 256  # of a tile
THREADS = 384
ONE = 0x3F80  # in bfloat16
SHARE = 512  # clusters that share K have at least this much
PAYS = 1 << 28, 128  # multiply-adds, and the shortest side, from which on tiles are many and full: README.md

SOURCE = Source(
    __file__,
    *(f"multiply<T, {n}, {a}, {b}>" for n, a, b in every(COLUMNS, ("false", "true"), ("false", "true"))),
    *("finish<T>", "slopes<T>"),
    dtypes=("bfloat16",),
    only="sm_90a",
)


class Plan(NamedTuple):
    """The tiles of a product, 128 by so many columns."""

    columns: int
    clusters: int  # that cover the product
    splits: int  # clusters that share K
    share: int  # of K, for each


def supports(x, w, b=None, residual=None, **hyper):
    fits = max(*x.shape, *w.shape) < 2**31 - CLUSTER * max(*COLUMNS)
    return serves(x) and x.dtype.name == "bfloat16" and x.ndim == w.ndim == 2 and fits and has_wgmma(x)


def pays(x, w, *inputs, **hyper):
    """Whether the tiles are many and full enough; smaller products are for tensor_cores."""
    least, shortest = PAYS
    return len(x) * w.shape[0] * w.shape[1] >= least and min(len(x), *w.shape) >= shortest


def forward(x, w, b=None, residual=None, **hyper):
    return passes.forward(_product, operand(x), operand(w), b, residual, **hyper)


def backward(dy, x, w, b=None, residual=None, saved=None, **hyper):
    return passes.backward(SOURCE, _product, operand, dy, x, w, b, residual, saved, **hyper)


def product(a, b, *, tile=None):
    """a b, of matrices with any strides; tile: (128, 128) or (128, 256), else what `plan` chooses."""
    if tile is not None and tile not in (there := [(ROWS, columns) for columns in COLUMNS]):
        raise ShapeError(f"hopper.product: there is no tile of {tile}; there are {', '.join(map(str, there))}")
    return _product(operand(a), operand(b), tile=tile)[0]


def plan(M: int, N: int, K: int, at_once: int, tile: tuple[int, int] | None = None) -> Plan:
    """The largest tile, two of them to a cluster, that keeps `at_once` clusters busy; else clusters share K, too."""
    clusters = {columns: -(-M // (CLUSTER * ROWS)) * -(-N // columns) for columns in COLUMNS}
    columns = tile[1] if tile else max((n for n in COLUMNS if clusters[n] >= at_once), default=COLUMNS[0])
    splits = max(1, min(at_once // clusters[columns], K // SHARE))
    share = max(1, -(-K // (splits * STEP))) * STEP
    return Plan(columns, clusters[columns], max(1, -(-K // share)), share)


def _product(a, b, bias=None, residual=None, activation="none", *, keeps_z=False, sums=None, tile=None):
    """g(a b + bias) + residual, (M, N); what g was of, or None; the sums of b's columns or a's rows, or None."""
    (M, K), N, x = a.shape, b.shape[1], a.x
    y = empty(x, (M, N))
    z = empty(x, (M, N)) if keeps_z else None
    bias, residual = contiguous(bias), contiguous(residual)
    if y.size:
        chosen = plan(M, N, K, _at_once(x), tile)
        aligned = N % 8 == 0 and not any(address(o) % 16 for o in (y, z, residual) if o is not None)
        in_boxes = aligned and chosen.splits == 1
        partial = None if K and in_boxes else (empty if K else zeros)(x, (chosen.splits, M, N), np.float32)
        if K:  # else there is nothing for the copy engine
            _launch(chosen, a, b, (y, z, residual), partial, bias, activation)
        if partial is not None:
            finish(SOURCE, y, z, partial, bias, residual, activation)
    return y, z, None if sums is None else _sums(b if sums == "b" else a.T)


def _launch(chosen, a, b, boxed, partial, bias, activation):
    (y, z, residual), (M, K), N = boxed, a.shape, b.shape[1]
    maps = [_map(a, ROWS), _map(b.T, chosen.columns // CLUSTER)]
    maps += [maps[0] if o is None or partial is not None else tensor_map(o, (BOX, BOX)) for o in boxed]
    kernel = SOURCE.kernel(f"multiply<T, {chosen.columns}, {cpp(a.by_rows)}, {cpp(not b.by_rows)}>", y)
    shared = STAGES * (ROWS + chosen.columns) * STEP * 2 + 4 * BOX * BOX * 2  # the ring; two boxes for each consumer
    kernel.max_dynamic_shared_size_bytes = shared
    sizes = np.int32(M), np.int32(N), np.int32(K), np.int32(chosen.share)
    grid = (CLUSTER * min(chosen.clusters * chosen.splits, _at_once(y)),)
    there = np.bool_(z is not None), np.bool_(residual is not None)
    kernel(grid, (THREADS,), (*maps, partial, bias, *sizes, code(activation), *there), shared_mem=shared)


def _at_once(x):
    """Clusters that the GPU of x runs at once."""
    return max(1, processors(x) // CLUSTER)


def _map(of: Operand, rows: int):
    """The tensor map of an operand (rows, K), and a box of so many rows by 64 of K; or one of 64 by 64 across K."""
    memory = of.planes[0, :, : of.shape[1 if of.by_rows else 0]] if of.plane else of.x
    return tensor_map(memory, (rows if of.by_rows else BOX, BOX))


def _sums(dz: Operand):
    """The sums of a matrix's columns (14): a row of ones times it, which reads it once."""
    ones = empty(dz.x, (1, dz.shape[0]), np.uint16)
    ones.fill(ONE)
    return tensor_cores.product(ones.view(dz.x.dtype), dz.x if dz.by_rows else dz.x.T).reshape(-1)
