"""Layer norm with an optional fused residual (E41, E42), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.xp import array_namespace


def forward(x, gamma, beta, residual=None, *, eps=1e-5):
    """(N, C), (C,), (C,) -> y, saved; with residual (N, C) -> (y, h), saved; saved = (mean, rstd), both (N, 1)."""
    h = x if residual is None else x + residual  #                      (1)  (N, C)
    mean, rstd = statistics(h, eps)
    hhat = (h - mean) * rstd  #                                         (5)  (N, C)
    y = gamma * hhat + beta  #                                          (6)  (N, C)
    return (y if residual is None else (y, h)), (mean, rstd)


def backward(dy, x, gamma, beta, residual=None, saved=None, *, eps=1e-5):
    """Gradients (dx, dgamma, dbeta, dresidual or None); dy is the pair (dy, dh) where there is a residual."""
    xp = array_namespace(x)
    h = x if residual is None else x + residual  #                      (1)
    dy, dh = (dy, None) if residual is None else dy
    mean, rstd = saved or statistics(h, eps)  # a cache of functions of h, never an independent input
    hhat = (h - mean) * rstd  #                                         (5)
    dbeta = xp.sum(dy, axis=0)  #                                       (7)  (C,)
    dgamma = xp.sum(dy * hhat, axis=0)  #                               (8)  (C,)
    dhhat = dy * gamma  #                                               (9)  (N, C)
    dx = rstd * (dhhat - row_mean(dhhat) - hhat * row_mean(dhhat * hhat))  # (10) (N, C)
    if residual is None:
        return dx, dgamma, dbeta, None
    dx = dx + dh  #                                                     (11) (N, C)
    return dx, dgamma, dbeta, dx


def statistics(h, eps):
    """(N, C) -> mean (N, 1), rstd (N, 1), in two passes."""
    mean = row_mean(h)  #                                               (2)
    hc = h - mean
    var = row_mean(hc * hc)  #                                          (3)
    return mean, (var + eps) ** -0.5  #                                 (4)


def row_mean(x):
    """(N, C) -> (N, 1); a row without features has mean 0."""
    return array_namespace(x).sum(x, axis=-1, keepdims=True) / max(x.shape[-1], 1)
