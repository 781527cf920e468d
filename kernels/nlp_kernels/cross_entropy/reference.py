"""Cross-entropy from logits (E06, E45), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.xp import arange, array_namespace, pick, row_max


def forward(x, target, *, ignore_index=-100, label_smoothing=0.0):
    """(N, C), (N,) integers -> loss (N,), saved = (m, log_z), both (N, 1)."""
    xp, eps = array_namespace(x), label_smoothing
    counts = target != ignore_index  #                                     (N,)
    s, m, log_z = shifted(x)
    s_y = pick(s, xp.where(counts, target, 0))  #                     (4)  (N,)
    fit = (1 - eps) * s_y
    if eps:
        fit = fit + eps * xp.mean(s, axis=-1)  #                      (5)  (N,)
    loss = xp.squeeze(log_z, axis=-1) - fit  #                        (6)  (N,)
    return xp.where(counts, loss, 0.0), (m, log_z)  #                 (7)  (N,)


def backward(dloss, x, target, saved=None, *, ignore_index=-100, label_smoothing=0.0):
    """Gradient (dx,), (N, C); 0 in ignored rows."""
    xp, eps, C = array_namespace(x), label_smoothing, x.shape[-1]
    _, m, log_z = shifted(x) if saved is None else (None, *saved[:2])  # a cache of functions of x, never an input
    p = xp.exp((x - m) - log_z)  #                                    (8)  (N, C)
    hit = xp.expand_dims(target, axis=-1) == arange(C, x)
    q = (1 - eps) * xp.astype(hit, x.dtype) + eps / C  #              (9)  (N, C)
    g = xp.where(target != ignore_index, dloss, 0.0)  #              (10)  (N,)
    return (xp.expand_dims(g, axis=-1) * (p - q),)  #                (11)  (N, C)


def shifted(x):
    """s = x - m (N, C), m (N, 1), log Σ exp s (N, 1)."""
    xp = array_namespace(x)
    m = row_max(x)  #                                                 (1)  (N, 1)
    s = x - m  #                                                      (2)  (N, C)
    return s, m, xp.log(xp.sum(xp.exp(s), axis=-1, keepdims=True))  # (3)  (N, 1)
