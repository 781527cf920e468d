"""Embedding on NVIDIA GPUs: rows gathered; cotangents sorted by row and summed, or added atomically. README.md."""

import numpy as np

from nlp_kernels.common.cuda import Source, check_launch, empty, serves, width, zeros
from nlp_kernels.common.gpu import blocks
from nlp_kernels.determinism import deterministic
from nlp_kernels.errors import DtypeError

THREADS, PIECE = 128, 128  # threads of a block; positions that a group sums, the most of one row
REPEATS = 32  # indices for each row of the table up to which atomic operations seldom meet

INDICES = {"int32": "int", "int64": "long long"}
WIDTHS = ("1", "16 / sizeof(T)")
SOURCE = Source(
    __file__,
    *(f"embedding_{name}<T, {i}, {w}>" for name in ("gather", "scatter") for i in INDICES.values() for w in WIDTHS),
    *(f"embedding_keys<{i}>" for i in INDICES.values()),
    "embedding_bounds",
    *(f"embedding_{name}<T, {w}>" for name in ("pieces", "rows") for w in WIDTHS),
)


def supports(table, indices, **hyper):
    if not serves(table) or table.dtype.itemsize < 4:
        return False
    (V, D), N = table.shape, indices.size
    return max(D, N) < 2**30 and V.bit_length() + N.bit_length() < 63  # a row and a position make a key


def forward(table, indices, *, padding_idx=None):
    kind = _index("embedding.forward", table, indices)
    (V, D), N = table.shape, indices.size
    y = empty(table, (*indices.shape, D))
    if y.size:
        wide, lanes, grid = _shape(N, D, y, table)
        kernel = SOURCE.kernel(f"embedding_gather<T, {kind}, {wide}>", table)
        kernel(grid, (THREADS,), (y, table, indices, np.int64(N), np.int64(V), np.int32(D), lanes))
    return y, None


def backward(dy, table, indices, saved=None, *, padding_idx=None):
    kind = _index("embedding.backward", table, indices, dy=dy)
    ignored = np.int64(-1 if padding_idx is None else padding_idx)
    if not dy.size or not table.size:
        return (zeros(table, table.shape),)
    atomically = not deterministic() and indices.size <= REPEATS * table.shape[0]
    return ((_scatter if atomically else _sorted_sums)(dy, table, indices, ignored, kind),)


def _scatter(dy, table, indices, ignored, kind):
    (V, D), N = table.shape, indices.size
    dtable = zeros(table, table.shape)
    wide, lanes, grid = _shape(N, D, dy, dtable)
    kernel = SOURCE.kernel(f"embedding_scatter<T, {kind}, {wide}>", table)
    kernel(grid, (THREADS,), (dtable, dy, indices, np.int64(N), np.int64(V), ignored, np.int32(D), lanes))
    return dtable


def _sorted_sums(dy, table, indices, ignored, kind):
    (V, D), N = table.shape, indices.size
    bits = np.int32((N - 1).bit_length())
    keys, bounds = empty(table, (N,), "i8"), zeros(table, (V, 2), "i4")
    flat = (blocks(table, -(-N // THREADS), 16),), (THREADS,)
    SOURCE.kernel(f"embedding_keys<{kind}>", table)(*flat, (keys, indices, np.int64(N), np.int64(V), ignored, bits))
    keys.sort()
    SOURCE.kernel("embedding_bounds", table)(*flat, (bounds, keys, np.int64(N), np.int64(V), bits))

    P = 2 * -(-N // PIECE)
    dtable, partial = empty(table, table.shape), empty(table, (P, D))
    wide, lanes, grid = _shape(P, D, dy, dtable, partial)
    cut = np.int64(V), np.int32(D), lanes, bits, np.int32(PIECE)
    pieces = SOURCE.kernel(f"embedding_pieces<T, {wide}>", table)
    pieces(grid, (THREADS,), (partial, dy, keys, bounds, np.int32(N), np.int32(P), *cut))
    _, _, grid = _shape(V, D, dy, dtable, partial)
    SOURCE.kernel(f"embedding_rows<T, {wide}>", table)(grid, (THREADS,), (dtable, dy, partial, keys, bounds, *cut))
    return dtable


def _index(function, table, indices, **cotangent):
    """The C++ type of the indices."""
    check_launch(function, table=table, indices=indices, **cotangent)
    if indices.dtype.name not in INDICES:
        raise DtypeError(f"{function}: indices is {indices.dtype}, expected int32 or int64")
    return INDICES[indices.dtype.name]


def _shape(items, D, *arrays):
    """The width of an access, the threads of a group and the grid, for as many rows of D numbers."""
    x, wide = arrays[0], width(D, *arrays)
    accesses = D // wide
    lanes = min(32, 1 << (accesses - 1).bit_length())
    across = min(-(-accesses // lanes), 2**16 - 1)
    grid = blocks(x, -(-items * lanes // THREADS), max(1, 16 // across)), across
    return "1" if wide == 1 else "16 / sizeof(T)", np.int32(lanes), grid
