"""The AdamW step (E55), readable. Derivation and tags (n): README.md."""

from nlp_kernels.common.xp import array_namespace


def step(theta, g, m, v, *, t, lr, beta1, beta2, eps, weight_decay, decoupled=True):
    """New (theta, m, v) after step t = 1, 2, …; all arrays have one shape. `decoupled=False` is Adam with L2."""
    if not decoupled:
        g = g + weight_decay * theta  #                        (1)
    m = beta1 * m + (1 - beta1) * g  #                         (2)
    v = beta2 * v + (1 - beta2) * (g * g)  #                   (3)
    mhat = m / (1 - beta1**t)  #                               (4)
    vhat = v / (1 - beta2**t)  #                               (5)
    xp = array_namespace(theta)
    update = mhat / (xp.sqrt(vhat) + eps)  #                   (6)
    if decoupled:
        update = update + weight_decay * theta  #              (7)
    return theta - lr * update, m, v  #                        (8)
