"""The AdamW step, Numba: one pass in place. README.md."""

import numpy as np
from numba import prange

from nlp_kernels.common.compiled import DTYPES, kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.common.threads import workers
from nlp_kernels.common.vector import EXACT


def supports(theta, *inputs, **hyper):
    return type(theta) is np.ndarray and theta.dtype in DTYPES


def step(theta, g, m, v, *, t, lr, beta1, beta2, eps, weight_decay, decoupled=True, out=None):
    out = out or tuple(empty(theta.shape, theta.dtype) for _ in range(3))
    for target, x in zip(out, (theta, m, v), strict=True):
        if target is not x:
            np.copyto(target, x)
    flat = (x.reshape(-1) for x in (*out, g))
    means = beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1**t), 1 / (1 - beta2**t)  # in double precision
    _step(*flat, *means, lr, eps, weight_decay, decoupled, workers(theta.size, theta.size))
    return out


@kernel(
    "theta[N] m[N] v[N] | g[N] beta1 rest1 beta2 rest2 correct1 correct2 lr eps decay decoupled:bool workers:int64",
    fastmath=EXACT,
)
def _step(theta, m, v, g, beta1, rest1, beta2, rest2, correct1, correct2, lr, eps, decay, decoupled, workers):
    N = len(g)
    for w in prange(workers):
        mine = slice(w * N // workers, (w + 1) * N // workers)
        theta_w, m_w, v_w, g_w = theta[mine], m[mine], v[mine], g[mine]
        for i in range(len(g_w)):
            g_i = g_w[i]
            if not decoupled:
                g_i += decay * theta_w[i]  # (1)
            m_i = beta1 * m_w[i] + rest1 * g_i  # (2)
            v_i = beta2 * v_w[i] + rest2 * (g_i * g_i)  # (3)
            u_i = (m_i * correct1) / (np.sqrt(v_i * correct2) + eps)  # (4) (5) (6)
            if decoupled:
                u_i += decay * theta_w[i]  # (7)
            theta_w[i] -= lr * u_i  # (8)
            m_w[i], v_w[i] = m_i, v_i
