"""What a number's bits, or an array's memory, are told the compiler about: single instructions, without arithmetic.

Numba's own comparisons and views keep a loop from running as wide as the processor allows; these do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic


@intrinsic
def maximum(typingctx, a, b):
    """The larger of two numbers; a NaN may be lost. As a reduction it vectorises, unlike a comparison."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.maxnum", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, args, fastmath=("nnan", "nsz"))

    return a(a, a), codegen


@intrinsic
def scaled(typingctx, y, t):
    """y 2ⁿ, where n stands in the lowest bits of t: it is added to the exponent of y, unchecked."""
    integer, mantissa = (ir.IntType(32), 23) if y == types.float32 else (ir.IntType(64), 52)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, n = (builder.bitcast(x, integer) for x in args)
        exponent = builder.shl(n, ir.Constant(integer, mantissa))
        return builder.bitcast(builder.add(bits, exponent), args[0].type)

    return y(y, t), codegen


@intrinsic
def exponent(typingctx, x):
    """k with x 2⁻ᵏ in √½ … √2, as a floating-point number; x positive and not subnormal."""
    integer, mantissa = (ir.IntType(32), 23) if x == types.float32 else (ir.IntType(64), 52)
    root = int(np.sqrt(np.float64(0.5)).astype(str(x)).view(f"i{integer.width // 8}"))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.sub(builder.bitcast(args[0], integer), ir.Constant(integer, root))
        return builder.sitofp(builder.ashr(bits, ir.Constant(integer, mantissa)), args[0].type)

    return x(x), codegen


@intrinsic
def prefetch(typingctx, x, i):
    """Ask memory for x[i], (N,), and its neighbours in the cache line, which are needed soon."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        i8, i32 = ir.IntType(8), ir.IntType(32)
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), i8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [address, i32(0), i32(3), i32(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(x, i), codegen


@intrinsic
def contiguous(typingctx, x):
    """The same array (N,), whose numbers are known to the compiler to be neighbours: a loop over them vectorises."""
    known = types.Array(x.dtype, 1, "C", readonly=not x.mutable, aligned=x.aligned)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return impl_ret_borrowed(context, builder, known, args[0])

    return known(x), codegen
