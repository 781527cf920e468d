"""Embedding, Numba: rows are copied, and summed by the row they belong to, so that each is written once. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, device, kernel
from nlp_kernels.common.intrinsics import prefetch
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers

AHEAD = 4  # rows that memory is asked for in advance: the processor does not guess which one comes next


def supports(table, indices, **hyper):
    return type(table) is np.ndarray and table.dtype in DTYPES and type(indices) is np.ndarray


def forward(table, indices, *, padding_idx=None):
    N, D = indices.size, table.shape[1]
    y = empty((N, D), table.dtype)
    _gather(y, table, _flat(indices), workers(N, y.size))
    return y.reshape(*indices.shape, D), None


def backward(dy, table, indices, saved=None, *, padding_idx=None):
    N, (V, D) = indices.size, table.shape
    dtable, start, order = empty((V, D), dy.dtype), empty((V + 1,), np.uint32), empty((N,), np.uint32)
    ignored = -1 if padding_idx is None else padding_idx
    _scatter_add(dtable, start, order, dy.reshape(N, D), _flat(indices), ignored, workers(V, dtable.size + dy.size))
    return (dtable,)


def _flat(indices):
    return indices.reshape(-1).astype(np.int64, copy=False)


@kernel("y[N,D] | table[V,D] indices:int64[N] workers:int64")
def _gather(y, table, indices, workers):
    N, D = y.shape
    for w in prange(workers):
        end = (w + 1) * N // workers
        for n in range(w * N // workers, end):
            _soon(table[indices[min(n + AHEAD, end - 1)]])
            y_n, row = y[n], table[indices[n]]
            for d in range(D):
                y_n[d] = row[d]  # (1)


@kernel("dtable[V,D] start:uint32[V1] order:uint32[N] | dy[N,D] indices:int64[N] ignored:int64 workers:int64")
def _scatter_add(dtable, start, order, dy, indices, ignored, workers):
    V, D = dtable.shape
    _sort(start, order, indices, ignored)
    work = start[V] + V  # rows read and rows written
    for w in prange(workers):
        for r in range(_share(start, w * work // workers), _share(start, (w + 1) * work // workers)):
            row = dtable[r]
            for d in range(D):
                row[d] = 0
            for i in range(start[r], start[r + 1]):
                _soon(dy[order[min(i + AHEAD, start[V] - 1)]])
                dy_n = dy[order[i]]
                for d in range(D):
                    row[d] += dy_n[d]  # (3)


@device
def _soon(row):
    for d in range(0, len(row), 64 // row.itemsize):
        prefetch(row, d)


@device
def _sort(start, order, indices, ignored):
    """order[start[r]] … order[start[r + 1] - 1] are the n with indices[n] = r, in order; none for r = ignored."""
    V = len(start) - 1
    start[:] = 0
    for n in range(len(indices)):
        start[indices[n]] += indices[n] != ignored
    total = 0
    for r in range(V + 1):
        total += start[r]
        start[r] = total
    for n in range(len(indices) - 1, -1, -1):
        r = indices[n]
        if r != ignored:  # (2)
            start[r] -= 1
            order[start[r]] = n


@device
def _share(start, work):
    """The first row r with start[r] + r >= work."""
    low, high = 0, len(start) - 1
    while low < high:
        r = (low + high) // 2
        if start[r] + r < work:
            low = r + 1
        else:
            high = r
    return low
