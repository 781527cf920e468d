"""Layer norm with an optional fused residual, Numba: a row stays in the cache from pass to pass. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, absent, device, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import inverse_root

BLOCKS, ROWS = 64, 16  # dgamma and dbeta are sums over at most so many blocks of at least so many rows


def supports(x, gamma, beta, residual=None, **hyper):
    return type(x) is np.ndarray and x.dtype in DTYPES


def forward(x, gamma, beta, residual=None, *, eps=1e-5):
    N, C = x.shape
    y, (mean, rstd) = empty((N, C), x.dtype), empty((2, N, 1), x.dtype)
    if residual is None:
        none = absent(2, x.dtype)
        _forward(y, none, mean, rstd, x, gamma, beta, none, eps, workers(N, x.size))
        return y, (mean, rstd)
    h = empty((N, C), x.dtype)
    _forward(y, h, mean, rstd, x, gamma, beta, residual, eps, workers(N, x.size))
    return (y, h), (mean, rstd)


def backward(dy, x, gamma, beta, residual=None, saved=None, *, eps=1e-5):
    mean, rstd = saved or forward(x, gamma, beta, residual, eps=eps)[1]
    N, C = x.shape
    blocks = max(1, min(BLOCKS, N // ROWS))
    dx, sums = empty((N, C), x.dtype), empty((blocks, 2, C), x.dtype)
    if residual is None:
        none = absent(2, x.dtype)
        _backward(dx, sums, dy, none, x, gamma, none, mean, rstd, workers(blocks, x.size))
    else:
        _backward(dx, sums, dy[0], dy[1], x, gamma, residual, mean, rstd, workers(blocks, x.size))
    dbeta, dgamma = sums[0].copy()
    return dx, dgamma, dbeta, None if residual is None else dx


@kernel("y[N,C] h[N,C] mean[N,1] rstd[N,1] | x[N,C] gamma[C] beta[C] residual[N,C] eps workers:int64")
def _forward(y, h, mean, rstd, x, gamma, beta, residual, eps, workers):
    N = len(x)
    for w in prange(workers):
        for n in range(w * N // workers, (w + 1) * N // workers):
            if residual.size:
                _add(h[n], x[n], residual[n])  # (1)
                mean[n, 0], rstd[n, 0] = _row(y[n], h[n], gamma, beta, eps)
            else:
                mean[n, 0], rstd[n, 0] = _row(y[n], x[n], gamma, beta, eps)


@kernel("dx[N,C] sums[B,2,C] | dy[N,C] dh[N,C] x[N,C] gamma[C] residual[N,C] mean[N,1] rstd[N,1] workers:int64")
def _backward(dx, sums, dy, dh, x, gamma, residual, mean, rstd, workers):
    """The sums over each block of rows, then their sum in order into the first: the same for any number of workers."""
    N, C = x.shape
    B = len(sums)
    for w in prange(workers):
        h = np.empty(C, x.dtype)
        for b in range(w * B // workers, (w + 1) * B // workers):
            dbeta, dgamma = sums[b, 0], sums[b, 1]
            for c in range(C):
                dbeta[c] = dgamma[c] = 0
            for n in range(b * N // B, (b + 1) * N // B):
                if residual.size:
                    _add(h, x[n], residual[n])  # (1)
                    _row_backward(dx[n], dbeta, dgamma, dy[n], h, gamma, mean[n, 0], rstd[n, 0])
                    _add_to(dx[n], dh[n])  # (11)
                else:
                    _row_backward(dx[n], dbeta, dgamma, dy[n], x[n], gamma, mean[n, 0], rstd[n, 0])
    for b in range(1, B):
        _add_to(sums[0, 0], sums[b, 0])
        _add_to(sums[0, 1], sums[b, 1])


@device
def _add(z, a, b):
    for c in range(len(z)):
        z[c] = a[c] + b[c]


@device
def _add_to(z, a):
    for c in range(len(z)):
        z[c] += a[c]


@device
def _row(y, h, gamma, beta, eps):
    C, T = len(h), h.dtype.type
    mu = T(0)
    for c in range(C):
        mu += h[c]
    mu /= T(max(C, 1))  # (2)
    var = T(0)
    for c in range(C):
        var += (h[c] - mu) * (h[c] - mu)
    r = inverse_root(var / T(max(C, 1)) + eps)  # (3) (4)
    for c in range(C):
        y[c] = (h[c] - mu) * r * gamma[c] + beta[c]  # (5) (6)
    return mu, r


@device
def _row_backward(dx, dbeta, dgamma, dy, h, gamma, mu, r):
    C, T = len(h), h.dtype.type
    total, along = T(0), T(0)
    for c in range(C):
        hhat = (h[c] - mu) * r  # (5)
        dhhat = dy[c] * gamma[c]  # (9)
        dbeta[c] += dy[c]  # (7)
        dgamma[c] += dy[c] * hhat  # (8)
        total += dhhat
        along += dhhat * hhat
    total /= T(max(C, 1))
    along /= T(max(C, 1))
    for c in range(C):
        dx[c] = r * (dy[c] * gamma[c] - total - (h[c] - mu) * r * along)  # (10)
