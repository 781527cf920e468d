"""Cross-entropy from logits, Numba: each pass reads the logits once, no probability is stored. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, device, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import EXACT, exp, log, maximum

CACHED = 8192  # numbers: rows are taken together, pass by pass, up to so many


def supports(x, target, **hyper):
    return type(x) is np.ndarray and x.dtype in DTYPES and type(target) is np.ndarray


def forward(x, target, *, ignore_index=-100, label_smoothing=0.0):
    N = len(x)
    loss, (m, log_z) = empty((N,), x.dtype), empty((2, N, 1), x.dtype)
    target = target.astype(np.int64, copy=False)
    _forward(loss, m[:, 0], log_z[:, 0], x, target, ignore_index, label_smoothing, workers(N, x.size))
    return loss, (m, log_z)


def backward(dloss, x, target, saved=None, *, ignore_index=-100, label_smoothing=0.0):
    m, log_z = (s.reshape(-1) for s in saved or forward(x, target, ignore_index=ignore_index)[1])
    dx = empty(x.shape, x.dtype)
    target = target.astype(np.int64, copy=False)
    _backward(dx, dloss, x, target, m, log_z, ignore_index, label_smoothing, workers(len(x), x.size))
    return (dx,)


@kernel("loss[N] m[N] log_z[N] | x[N,C] target:int64[N] ignore_index:int64 eps workers:int64")
def _forward(loss, m, log_z, x, target, ignore_index, eps, workers):
    N, C = x.shape
    step = max(1, CACHED // C)
    for w in prange(workers):
        end = (w + 1) * N // workers
        for start in range(w * N // workers, end, step):
            rows = slice(start, min(start + step, end))
            _rows(loss[rows], m[rows], log_z[rows], x[rows], target[rows], ignore_index, eps)


@kernel("dx[N,C] | dloss[N] x[N,C] target:int64[N] m[N] log_z[N] ignore_index:int64 eps workers:int64")
def _backward(dx, dloss, x, target, m, log_z, ignore_index, eps, workers):
    N, C = x.shape
    T = x.dtype.type
    for w in prange(workers):
        for n in range(w * N // workers, (w + 1) * N // workers):
            if target[n] == ignore_index:
                for c in range(C):
                    dx[n, c] = 0  # (10)
            else:
                i, share = slice(target[n], target[n] + 1), eps / T(C)
                _row_backward(dx[n], x[n], m[n], log_z[n], share, dloss[n])
                _row_backward(dx[n, i], x[n, i], m[n], log_z[n], (T(1) - eps) + share, dloss[n])  # of the target


@device
def _rows(loss, m, log_z, x, target, ignore_index, eps):
    N, T = len(x), x.dtype.type
    for n in range(N):
        m[n] = _max(x[n])  # (1)
    for n in range(N):
        log_z[n] = _sum_exp(x[n], m[n])
    for n in range(N):
        log_z[n] = log(log_z[n])  # (3)
    for n in range(N):
        if target[n] == ignore_index:
            loss[n] = 0  # (7)
        else:
            fit = (T(1) - eps) * (x[n, target[n]] - m[n])  # (4)
            if eps != 0:
                fit += eps * _mean(x[n], m[n])  # (5)
            loss[n] = log_z[n] - fit  # (6)


@device
def _max(x):
    T = x.dtype.type
    m = -T(np.inf)
    for c in range(len(x)):
        m = maximum(m, x[c])
    return m if np.isfinite(m) else T(0)


@device
def _sum_exp(x, m):
    z = x.dtype.type(0)
    for c in range(len(x)):
        z += exp(x[c] - m)  # (2)
    return z


@device
def _mean(x, m):
    T = x.dtype.type
    total = T(0)
    for c in range(len(x)):
        total += x[c] - m
    return total / T(len(x))


@device(fastmath=EXACT)  # reordered, x - m - log z loses the last digits of a large m
def _row_backward(dx, x, m, log_z, q, g):
    for c in range(len(x)):
        p = exp((x[c] - m) - log_z)  # (8)
        dx[c] = g * (p - q)  # (9) (11)
