"""BLAS matrix products that kernels call: C ← α A B + β C on the calling thread.

SciPy publishes the addresses of the BLAS functions it was built with (`scipy.linalg.cython_blas`), whichever library
that is. A kernel takes the address as an argument, since compiled code that is kept on disk may not contain one.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import get_cython_function_address, intrinsic

N, T = 78, 84  # "N" and "T": as it is, transposed


@functools.cache
def address(dtype: np.dtype) -> int:
    """Of sgemm or dgemm; pass it to `gemm`."""
    return get_cython_function_address("scipy.linalg.cython_blas", "sgemm" if dtype == np.float32 else "dgemm")


@intrinsic
def gemm(typingctx, function, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """C ← α op(A) op(B) + β C, all in C order: (m, k), (k, n) -> (m, n); a, b, c are addresses, ld* row strides.

    `transa`, `transb`: N, or T for an array that holds the transposed matrix. BLAS counts in Fortran order, in which
    these arrays are their transposes: Cᵀ = op(B)ᵀ op(A)ᵀ.
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
