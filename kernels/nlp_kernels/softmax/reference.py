"""Softmax and log-softmax over the last axis (E05, E31, E36), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.xp import array_namespace, row_max


def forward(x, keep=None, *, temperature=1.0, log=False):
    """(N, C), mask broadcastable to it -> y (N, C), saved = y."""
    xp = array_namespace(x)
    s = x if keep is None else xp.where(keep, x, -xp.inf)  #           (1)  (N, C)
    s = (s - row_max(s)) / temperature  #                              (2)  (N, C)
    e = xp.exp(s)  #                                                   (3)  (N, C)
    z = xp.sum(e, axis=-1, keepdims=True)  #                           (4)  (N, 1)
    z = xp.where(z == 0, 1.0, z)  # a row that keeps nothing: 0/1, not 0/0
    if not log:
        p = e / z  #                                                   (5)  (N, C)
        return p, p
    y = s - xp.log(z)  #                                               (6)  (N, C)
    y = y if keep is None else xp.where(keep, y, -xp.inf)  # a masked place is constant, no gradient passes
    return y, y


def backward(dy, x, keep=None, saved=None, *, temperature=1.0, log=False):
    """Gradient (dx,), (N, C); 0 where masked."""
    xp = array_namespace(x)
    y = forward(x, keep, temperature=temperature, log=log)[0] if saved is None else saved
    if not log:
        p = y
        return (p * (dy - xp.sum(dy * p, axis=-1, keepdims=True)) / temperature,)  # (7)  (N, C)
    p = xp.exp(y)  #                                                   (8)  (N, C)
    dy = dy if keep is None else xp.where(keep, dy, 0.0)  #            (9)  (N, C)
    return ((dy - p * xp.sum(dy, axis=-1, keepdims=True)) / temperature,)  #      (10)  (N, C)
