"""Matrix products by BLAS, each on the thread that calls it: C ← α A B + β C.

SciPy publishes the addresses of the BLAS functions it was built with (`scipy.linalg.cython_blas`), whichever library
that is. A kernel takes the address as an argument, since compiled code that is kept on disk may not contain one.

`gemm` is the BLAS function itself, `multiply` the same for arrays inside a kernel, and `product` a whole product, cut
among the threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange
from numba.core import types
from numba.extending import get_cython_function_address, intrinsic

from nlp_kernels.common import memory, threads
from nlp_kernels.common.compiled import device, kernel

AS_IT_IS, TRANSPOSED = ord("N"), ord("T")
GRAIN = 1 << 20  # multiply-adds that are worth a thread: 10 µs or so


@functools.cache
def address(dtype: np.dtype) -> int:
    """Of sgemm or dgemm; pass it to `gemm`."""
    return get_cython_function_address("scipy.linalg.cython_blas", "sgemm" if dtype == np.float32 else "dgemm")


@intrinsic
def gemm(typingctx, function, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """C ← α op(A) op(B) + β C, all in C order: (m, k), (k, n) -> (m, n); a, b, c are addresses, ld* row strides.

    `transa`, `transb`: AS_IT_IS, or TRANSPOSED for an array that holds the transposed matrix. BLAS counts
    in Fortran order, in which these arrays are their transposes: Cᵀ = op(B)ᵀ op(A)ᵀ.
    """
    scalar = alpha
    signature = types.void(
        types.intp, types.intp, types.intp, types.intp, types.intp, types.intp, scalar,
        types.intp, types.intp, types.intp, types.intp, scalar, types.intp, types.intp,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args
        i8, i32 = ir.IntType(8), ir.IntType(32)

        def by_address(value: Any, of: Any) -> Any:
            with builder.goto_entry_block():  # a stack slot for each call, not for each turn of a loop
                slot = builder.alloca(of)
            builder.store(builder.trunc(value, of) if isinstance(of, ir.IntType) else value, slot)
            return builder.bitcast(slot, i8.as_pointer())

        real = context.get_value_type(scalar)
        arguments = [
            by_address(transb, i8), by_address(transa, i8), by_address(n, i32), by_address(m, i32), by_address(k, i32),
            by_address(alpha, real), builder.inttoptr(b, i8.as_pointer()), by_address(ldb, i32),
            builder.inttoptr(a, i8.as_pointer()), by_address(lda, i32),
            by_address(beta, real), builder.inttoptr(c, i8.as_pointer()), by_address(ldc, i32),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [i8.as_pointer()] * 13)
        builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature, codegen


def readable(x: np.ndarray) -> np.ndarray:
    """The matrices themselves where BLAS can read them, with contiguous rows or columns; else a copy.  (..., M, N)"""
    row, column = x.strides[-2:]
    size, (M, N) = x.itemsize, x.shape[-2:]
    if (column == size and row >= N * size and row % size == 0) or (
        row == size and column >= M * size and column % size == 0
    ):
        return x
    return np.array(x, order="C")


def workers(*sizes: int) -> int:
    """Among how many workers to cut a product of these sizes."""
    return threads.workers(math.prod(sizes) // GRAIN)


@device
def multiply(function, c, a, b):
    """C ← A B for A and B that are `readable`; rows of C are contiguous. `function` is its `address`."""
    T = c.dtype.type
    M, N = c.shape
    if M > 0 and N > 0:
        transa, lda = _stored(a)
        transb, ldb = _stored(b)
        ldc = c.strides[0] // c.itemsize
        gemm(
            function, transa, transb, M, N, a.shape[1], T(1), a.ctypes.data, lda, b.ctypes.data, ldb,
            T(0), c.ctypes.data, ldc,
        )  # fmt: skip


@device
def _stored(x):
    """How BLAS reads a matrix: as it is or transposed, and the step from one row of what is stored to the next."""
    row, column = x.strides[0] // x.itemsize, x.strides[1] // x.itemsize
    if column == 1 or x.shape[1] == 1:  # the stride of an axis of size 1 says nothing
        return AS_IT_IS, max(row, x.shape[1], 1)
    return TRANSPOSED, max(column, x.shape[0], 1)


@device
def part(w, workers, M, N):
    """The rows and columns of C, (M, N), that worker w computes: its longer side is cut, so that both factors are read
    in large pieces.
    """
    if M >= N:
        return w * M // workers, (w + 1) * M // workers, 0, N
    return 0, M, w * N // workers, (w + 1) * N // workers


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """C = A B on all threads, the same for a given number of them.  (..., M, K), (..., K, N) -> (..., M, N)

    Leading axes broadcast. A transposed matrix is read where it lies; other strides are copied.
    """
    lead = a.shape[:-2]
    if lead != b.shape[:-2]:
        lead = np.broadcast_shapes(lead, b.shape[:-2])
        a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    (M, K), N = a.shape[-2:], b.shape[-1]
    L = math.prod(lead)
    c = memory.empty((*lead, M, N), a.dtype)
    a, b = readable(a).reshape(L, M, K), readable(b).reshape(L, K, N)
    _product(c.reshape(L, M, N), a, b, address(a.dtype), workers(L, M, K, N))
    return c


@kernel("c[L,M,N] | a(L,M,K) b(L,K,N) gemm:int64 workers:int64")
def _product(c, a, b, gemm, workers):
    L, M, N = c.shape
    for w in prange(workers):
        if workers <= L:
            for i in range(w * L // workers, (w + 1) * L // workers):
                multiply(gemm, c[i], a[i], b[i])
        else:
            m0, m1, n0, n1 = part(w, workers, M, N)
            for i in range(L):
                multiply(gemm, c[i, m0:m1, n0:n1], a[i, m0:m1], b[i, :, n0:n1])
