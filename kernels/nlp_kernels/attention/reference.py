"""Masked scaled dot-product attention (E34, E35, E36), readable. Derivation and tags (n): README.md."""

import functools
import math

from nlp_kernels.common.xp import arange, array_namespace, dropout_mask, row_max


def forward(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    """(B, H, T, D), (B, KH, S, D), (B, KH, S, Dv) -> o (B, H, T, Dv), saved = (o, lse (B, H, T, 1))."""
    xp = array_namespace(q)
    s = scores(q, k, keep, key_lengths, causal, scale)  #             (B, H, T, S)
    m = row_max(s)  #                                            (4)  (B, H, T, 1), 0 for a row without keys
    e = xp.exp(s - m)  #                                         (5)  (B, H, T, S), 0 where masked
    z = xp.sum(e, axis=-1, keepdims=True)  #                     (6)  (B, H, T, 1)
    z = xp.where(z > 0, z, 1.0)  # a row without keys is 0/1, not 0/0
    p = e / z  #                                                 (7)  (B, H, T, S)
    lse = m + xp.log(z)  #                                       (8)  (B, H, T, 1)
    o = apart(xp.matmul(together(dropper(s, dropout)(p), v), v), q)  # (10) (B, H, T, Dv)
    return o, (o, lse)


def backward(do, q, k, v, keep=None, key_lengths=None, saved=None, *, causal=False, scale=None, dropout=None):
    """Gradients (dq, dk, dv); P is recomputed from the saved log-sum-exp."""
    xp = array_namespace(q)
    if saved is None:  # a cache of functions of q, k, v, never an independent input
        saved = forward(q, k, v, keep, key_lengths, causal=causal, scale=scale, dropout=dropout)[1]
    o, lse = saved
    s = scores(q, k, keep, key_lengths, causal, scale)  #             (B, H, T, S)
    drop = dropper(s, dropout)
    p = xp.exp(s - lse)  #                                       (11) (B, H, T, S)
    dv = xp.matmul(transposed(together(drop(p), v)), together(do, v))  # (12) (B, KH, S, Dv)
    dp = drop(apart(xp.matmul(together(do, v), transposed(v)), q))  # (13) (B, H, T, S)
    delta = xp.sum(do * o, axis=-1, keepdims=True)  #            (14) (B, H, T, 1)
    ds = p * (dp - delta)  #                                     (15) (B, H, T, S)
    c = scale_or_default(scale, q)
    ds = together(ds, k)  #                                           (B, KH, G T, S)
    dq = c * apart(xp.matmul(ds, k), q)  #                       (16) (B, H, T, D)
    dk = c * xp.matmul(transposed(ds), together(q, k))  #        (17) (B, KH, S, D)
    return dq, dk, dv


def scores(q, k, keep, key_lengths, causal, scale):
    """Scaled dot products, -inf where a query must not look: (B, H, T, S)."""
    xp = array_namespace(q)
    s = xp.matmul(together(scale_or_default(scale, q) * q, k), transposed(k))  # (1)
    s, allowed = apart(s, q), may_attend(q, k, keep, key_lengths, causal)
    return s if allowed is None else xp.where(allowed, s, -math.inf)  # (3)


def together(x, k):
    """The rows of the G = H / KH heads that share one of k, one below another: (B, H, T, n) -> (B, KH, G T, n)."""
    B, H, T, n = x.shape
    return array_namespace(x).reshape(x, (B, k.shape[1], H // max(k.shape[1], 1) * T, n))


def apart(x, q):
    """The heads of q again: (B, KH, G T, n) -> (B, H, T, n)."""
    return array_namespace(x).reshape(x, (*q.shape[:3], x.shape[3]))


def may_attend(q, k, keep, key_lengths, causal):
    """Which keys each query sees: bool, broadcastable to (B, H, T, S); None for all of them."""
    xp, T, S = array_namespace(q), q.shape[-2], k.shape[-2]
    conditions = [] if keep is None else [keep]  #               (2)
    if key_lengths is not None:  # j < length
        conditions.append(arange(S, q) < xp.reshape(key_lengths, (-1, 1, 1, 1)))
    if causal:  # j <= i + (S - T): the last query sees the last key
        conditions.append(arange(S, q) <= xp.reshape(arange(T, q), (-1, 1)) + (S - T))
    return functools.reduce(xp.logical_and, conditions) if conditions else None


def dropper(s, dropout):
    """The function x -> x M / (1 - p), M the mask that Philox draws for the scores; the identity without dropout."""
    if dropout is None:
        return lambda x: x
    xp, (p, seed, offset) = array_namespace(s), dropout
    keep = dropout_mask(s, p, seed, offset, s.shape)  # entry ((b H + h) T + t) S + s
    return lambda x: xp.where(keep, x * (1 / (1 - p)), 0.0)  #   (9)


def scale_or_default(scale, q):
    return 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale


def transposed(x):
    return array_namespace(x).matrix_transpose(x)
