"""Cross-entropy from logits, Numba: one exponential a logit where it stays in the cache, else two. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, absent, device, kernel
from nlp_kernels.common.intrinsics import maximum
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import EXACT, exp, log

CACHED = 8192  # numbers: rows are taken together, pass by pass, up to so many
KEPT = 1 << 21  # numbers: so many exponentials are still in the cache when the backward pass wants them


def supports(x, target, **hyper):
    return type(x) is np.ndarray and x.dtype in DTYPES and type(target) is np.ndarray


def forward(x, target, *, ignore_index=-100, label_smoothing=0.0):
    N = len(x)
    loss, (m, log_z, over_z) = empty((N,), x.dtype), empty((3, N, 1), x.dtype)
    e = empty(x.shape, x.dtype) if x.size <= KEPT else absent(2, x.dtype)
    target, hyper = target.astype(np.int64, copy=False), (ignore_index, label_smoothing, workers(N, x.size))
    _forward(loss, m[:, 0], log_z[:, 0], over_z[:, 0], e, x, target, *hyper)
    return loss, (m, log_z, over_z, e) if x.size <= KEPT else (m, log_z)


def backward(dloss, x, target, saved=None, *, ignore_index=-100, label_smoothing=0.0):
    dx, hyper = empty(x.shape, x.dtype), (ignore_index, label_smoothing, workers(len(x), x.size))
    m, log_z, *kept = saved or forward(x, target, ignore_index=ignore_index)[1]
    target = target.astype(np.int64, copy=False)
    if kept:
        over_z, e = kept
        _kept_backward(dx, dloss, e, over_z[:, 0], target, *hyper)
    else:
        _backward(dx, dloss, x, target, m[:, 0], log_z[:, 0], *hyper)
    return (dx,)


@kernel("loss[N] m[N] log_z[N] over_z[N] e[N,C] | x[N,C] target:int64[N] ignore_index:int64 eps workers:int64")
def _forward(loss, m, log_z, over_z, e, x, target, ignore_index, eps, workers):
    N, C = x.shape
    step = max(1, CACHED // C)
    for w in prange(workers):
        end = (w + 1) * N // workers
        for start in range(w * N // workers, end, step):
            rows = slice(start, min(start + step, end))
            if e.size:
                _kept_rows(m[rows], log_z[rows], over_z[rows], e[rows], x[rows])
            else:
                _rows(m[rows], log_z[rows], x[rows])
            _losses(loss[rows], m[rows], log_z[rows], x[rows], target[rows], ignore_index, eps)


@kernel("dx[N,C] | dloss[N] e[N,C] over_z[N] target:int64[N] ignore_index:int64 eps workers:int64")
def _kept_backward(dx, dloss, e, over_z, target, ignore_index, eps, workers):
    N, T = len(e), e.dtype.type
    share = eps / T(e.shape[1])
    for w in prange(workers):
        for n in range(w * N // workers, (w + 1) * N // workers):
            i, g = target[n], dloss[n]
            if i == ignore_index:
                for c in range(e.shape[1]):
                    dx[n, c] = 0  # (10)
            else:
                _kept_row_backward(dx[n], e[n], over_z[n], share, g)
                dx[n, i] = g * (e[n, i] * over_z[n] - ((T(1) - eps) + share))  # of the target


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
def _rows(m, log_z, x):
    N = len(x)
    for n in range(N):
        m[n] = _max(x[n])  # (1)
    for n in range(N):
        log_z[n] = _sum_exp(x[n], m[n])
    for n in range(N):
        log_z[n] = log(log_z[n])  # (3)


@device
def _kept_rows(m, log_z, over_z, e, x):
    """As `_rows`; the exponentials of all rows are taken as if they were one, without a rest after each row."""
    N, C, T = len(x), x.shape[1], x.dtype.type
    for n in range(N):
        m[n] = _max(x[n])  # (1)
        _shifted(e[n], x[n], m[n])  # (2)
    _exponentials(e.reshape(N * C))
    for n in range(N):
        log_z[n] = _sum(e[n])
    for n in range(N):
        over_z[n] = T(1) / log_z[n]
        log_z[n] = log(log_z[n])  # (3)


@device
def _losses(loss, m, log_z, x, target, ignore_index, eps):
    T = x.dtype.type
    for n in range(len(x)):
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


@device
def _shifted(s, x, m):
    for c in range(len(x)):
        s[c] = x[c] - m


@device
def _exponentials(s):
    for i in range(len(s)):
        s[i] = exp(s[i])


@device
def _sum(x):
    total = x.dtype.type(0)
    for c in range(len(x)):
        total += x[c]
    return total


@device
def _kept_row_backward(dx, e, over_z, q, g):
    for c in range(len(e)):
        dx[c] = g * (e[c] * over_z - q)  # (8) (9) (11)
