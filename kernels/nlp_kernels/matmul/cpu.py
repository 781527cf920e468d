"""Matmul by BLAS and Numba: each worker's part of the product, then everything else in one pass over it. README.md."""

import functools

import numpy as np
from numba import prange

from nlp_kernels.common import blas
from nlp_kernels.common.compiled import device, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import normal, sigmoid
from nlp_kernels.matmul.reference import ACTIVATIONS, A, B

NONE, RELU, GELU, GELU_TANH = range(len(ACTIVATIONS))
ROWS, COLUMNS = 64, 2048  # a tile of the elementwise part: its sums and the bias stay in the first-level cache
GRAIN = 4096  # elements that are worth a thread

product = blas.product


def supports(x, *inputs, **hyper):
    return type(x) is np.ndarray and x.dtype in (np.float32, np.float64)


def forward(x, w, b=None, residual=None, *, activation="none", transpose_w=False):
    w = w.T if transpose_w else w
    if activation == "none" and b is None and residual is None:
        return blas.product(x, w), None
    (M, K), N = x.shape, w.shape[1]
    y = empty((M, N), x.dtype)
    z = y if activation == "none" else empty((M, N), x.dtype)
    x, w, gemm = blas.readable(x), blas.readable(w), blas.address(x.dtype)
    _forward(y, z, x, w, bias(b, z), rows(residual, z), ACTIVATIONS.index(activation), gemm, blas.workers(M, K, N))
    return y, None if activation == "none" else z


def backward(dy, x, w, b=None, residual=None, saved=None, *, activation="none", transpose_w=False):
    hyper = {"activation": activation, "transpose_w": transpose_w}
    if saved is None and activation != "none":
        saved = forward(x, w, b, **hyper)[1]
    return gradients(blas.product, dy, x, w, b, residual, saved, **hyper)


def gradients(product, dy, x, w, b, residual, saved, *, activation, transpose_w):
    """(dx, dw, db, dresidual), by any product of matrices."""
    dz, db = dy, None
    if activation != "none" or b is not None:
        dz, db = activate_backward(dy, saved, activation=activation)  # (8) (14)
    dx = product(dz, w if transpose_w else w.T)  # (12)
    dw = product(dz.T, x) if transpose_w else product(x.T, dz)  # (13)
    return dx, dw, None if b is None else db, None if residual is None else dy  # (15)


def activate(z, b=None, *, activation):
    """g(z + b).  (M, N), (N,) -> (M, N)"""
    if activation == "none":
        return z if b is None else z + b
    z = np.ascontiguousarray(z)
    y = empty(z.shape, z.dtype)
    _activate(y, z, bias(b, z), ACTIVATIONS.index(activation), workers(z.size // GRAIN))
    return y


def activate_backward(dy, z, b=None, *, activation):
    """dz = dy g'(z + b), db = Σ_m dz.  (M, N), (M, N), (N,) -> (M, N), (N,)"""
    dy = np.ascontiguousarray(dy)
    z = dy if z is None else np.ascontiguousarray(z)  # without an activation z is not read, and dz is dy
    dz = empty((0, 0) if activation == "none" else dy.shape, dy.dtype)
    sums = empty((-(-len(dy) // ROWS), dy.shape[1]), dy.dtype)
    _differentiate(dz, sums, dy, z, bias(b, dy), ACTIVATIONS.index(activation), workers(dy.size // GRAIN))
    db = sums.sum(axis=0, dtype=np.float64).astype(dy.dtype)
    return dy if activation == "none" else dz, db


def bias(b, z):
    return _zeros(z.shape[1], z.dtype) if b is None else np.ascontiguousarray(b)


def rows(residual, z):
    return np.empty((0, 0), z.dtype) if residual is None else np.ascontiguousarray(residual)


@functools.lru_cache(64)
def _zeros(n, dtype):
    return np.zeros(n, dtype)


@device
def _relu(v):
    return type(v)(0) if v < 0 else v  # (5)  NaN stays


@device
def _gelu(v):
    return v * normal(v)[0]  # (6)


@device
def _gelu_tanh(v):
    return v * sigmoid(_twice_u(v))  # (7), as ½ (1 + tanh u) = σ(2u)


@device
def _relu_slope(v):
    return type(v)(v > 0)  # (9)


@device
def _gelu_slope(v):
    cdf, density = normal(v)
    return cdf + v * density  # (10)


@device
def _gelu_tanh_slope(v):
    T = type(v)
    s = sigmoid(_twice_u(v))
    return s + v * s * (T(1) - s) * T(2 * B) * (T(1) + T(3 * A) * v * v)  # (11), as 1 - tanh² u = 4 σ (1 - σ)


@device
def _twice_u(v):
    T = type(v)
    return T(2 * B) * v * (T(1) + T(A) * v * v)


def _row_of(g):
    @device
    def row(y, z, b):
        for n in range(len(y)):
            y[n] = g(z[n] + b[n])  # (3)

    return row


def _slopes_of(slope):
    @device
    def row(dz, sums, dy, z, b):
        for n in range(len(dz)):
            d = dy[n] * slope(z[n] + b[n])  # (8)
            dz[n] = d
            sums[n] += d  # (14)

    return row


_relu_row, _gelu_row, _gelu_tanh_row = _row_of(_relu), _row_of(_gelu), _row_of(_gelu_tanh)
_relu_slopes, _gelu_slopes, _gelu_tanh_slopes = map(_slopes_of, (_relu_slope, _gelu_slope, _gelu_tanh_slope))


@device
def _activate_row(y, z, b, activation):
    """y = g(z + b) for a row; y and z are two arrays, since the loops were vectorised for such."""
    if activation == RELU:
        _relu_row(y, z, b)
    elif activation == GELU:
        _gelu_row(y, z, b)
    elif activation == GELU_TANH:
        _gelu_tanh_row(y, z, b)


@device
def _differentiate_row(dz, sums, dy, z, b, activation):
    """dz = dy g'(z + b), added to the sums of a block of rows."""
    if activation == RELU:
        _relu_slopes(dz, sums, dy, z, b)
    elif activation == GELU:
        _gelu_slopes(dz, sums, dy, z, b)
    elif activation == GELU_TANH:
        _gelu_tanh_slopes(dz, sums, dy, z, b)


@kernel("y[M,N] z[M,N] | x(M,K) w(K,N) b[N] residual[M,N] activation:int64 gemm:int64 workers:int64")
def _forward(y, z, x, w, b, residual, activation, gemm, workers):
    M, N = y.shape
    for p in prange(workers):
        m0, m1, n0, n1 = blas.part(p, workers, M, N)
        blas.multiply(gemm, z[m0:m1, n0:n1], x[m0:m1], w[:, n0:n1])  # (1)
        finish(y, z, b, residual, activation, m0, m1, n0, n1)


@device
def finish(y, z, b, residual, activation, m0, m1, n0, n1):
    """What follows the product z, for some rows and columns: y = g(z + b) + residual, z += b; y is z without a g."""
    b_n = b[n0:n1]
    for m in range(m0, m1):
        y_m, z_m = y[m, n0:n1], z[m, n0:n1]
        _activate_row(y_m, z_m, b_n, activation)  # (3)
        for n in range(n1 - n0):
            z_m[n] += b_n[n]  # (2)
        if residual.size:
            residual_m = residual[m, n0:n1]
            for n in range(n1 - n0):
                y_m[n] += residual_m[n]  # (4)


@kernel("y[M,N] | z[M,N] b[N] activation:int64 workers:int64")
def _activate(y, z, b, activation, workers):
    M, N = y.shape
    tiles = _tiles(M, N)
    for p in prange(workers):
        for i in range(p * tiles // workers, (p + 1) * tiles // workers):
            _, m0, m1, n0, n1 = _tile(i, M, N)
            for m in range(m0, m1):
                _activate_row(y[m, n0:n1], z[m, n0:n1], b[n0:n1], activation)


@kernel("dz[M,N] sums[S,N] | dy[M,N] z[M,N] b[N] activation:int64 workers:int64")
def _differentiate(dz, sums, dy, z, b, activation, workers):
    M, N = dy.shape
    tiles = _tiles(M, N)
    for p in prange(workers):
        for i in range(p * tiles // workers, (p + 1) * tiles // workers):
            s, m0, m1, n0, n1 = _tile(i, M, N)
            sums_s, b_s = sums[s, n0:n1], b[n0:n1]
            sums_s[:] = 0
            for m in range(m0, m1):
                if activation == NONE:
                    dy_m = dy[m, n0:n1]
                    for n in range(n1 - n0):
                        sums_s[n] += dy_m[n]  # (14)
                else:
                    _differentiate_row(dz[m, n0:n1], sums_s, dy[m, n0:n1], z[m, n0:n1], b_s, activation)


@device
def _tiles(M, N):
    return -(-M // ROWS) * -(-N // COLUMNS)


@device
def _tile(i, M, N):
    """The i-th tile: which block of rows, its rows and its columns."""
    strips = -(-N // COLUMNS)
    s, n0 = i // strips, i % strips * COLUMNS
    return s, s * ROWS, min((s + 1) * ROWS, M), n0, min(n0 + COLUMNS, N)
