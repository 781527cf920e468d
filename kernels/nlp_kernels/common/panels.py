"""A matrix in panels, as the micro-kernel reads it, packed by all threads."""

from __future__ import annotations

import numpy as np
from numba import prange

from nlp_kernels.common import microkernel
from nlp_kernels.common.blas import readable, workers
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.memory import empty

DEPTH = 16  # rows that are packed together: each is read in long pieces, and each panel written in long ones


def packed(b: np.ndarray) -> np.ndarray:
    """The columns of B in panels (P, K, R), as wide as a tile, filled up with zeros.  (K, N) -> (P, K, R)"""
    (K, N), R = b.shape, microkernel.columns(b.dtype)
    panels = empty((-(-N // R), K, R), b.dtype)
    _pack(panels, readable(b), workers(K, N, 16))
    return panels


@device
def pack(panels, b):
    """B (K, N), of which rows or columns are contiguous, in panels (P, K, R)."""
    if b.strides[1] == b.itemsize:
        for k in range(0, len(b), DEPTH):
            microkernel.pack(panels[:, k : k + DEPTH], b[k : k + DEPTH])
    else:
        microkernel.pack_transposed(panels, b.T)


@kernel("panels[P,K,R] | b(K,N) workers:int64")
def _pack(panels, b, workers):
    P, _, R = panels.shape
    for p in prange(workers):
        p0, p1 = p * P // workers, (p + 1) * P // workers
        pack(panels[p0:p1], b[:, p0 * R : p1 * R])
