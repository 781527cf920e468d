"""Matmul with fused bias, activation and residual (E12, E13, E40), readable. Derivation and tags (n): README.md."""

import math

from nlp_kernels.common.xp import array_namespace, erf

ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh")
A, B = 0.044715, math.sqrt(2 / math.pi)  # of the tanh form of GELU


def forward(x, w, b=None, residual=None, *, activation="none", transpose_w=False):
    """(M, K), (K, N) or transposed (N, K), (N,), (M, N) -> y (M, N), saved = z (M, N) where the activation needs it."""
    z = x @ (w.T if transpose_w else w)  #                            (1)  (M, N)
    if b is not None:
        z = z + b  #                                                  (2)  (M, N)
    y = activate(z, activation)  #                                    (3)  (M, N)
    if residual is not None:
        y = y + residual  #                                           (4)  (M, N)
    return y, None if activation == "none" else z


def backward(dy, x, w, b=None, residual=None, saved=None, *, activation="none", transpose_w=False):
    """Gradients (dx, dw, db, dresidual); None for a bias or residual that is None."""
    if saved is None and activation != "none":  # a cache of a function of x, w and b, never an independent input
        saved = forward(x, w, b, activation=activation, transpose_w=transpose_w)[1]
    dz = activate_backward(dy, saved, activation)  #                  (8)  (M, N)
    dx = dz @ (w if transpose_w else w.T)  #                        (12)  (M, K)
    dw = dz.T @ x if transpose_w else x.T @ dz  #                    (13)  (K, N) or (N, K)
    db = None if b is None else array_namespace(x).sum(dz, axis=0)  # (14)  (N,)
    return dx, dw, db, None if residual is None else dy  #           (15)  (M, N)


def activate(z, activation):
    """g(z), elementwise."""
    xp = array_namespace(z)
    if activation == "relu":
        return xp.maximum(z, 0.0)  #                                  (5)
    if activation == "gelu":
        return z * normal_cdf(z)  #                                   (6)
    if activation == "gelu_tanh":
        return 0.5 * z * (1 + xp.tanh(B * z * (1 + A * z * z)))  #    (7)
    return z


def activate_backward(dy, z, activation):
    """dy g'(z), elementwise."""
    xp = array_namespace(dy)
    if activation == "relu":
        return dy * xp.astype(z > 0, dy.dtype)  #                     (9)
    if activation == "gelu":
        density = xp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        return dy * (normal_cdf(z) + z * density)  #                 (10)
    if activation == "gelu_tanh":
        z2 = z * z
        th = xp.tanh(B * z * (1 + A * z2))
        du = B * (1 + 3 * A * z2)
        return dy * (0.5 * (1 + th + z * (1 - th * th) * du))  #     (11)
    return dy


def normal_cdf(z):
    """The standard normal distribution function ½ (1 + erf(z/√2))."""
    return 0.5 + 0.5 * erf(z * math.sqrt(0.5))
