"""The AdamW step, Numba: one pass in place. README.md."""

import math

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, absent, device, kernel
from nlp_kernels.common.many import array_at, table
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import EXACT


def supports(theta, *inputs, **hyper):
    return type(theta) is np.ndarray and theta.dtype in DTYPES


def step(theta, g, m, v, grad_scale=None, *, t, lr, beta1, beta2, eps, weight_decay, decoupled=True, out=None):
    out = out or tuple(empty(theta.shape, theta.dtype) for _ in range(3))
    for target, x in zip(out, (theta, m, v), strict=True):
        if target is not x:
            np.copyto(target, x)
    flat = (x.reshape(-1) for x in (*out, g))
    means = beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1**t), 1 / (1 - beta2**t)  # in double precision
    scale = 1.0 if grad_scale is None else float(grad_scale)
    _step(*flat, *means, lr, eps, weight_decay, decoupled, scale, workers(theta.size, theta.size))
    return out


def step_all(parameters, grad_scale=None, *, t, lr, beta1, beta2, eps, weight_decay, decoupled=True):
    """`step` in place for a list of (theta, g, m, v), in one call."""
    addresses, first = table(parameters)
    means = beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    scale = 1.0 if grad_scale is None else float(grad_scale)
    N = int(first[-1])
    like = absent(1, parameters[0][0].dtype)
    _step_all(like, addresses, first, *means, lr, eps, weight_decay, decoupled, scale, workers(N, N))


def clip_scale(gradients, max_norm):
    """‖g‖ over all gradients and the factor that clips them (E22), by BLAS."""
    with np.errstate(over="ignore"):
        norm = math.sqrt(math.fsum(map(_sum_of_squares, gradients)))
    scale = max_norm / norm if max_norm < norm < math.inf else 1.0
    return np.asarray(norm), np.asarray(scale, np.result_type(*gradients))


def _sum_of_squares(g):
    row = g.reshape(-1)
    total = float(row @ row)
    if not 0 < total < math.inf:  # squares leave float32 beyond 1e19 and below 1e-23
        row = row.astype(np.float64)
        total = float(row @ row)
    return total


@kernel(
    "theta[N] m[N] v[N] | g[N] "
    "beta1 rest1 beta2 rest2 correct1 correct2 lr eps decay decoupled:bool scale workers:int64",
    fastmath=EXACT,
)
def _step(theta, m, v, g, beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, scale, workers):
    N = len(g)
    for w in prange(workers):
        i = slice(w * N // workers, (w + 1) * N // workers)
        _update(
            theta[i], m[i], v[i], g[i], beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, scale
        )


@kernel(
    "like[N] | addresses:int64[K,4] first:int64[K1] "
    "beta1 rest1 beta2 rest2 correct1 correct2 lr eps decay decoupled:bool scale workers:int64",
    fastmath=EXACT,
)
def _step_all(
    like, addresses, first, beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, scale, workers
):
    N = first[-1]
    for w in prange(workers):
        lo, hi = w * N // workers, (w + 1) * N // workers
        for k in range(len(addresses)):  # this worker's part of each parameter
            i = slice(max(lo, first[k]) - first[k], min(hi, first[k + 1]) - first[k])
            if i.start < i.stop:
                n = first[k + 1] - first[k]
                theta, g = array_at(addresses[k, 0], n, like)[i], array_at(addresses[k, 1], n, like)[i]
                m, v = array_at(addresses[k, 2], n, like)[i], array_at(addresses[k, 3], n, like)[i]
                _update(
                    theta, m, v, g, beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, scale
                )


@device(fastmath=EXACT)
def _update(theta, m, v, g, beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, scale):
    for i in range(len(g)):
        g_i = scale * g[i]  # (1)
        if not decoupled:
            g_i += decay * theta[i]  # (2)
        m_i = beta1 * m[i] + rest1 * g_i  # (3)
        v_i = beta2 * v[i] + rest2 * (g_i * g_i)  # (4)
        u_i = (m_i * correct1) / (np.sqrt(v_i * correct2) + eps)  # (5) (6) (7)
        if decoupled:
            u_i += decay * theta[i]  # (8)
        theta[i] -= lr * u_i  # (9)
        m[i], v[i] = m_i, v_i
