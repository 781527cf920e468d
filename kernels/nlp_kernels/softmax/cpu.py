"""Softmax and log-softmax, Numba: a row is read, and written, while it is in the first-level cache. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, absent, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import exp, maximum


def supports(x, keep=None, **hyper):
    return type(x) is np.ndarray and x.dtype in DTYPES


def forward(x, keep=None, *, temperature=1.0, log=False):
    y = empty(x.shape, x.dtype)
    _forward(y, x, _mask(keep), 1 / temperature, log, workers(len(x), x.size))
    return y, y


def backward(dy, x, keep=None, saved=None, *, temperature=1.0, log=False):
    y = forward(x, keep, temperature=temperature, log=log)[0] if saved is None else saved
    dx = empty(x.shape, x.dtype)
    _backward(dx, dy, y, _mask(keep), 1 / temperature, log, workers(len(x), x.size))
    return (dx,)


def _mask(keep):
    return absent(2, np.bool_) if keep is None else keep


@kernel("y[N,C] | x[N,C] keep:bool[n,c] scale log:bool workers:int64")
def _forward(y, x, keep, scale, log, workers):
    N, C = x.shape
    T = x.dtype.type
    for w in prange(workers):
        for n in range(w * N // workers, (w + 1) * N // workers):
            x_n, y_n = x[n], y[n]
            if keep.size:
                keep_n = keep[n if keep.shape[0] > 1 else 0]
                for c in range(C):
                    y_n[c] = x_n[c] if keep_n[c if keep.shape[1] > 1 else 0] else -T(np.inf)  # (1)
                x_n = y_n
            m = -T(np.inf)
            for c in range(C):
                m = maximum(m, x_n[c])
            m = m if np.isfinite(m) else T(0)
            z = T(0)
            if log:
                for c in range(C):
                    s = (x_n[c] - m) * scale  # (2)
                    y_n[c] = s
                    z += exp(s)  # (3) (4)
                log_z = np.log(z) if z > 0 else T(0)
                for c in range(C):
                    y_n[c] -= log_z  # (6)
            else:
                for c in range(C):
                    e = exp((x_n[c] - m) * scale)  # (2) (3)
                    y_n[c] = e
                    z += e  # (4)
                r = T(1) / (z if z != 0 else T(1))  # a row that keeps nothing: 0/1, not 0/0
                for c in range(C):
                    y_n[c] *= r  # (5)


@kernel("dx[N,C] | dy[N,C] y[N,C] keep:bool[n,c] scale log:bool workers:int64")
def _backward(dx, dy, y, keep, scale, log, workers):
    N, C = y.shape
    T = y.dtype.type
    for w in prange(workers):
        for n in range(w * N // workers, (w + 1) * N // workers):
            dx_n, dy_n, y_n = dx[n], dy[n], y[n]
            total = T(0)
            if log:
                if keep.size:
                    keep_n = keep[n if keep.shape[0] > 1 else 0]
                    for c in range(C):
                        dx_n[c] = dy_n[c] if keep_n[c if keep.shape[1] > 1 else 0] else T(0)  # (9)
                    dy_n = dx_n
                for c in range(C):
                    total += dy_n[c]
                for c in range(C):
                    dx_n[c] = (dy_n[c] - exp(y_n[c]) * total) * scale  # (8) (10)
            else:
                for c in range(C):
                    total += dy_n[c] * y_n[c]
                for c in range(C):
                    dx_n[c] = y_n[c] * (dy_n[c] - total) * scale  # (7)
