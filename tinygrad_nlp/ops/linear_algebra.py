"""Products of matrices and vectors."""

from tinygrad_nlp.autograd import namespace, primitive, unbroadcast


@primitive
def matmul(a, b):
    """y[..., i, j] = Σ_k a[..., i, k] b[..., k, j]; vectors gain an axis for the product, leading axes broadcast."""
    return namespace(a).matmul(a, b)


@matmul.vjp("a")
def _(g, a_shape, b):  # dA = G B^T
    xp = namespace(g)
    if b.ndim == 1:
        da = xp.expand_dims(g, axis=-1) * b  # y = A b: dA = g b^T
    elif len(a_shape) == 1:
        da = xp.matmul(b, xp.expand_dims(g, axis=-1))[..., 0]  # y = a B: da = B g
    else:
        da = xp.matmul(g, xp.matrix_transpose(b))
    return unbroadcast(da, a_shape)


@matmul.vjp("b")
def _(g, a, b_shape):  # dB = A^T G
    xp = namespace(g)
    if a.ndim == 1:
        db = xp.expand_dims(a, axis=-1) * (xp.expand_dims(g, axis=-2) if len(b_shape) > 1 else g)  # dB = a g^T
    elif len(b_shape) == 1:
        db = xp.matmul(xp.expand_dims(g, axis=-2), a)[..., 0, :]  # y = A b: db = A^T g
    else:
        db = xp.matmul(xp.matrix_transpose(a), g)
    return unbroadcast(db, b_shape)


def vecdot(a, b, *, axis=-1):
    """Σ a b over one axis; leading axes broadcast"""
    from tinygrad_nlp.ops.reduction import sum

    return sum(a * b, axis=axis)


def outer(a, b):
    """y[i, j] = a[i] b[j].  (N,), (M,) -> (N, M)"""
    return a[:, None] * b[None, :]
