"""Matrix product with fused bias, activation and residual. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common import check
from nlp_kernels.dispatch import select
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import reference
from nlp_kernels.matmul.reference import ACTIVATIONS

__all__ = ["ACTIVATIONS", "backward", "forward", "reference"]


def forward(
    x: Any, w: Any, b: Any = None, residual: Any = None, *, activation: str = "none", transpose_w: bool = False
) -> tuple[Any, Any]:
    """y = g(x w + b) + residual, g one of "none", "relu", "gelu", "gelu_tanh" (E12, E13, E40).  -> (y (M, N), saved)

    x: (M, K); w: (K, N), or (N, K) with `transpose_w` (y = g(x wᵀ + b) + residual); b: (N,) or None; residual: (M, N)
    or None. Any strides: a transposed view is not copied.
    Raises ShapeError, DtypeError, ValueError for an unknown activation.
    """
    _check("matmul.forward", x, w, b, residual, activation, transpose_w)
    hyper = {"activation": activation, "transpose_w": transpose_w}
    return select("matmul", x, w, b, residual, **hyper).forward(x, w, b, residual, **hyper)


def backward(
    dy: Any,
    x: Any,
    w: Any,
    b: Any,
    residual: Any,
    saved: Any,
    *,
    activation: str = "none",
    transpose_w: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """dz = dy g'(z), dx = dz wᵀ, dw = xᵀ dz, db = Σ_m dz, dresidual = dy.  -> (dx, dw, db, dresidual)

    dy: (M, N); inputs as in `forward`, None for an input that was None; saved: what `forward` returned, or None.
    dresidual is dy itself, not a copy.
    """
    _check("matmul.backward", x, w, b, residual, activation, transpose_w)
    check.floating("matmul.backward", x=x, dy=dy)
    check.shape("matmul.backward", "dy", dy, (x.shape[0], w.shape[0 if transpose_w else 1]))
    hyper = {"activation": activation, "transpose_w": transpose_w}
    return select("matmul", x, w, b, residual, **hyper).backward(dy, x, w, b, residual, saved, **hyper)


def _check(function, x, w, b, residual, activation, transpose_w):
    if activation not in ACTIVATIONS:
        raise ValueError(f"{function}: unknown activation {activation!r}; there are {', '.join(ACTIVATIONS)}")
    check.floating(function, x=x, w=w, b=b, residual=residual)
    check.shape(function, "x", x, ("M", "K"))
    check.shape(function, "w", w, ("N", "K") if transpose_w else ("K", "N"))
    (M, K), (K_w, N) = x.shape, reversed(w.shape) if transpose_w else w.shape
    if K_w != K:
        by = "transposed w" if transpose_w else "w"
        raise ShapeError(f"{function}: x {tuple(x.shape)} and {by} {tuple(w.shape)} differ in K: {K} and {K_w}")
    if b is not None:
        check.shape(function, "b", b, (N,))
    if residual is not None:
        check.shape(function, "residual", residual, (M, N))
