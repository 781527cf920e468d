"""The product C (+)= A B of matrices that lie in the cache: what a large product, or attention, is made of.

The picture: a tile of C, `rows` × two vectors, stays in registers while k runs over the inner axis. Each step adds the
rank-1 matrix that column k of A and row k of B make:

                              b_k0 … b_k15   b_k16 … b_k31      two vectors of B, loaded once
                a_0k, ‥ ×   ┌──────────────┬───────────────┐
                a_1k, ‥ ×   │  one register│  one register │    each entry of A is spread over a vector,
                  ⋮         │              │               │    and serves two multiply-adds
                a_11k,‥ ×   └──────────────┴───────────────┘

So 12 × 2 multiply-adds need 2 + 12 loads and no store; a loop that keeps C in memory, as compilers write it, needs a
load and a store for each. The tile is as tall as the registers allow: 12 rows of 32, 6 of 16 (one or two more hold B
and the entry of A). Rows that are left over run in tiles of a third of this height, then one by one.

A is read one number at a time, so its strides are free: a transposed matrix costs nothing. Rows of B and C are
contiguous, and as wide as a whole number of vectors; a last one alone is a tile of its own. `pack` and
`pack_transposed` make such rows of any matrix, in panels of `columns(dtype)` that are read from front to back, filled
up with zeros.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from nlp_kernels.common.compiled import device

VECTORS = 2  # in a row of a tile


@functools.cache
def vector_bytes() -> int:
    """The width of a vector register of the processor that Numba compiles for, or `TINYGRAD_NLP_VECTOR_BYTES`."""
    if width := os.environ.get("TINYGRAD_NLP_VECTOR_BYTES"):
        return int(width)
    features = _target()[1]
    return 64 if "+avx512f" in features else 32 if "+avx" in features else 16


def columns(dtype: Any) -> int:
    """The width of a tile: how many numbers a row of a panel has."""
    return VECTORS * vector_bytes() // np.dtype(dtype).itemsize


def whole_vectors(n: int, dtype: Any) -> int:
    """n, or the next number of columns that fill vectors: as wide as a product is."""
    lanes = vector_bytes() // np.dtype(dtype).itemsize
    return -(-n // lanes) * lanes


def height(width: int) -> int:
    """How many rows of a tile the registers hold: there are 32 in AVX-512 and on ARM, 16 in AVX and SSE."""
    return 12 if width == 64 or _target()[0].startswith(("aarch64", "arm64")) else 6


def _target() -> tuple[str, tuple[str, ...]]:
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, tuple(features.split(","))


def product_of(width: int | None = None) -> Any:
    """The function `product` for vectors of so many bytes; any width runs on any machine."""

    @intrinsic
    def product(typingctx, c, a, b, add):
        """C ← A B, or C ← C + A B where `add`: (M, K), (K, N) -> (M, N), N a multiple of a vector's width.

        b: a matrix (K, N), or panels (P, K, columns) that make up its columns. Rows of b and c are contiguous.
        """
        if not (c.dtype == a.dtype == b.dtype and (c.ndim, a.ndim) == (2, 2) and b.ndim in (2, 3)):
            raise errors.TypingError(f"product takes matrices of one dtype, not {c}, {a}, {b}")

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def parts(i: int) -> tuple[Any, list, list]:
                array = context.make_array(sig.args[i])(context, builder, args[i])
                ndim = sig.args[i].ndim
                data = builder.bitcast(array.data, ir.IntType(8).as_pointer())
                return data, *(cgutils.unpack_tuple(builder, t, ndim) for t in (array.shape, array.strides))

            scalar = context.get_value_type(c.dtype)
            itemsize = context.get_abi_sizeof(scalar)
            W = width or vector_bytes()
            (c_data, c_shape, c_strides), (a_data, a_shape, a_strides), (b_data, _, b_strides) = map(parts, range(3))
            panel = b_strides[0] if b.ndim == 3 else c_strides[0].type(VECTORS * W)
            function = _product(builder.module, scalar, c_strides[0].type, W // itemsize, height(W), itemsize)
            builder.call(function, [
                *c_shape, a_shape[1], c_data, c_strides[0], a_data, *a_strides, b_data, b_strides[-2], panel, args[3]
            ])  # fmt: skip
            return context.get_dummy_value()

        return types.void(c, a, b, types.boolean), codegen

    return product


product = product_of()


def _product(module: Any, scalar: Any, intp: Any, lanes: int, rows: int, itemsize: int) -> Any:
    """The function that all calls of `product` in a module share, written in LLVM's language; strides in bytes."""
    name = f"nlp_kernels.product.{scalar}.{lanes}.{rows}"
    if name in module.globals:
        return module.globals[name]
    bytes_ = ir.IntType(8).as_pointer()
    kind = [intp] * 3 + [bytes_, intp] + [bytes_, intp, intp] + [bytes_, intp, intp] + [ir.IntType(1)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kind), name)
    function.linkage = "linkonce_odr"  # each module that calls it has a copy, of which the linker keeps one
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    M, N, K, c, c_row, a, a_row, a_col, b, b_row, b_panel, add = function.args

    def at(base: Any, *steps: tuple[Any, Any]) -> Any:
        for count, stride in steps:
            base = builder.gep(base, [builder.mul(count, stride)])
        return base

    def columns_of_tiles(panel: Any, vectors: int) -> None:
        """All rows of C in a panel, the tallest tiles first."""
        b_p, c_p = at(b, (panel, b_panel)), at(c, (panel, intp(VECTORS * lanes * itemsize)))
        first = intp(0)
        for R in sorted({rows, max(rows // 3, 1), 1}, reverse=True):
            tiles = builder.udiv(builder.sub(M, first), intp(R))
            with cgutils.for_range(builder, tiles, intp=intp) as tile:
                m = builder.add(first, builder.mul(tile.index, intp(R)))
                c_m, a_m = at(c_p, (m, c_row)), at(a, (m, a_row))
                _tile(builder, (R, vectors), ir.VectorType(scalar, lanes), itemsize, K, c_m, c_row, a_m, a_row, a_col,
                      b_p, b_row, add)  # fmt: skip
            first = builder.add(first, builder.mul(tiles, intp(R)))

    panels = builder.udiv(N, intp(VECTORS * lanes))
    with cgutils.for_range(builder, panels, intp=intp) as panel:
        columns_of_tiles(panel.index, VECTORS)
    rest = builder.sub(N, builder.mul(panels, intp(VECTORS * lanes)))
    with builder.if_then(builder.icmp_signed(">=", rest, intp(lanes))):
        columns_of_tiles(panels, 1)
    builder.ret_void()
    return function


def _tile(builder, size, vector, itemsize, K, c, c_row, a, a_row, a_col, b, b_row, add):
    """Rows × vectors of C (+)= A B, the tile in registers from the first k to the last."""
    rows, vectors = size
    intp, lane = K.type, ir.IntType(32)
    scalar, nothing = vector.element, ir.Constant(vector, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(lane, vector.count), [0] * vector.count)
    name = f"llvm.fmuladd.v{vector.count}f{8 * itemsize}"  # one instruction where there is one, else two
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    tile = [(i, v) for i in range(rows) for v in range(vectors)]

    def pointer(base: Any, row: Any, stride: Any, v: int, kind: Any = vector) -> Any:
        offset = builder.add(builder.mul(intp(row), stride), intp(v * vector.count * itemsize))
        return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

    before, loop, body, after = builder.basic_block, *(builder.append_basic_block(n) for n in ("k", "step", "store"))
    builder.branch(loop)

    builder.position_at_end(loop)
    k, a_k, b_k = builder.phi(intp), builder.phi(a.type), builder.phi(b.type)
    acc = {at: builder.phi(vector) for at in tile}
    builder.cbranch(builder.icmp_signed("<", k, K), body, after)

    builder.position_at_end(body)
    row = [builder.load(pointer(b_k, 0, b_row, v), align=itemsize) for v in range(vectors)]
    new = {}
    for i in range(rows):
        entry = builder.load(pointer(a_k, i, a_row, 0, scalar), align=itemsize)
        spread = builder.shuffle_vector(builder.insert_element(nothing, entry, lane(0)), nothing, everywhere)
        for v in range(vectors):
            new[i, v] = builder.call(fma, [spread, row[v], acc[i, v]])
    steps = {k: (intp(0), builder.add(k, intp(1))), a_k: (a, builder.gep(a_k, [a_col])),
             b_k: (b, builder.gep(b_k, [b_row]))}  # fmt: skip
    steps |= {acc[at]: (ir.Constant(vector, None), new[at]) for at in tile}
    for phi, (start, step) in steps.items():
        phi.add_incoming(start, before)
        phi.add_incoming(step, body)
    builder.branch(loop)

    builder.position_at_end(after)
    with builder.if_else(add) as (then, otherwise):
        with then:
            for at in tile:
                old = builder.load(pointer(c, at[0], c_row, at[1]), align=itemsize)
                builder.store(builder.fadd(old, acc[at]), pointer(c, at[0], c_row, at[1]), align=itemsize)
        with otherwise:
            for at in tile:
                builder.store(acc[at], pointer(c, at[0], c_row, at[1]), align=itemsize)


@device(inline=False)
def pack(panels, x):
    """x (K, N) -> its columns in panels (P, K, columns), P columns >= N, filled up with 0."""
    P, K, NR = panels.shape
    N = x.shape[1]
    for p in range(P):
        n = min(NR, N - p * NR)
        for k in range(K):
            to, row = panels[p, k], x[k, p * NR : p * NR + n]
            for j in range(n):
                to[j] = row[j]
            for j in range(n, NR):
                to[j] = 0


@device(inline=False)
def pack_transposed(panels, x):
    """x (N, K) -> the columns of xᵀ in panels (P, K, columns), P columns >= N, filled up with 0."""
    P, K, NR = panels.shape
    N, L = x.shape[0], lanes_of(x)
    whole = K // L * L if x.strides[1] == x.itemsize else 0  # columns of x that are turned in squares
    for p in range(P):
        to, n = panels[p], min(NR, N - p * NR)
        square = n // L * L
        for j in range(0, square, L):
            for k in range(0, whole, L):
                _turn(to, k, j, x, p * NR + j, k)
        for j in range(n):
            row = x[p * NR + j]
            for k in range(whole if j < square else 0, K):
                to[k, j] = row[k]
        for k in range(K if n < NR else 0):
            to_k = to[k]
            for j in range(n, NR):
                to_k[j] = 0


@intrinsic
def columns_of(typingctx, x):
    """`columns` of x's dtype, in a kernel."""
    n = VECTORS * vector_bytes() // (x.dtype.bitwidth // 8)
    return types.intp(x), lambda context, builder, sig, args: context.get_constant(types.intp, n)


@intrinsic
def lanes_of(typingctx, x):
    """How many numbers of x a vector holds, in a kernel."""
    lanes = vector_bytes() // (x.dtype.bitwidth // 8)
    return types.intp(x), lambda context, builder, sig, args: context.get_constant(types.intp, lanes)


@intrinsic
def _turn(typingctx, to, k, j, x, n, m):
    """A square of x, as wide as a vector, from row n and column m, transposed to row k and column j of `to`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def place(i: int) -> tuple[Any, Any]:
            array = context.make_array(sig.args[i])(context, builder, args[i])
            stride, step = cgutils.unpack_tuple(builder, array.strides, 2)
            offset = builder.add(builder.mul(args[i + 1], stride), builder.mul(args[i + 2], step))
            return builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [offset]), stride

        scalar = context.get_value_type(to.dtype)
        itemsize = context.get_abi_sizeof(scalar)
        vector = ir.VectorType(scalar, vector_bytes() // itemsize)
        function = _square(builder.module, vector, itemsize, args[1].type)
        builder.call(function, [*place(0), *place(3)])
        return context.get_dummy_value()

    return types.void(to, k, j, x, n, m), codegen


def _square(module: Any, vector: Any, itemsize: int, size: Any) -> Any:
    """The function that transposes L vectors of L numbers: log2 L times, the first half is interleaved with the other.

    Number c of vector r is at place r L + c. Interleaving moves the top bit of a place to its end, so after log2 L
    times the bits of r stand behind those of c: number c of vector r has come to place c L + r.
    """
    L, name = vector.count, f"nlp_kernels.transpose.{vector.element}.{vector.count}"
    if name in module.globals:
        return module.globals[name]
    bytes_ = ir.IntType(8).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [bytes_, size, bytes_, size]), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    to, to_stride, x, x_stride = function.args

    def pointer(base: Any, row: int, stride: Any) -> Any:
        return builder.bitcast(builder.gep(base, [builder.mul(size(row), stride)]), vector.as_pointer())

    rows = [builder.load(pointer(x, r, x_stride), align=itemsize) for r in range(L)]
    order = [i // 2 + i % 2 * L for i in range(2 * L)]  # 0, L, 1, L + 1, …
    masks = [ir.Constant(ir.VectorType(ir.IntType(32), L), half) for half in (order[:L], order[L:])]
    for _ in range(L.bit_length() - 1):
        pairs = zip(rows[: L // 2], rows[L // 2 :], strict=True)
        rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
    for r in range(L):
        builder.store(rows[r], pointer(to, r, to_stride), align=itemsize)
    builder.ret_void()
    return function
