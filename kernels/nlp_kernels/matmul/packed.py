"""Matmul with a product of our own: B packed into panels, C in tiles of registers, the rest while C is in the cache.

    for the rows of C, MC at a time              z and what follows it stay in the second-level cache
        for the inner axis, KC at a time         so does this block of A
            for the panels of B                  each read from front to back
                for tiles of 12 rows             C in registers while k runs: common/microkernel.py

Where the inner axis is the longest, as in dW = Xᵀ dZ, B is the large one and its blocks stay: `_long_product`.

README.md goes there step by step, and says what each is worth.
"""

import numpy as np

from nlp_kernels.common import microkernel
from nlp_kernels.common.blas import readable, workers
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.intrinsics import contiguous
from nlp_kernels.common.memory import empty
from nlp_kernels.common.panels import pack, packed
from nlp_kernels.matmul import cpu
from nlp_kernels.matmul.cpu import finish, supports
from nlp_kernels.matmul.reference import ACTIVATIONS

__all__ = ["backward", "forward", "pays", "product", "supports"]

KC, MC = 192, 96  # longer sums would round more than PyTorch's; a block of A has 72 KB in float32
LINE = 16  # numbers that set rows of a copy apart
NC = 512  # columns of a block of B: 384 KB
PAGE = 4096  # bytes: rows that lie a multiple of this apart share few lines of the first-level cache
FEW, SMALL = 32, 1 << 20  # rows, and multiply-adds, below which packing B costs more than it saves


def pays(x, w, *inputs, **hyper):
    """Whether it is faster than BLAS: as measured, with AVX-512, from these sizes on."""
    return microkernel.vector_bytes() == 64 and len(x) >= FEW and len(x) * w.shape[0] * w.shape[1] >= SMALL


def forward(x, w, b=None, residual=None, *, activation="none", transpose_w=False):
    w = w.T if transpose_w else w
    y = empty((len(x), w.shape[1]), x.dtype)
    z = y if activation == "none" else empty(y.shape, x.dtype)
    after = cpu.bias(b, z), cpu.rows(residual, z), ACTIVATIONS.index(activation)
    W = workers(*x.shape, w.shape[1])
    _forward(W, y, z, readable(x), packed(w), *after, W)
    return y, None if activation == "none" else z


def backward(dy, x, w, b=None, residual=None, saved=None, *, activation="none", transpose_w=False):
    hyper = {"activation": activation, "transpose_w": transpose_w}
    if saved is None and activation != "none":
        saved = forward(x, w, b, **hyper)[1]
    return cpu.gradients(product, dy, x, w, b, residual, saved, **hyper)  # (8) (9) (10) (11) (12) (13) (14) (15)


def product(a, b):
    """C = A B.  (M, K), (K, N) -> (M, N)"""
    (M, K), N = a.shape, b.shape[1]
    c, W = empty((M, N), a.dtype), workers(M, K, N)
    if K > M:
        _long_product(W, c, readable(a), readable(b), W)
    else:
        _product(W, c, readable(a), packed(b), W)
    return c


@kernel("c[M,N] | a(M,K) panels[P,K,R] W:int64", spread=True)
def _product(w, c, a, panels, W):
    m0, m1, n0, n1 = _part(w, W, c, panels.shape[2])
    block, edge = _scratch(a, panels)
    for m in range(m0, m1, MC):
        last = min(m + MC, m1)
        _rows(c[m:last, n0:n1], a[m:last], _from(panels, n0), block, edge, False)


@kernel("c[M,N] | a(M,K) b(K,N) W:int64", spread=True)
def _long_product(w, c, a, b, W):
    """Where the inner axis is the longest: B is packed KC rows at a time, which are used for all of C at once."""
    K, R = a.shape[1], microkernel.columns_of(c)
    m0, m1, n0, n1 = _part(w, W, c, R)
    panels = np.empty((NC // R, KC, R), c.dtype)
    block, edge = _scratch(a, panels)
    for n in range(n0, n1, NC):
        columns = slice(n, min(n + NC, n1))
        P = -(-(columns.stop - n) // R)
        for k in range(0, K, KC):
            depth = slice(k, min(k + KC, K))
            block_b = panels[:P, : depth.stop - k]
            pack(block_b, b[depth, columns])
            for m in range(m0, m1, MC):
                rows = slice(m, min(m + MC, m1))
                _rows(c[rows, columns], a[rows, depth], block_b, block, edge, k > 0)


@kernel(
    "y[M,N] z[M,N] | x(M,K) panels[P,K,R] b[N] residual[M,N] activation:int64 W:int64",
    spread=True,
)
def _forward(w, y, z, x, panels, b, residual, activation, W):
    m0, m1, n0, n1 = _part(w, W, y, panels.shape[2])
    block, edge = _scratch(x, panels)
    for m in range(m0, m1, MC):
        last = min(m + MC, m1)
        _rows(z[m:last, n0:n1], x[m:last], _from(panels, n0), block, edge, False)  # (1)
        finish(y, z, b, residual, activation, m, last, n0, n1)  # (2) (3) (4) (5) (6) (7)


@device
def _part(w, W, c, R):
    """The rows and columns of C that worker w of W computes: the longer side is cut, columns in whole panels."""
    M, N = c.shape
    P = -(-N // R)
    if M >= N:
        return w * M // W, (w + 1) * M // W, 0, N
    return 0, M, w * P // W * R, min((w + 1) * P // W * R, N)


@device
def _from(panels, n):
    return panels[n // panels.shape[2] :]


@device
def _scratch(a, panels):
    """Room for a copy of a block of an A that competes for the cache; for the last panel, a tile of its full width."""
    T, (_, K, R) = panels.dtype, panels.shape
    stride = max(a.strides[0], a.strides[1])
    crowded = min(a.strides[0], a.strides[1]) == a.itemsize and stride % PAGE == 0
    return np.empty((MC + R) * (K + R) if crowded else 0, T), np.empty((MC, R), T)


@device
def _rows(c, a, panels, block, edge, add):
    """C ← A B, or C ← C + A B where `add`, for at most MC rows."""
    if not len(block):
        _multiply(c, a, panels, edge, add)
    elif a.strides[1] == a.itemsize:
        _multiply(c, _spread_out(block, a), panels, edge, add)
    else:
        _multiply(c, _spread_out(block, a.T).T, panels, edge, add)


@device
def _spread_out(block, a):
    """A copy of a matrix whose rows are contiguous, each a line longer than A's."""
    M, K = a.shape
    rows = block[: M * (K + LINE)].reshape(M, K + LINE)
    for m in range(M):
        to, row = rows[m], contiguous(a[m])
        for k in range(K):
            to[k] = row[k]
    return rows[:, :K]


@device
def _multiply(c, a, panels, edge, add):
    """C (+)= A B, about KC of the inner axis at a time: parts of one size, as each reads and writes all of C."""
    (M, N), K, R = c.shape, a.shape[1], panels.shape[2]
    P, depth = N // R, max(1, -(-K // max(1, (K + KC // 2) // KC)))
    for k in range(0, max(K, 1), depth):
        microkernel.product(c[:, : P * R], a[:, k : k + depth], panels[:P, k : k + depth], add or k > 0)
    if P * R < N:
        lanes = microkernel.lanes_of(c)
        microkernel.product(edge[:M, : R if lanes < N - P * R else lanes], a, panels[P], False)
        for m in range(M):
            c_m, edge_m = c[m, P * R :], edge[m]
            for n in range(N - P * R):
                c_m[n] = c_m[n] + edge_m[n] if add else edge_m[n]
