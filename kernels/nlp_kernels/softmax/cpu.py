"""Softmax and log-softmax, Numba: a row is read, and written, while it is in the first-level cache. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, absent, device, kernel
from nlp_kernels.common.intrinsics import maximum
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import exp, log

_ALL = absent(2, np.bool_)
CACHED = 2048  # numbers: rows are taken together, pass by pass, up to so many


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
    return _ALL if keep is None else keep


@kernel("y[N,C] | x[N,C] keep:bool[n,c] scale log:bool workers:int64")
def _forward(y, x, keep, scale, log, workers):
    N, C = x.shape
    step = max(1, CACHED // max(C, 1))
    for w in prange(workers):
        end = (w + 1) * N // workers
        masked, z = np.empty((step if keep.size else 0, C), x.dtype), np.empty(step, x.dtype)
        for start in range(w * N // workers, end, step):
            stop = min(start + step, end)
            if keep.size:
                for n in range(start, stop):
                    _where(masked[n - start], keep[n if len(keep) > 1 else 0], x[n], -x.dtype.type(np.inf))  # (1)
                _rows(y[start:stop], masked, z, scale, log)
            else:
                _rows(y[start:stop], x[start:stop], z, scale, log)


@kernel("dx[N,C] | dy[N,C] y[N,C] keep:bool[n,c] scale log:bool workers:int64")
def _backward(dx, dy, y, keep, scale, log, workers):
    N, C = y.shape
    for w in prange(workers):
        masked = np.empty(C, y.dtype)
        for n in range(w * N // workers, (w + 1) * N // workers):
            if not log:
                _row_backward(dx[n], dy[n], y[n], scale)
            elif keep.size:
                _where(masked, keep[n if len(keep) > 1 else 0], dy[n], y.dtype.type(0))  # (9)
                _log_row_backward(dx[n], masked, y[n], scale)
            else:
                _log_row_backward(dx[n], dy[n], y[n], scale)


@device
def _where(y, keep, x, otherwise):
    each = len(keep) == len(x)  # else one for the whole row
    for c in range(len(x)):
        x_c = x[c]  # read before it is known to be needed: a selection, no branch
        y[c] = x_c if keep[c if each else 0] else otherwise


@device
def _rows(y, x, z, scale, logarithm):
    """Pass by pass: no pass waits for the last sum of the one before."""
    N, T = len(y), x.dtype.type
    for n in range(N):
        z[n] = _max(x[n])
    if logarithm:
        for n in range(N):
            z[n] = _log_terms(y[n], x[n], z[n], scale)  # (4)
        for n in range(N):
            _subtract(y[n], log(z[n]) if z[n] != 0 else T(0))  # (6)
    else:
        for n in range(N):
            z[n] = _terms(y[n], x[n], z[n], scale)  # (4)
        for n in range(N):
            _multiply(y[n], T(1) / (z[n] if z[n] != 0 else T(1)))  # (5), and 0/1 where a row keeps nothing


@device
def _max(x):
    m = -x.dtype.type(np.inf)
    for c in range(len(x)):
        m = maximum(m, x[c])
    return m if np.isfinite(m) else x.dtype.type(0)


@device
def _terms(y, x, m, scale):
    z = x.dtype.type(0)
    for c in range(len(x)):
        y[c] = exp((x[c] - m) * scale)  # (2) (3)
        z += y[c]
    return z


@device
def _log_terms(y, x, m, scale):
    z = x.dtype.type(0)
    for c in range(len(x)):
        y[c] = (x[c] - m) * scale  # (2)
        z += exp(y[c])  # (3)
    return z


@device
def _multiply(y, a):
    for c in range(len(y)):
        y[c] *= a


@device
def _subtract(y, a):
    for c in range(len(y)):
        y[c] -= a


@device
def _row_backward(dx, dy, y, scale):
    along = y.dtype.type(0)
    for c in range(len(y)):
        along += dy[c] * y[c]
    for c in range(len(y)):
        dx[c] = y[c] * (dy[c] - along) * scale  # (7)


@device
def _log_row_backward(dx, dy, y, scale):
    total = y.dtype.type(0)
    for c in range(len(y)):
        total += dy[c]
    for c in range(len(y)):
        dx[c] = (dy[c] - exp(y[c]) * total) * scale  # (8) (10)
