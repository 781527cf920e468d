"""The AdamW step (E55) and the factor that clips its gradients (E22), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.xp import array_namespace


def step(theta, g, m, v, grad_scale=None, *, t, lr, beta1, beta2, eps, weight_decay, decoupled=True):
    """New (theta, m, v) after step t = 1, 2, …; all arrays have one shape. `decoupled=False` is Adam with L2."""
    if grad_scale is not None:
        g = grad_scale * g  #                                  (1)
    if not decoupled:
        g = g + weight_decay * theta  #                        (2)
    m = beta1 * m + (1 - beta1) * g  #                         (3)
    v = beta2 * v + (1 - beta2) * (g * g)  #                   (4)
    mhat = m / (1 - beta1**t)  #                               (5)
    vhat = v / (1 - beta2**t)  #                               (6)
    xp = array_namespace(theta)
    update = mhat / (xp.sqrt(vhat) + eps)  #                   (7)
    if decoupled:
        update = update + weight_decay * theta  #              (8)
    return theta - lr * update, m, v  #                        (9)


def clip_scale(gradients, max_norm):
    """‖g‖ over all gradients and min(1, max_norm / ‖g‖), 1 where ‖g‖ is not finite: 0-dimensional arrays."""
    xp = array_namespace(*gradients)
    norm = xp.sqrt(sum(xp.sum(xp.astype(g, xp.float64) ** 2) for g in gradients))
    clipped = (norm > max_norm) & xp.isfinite(norm)
    scale = xp.where(clipped, max_norm / xp.where(clipped, norm, 1.0), 1.0)
    return norm, xp.astype(scale, xp.result_type(*gradients))
