"""Matrix product with fused bias, activation and residual. Derivation: README.md. Readable: reference.py."""

from typing import Any

import numpy as np

from nlp_kernels.common import check
from nlp_kernels.common.xp import array_namespace
from nlp_kernels.dispatch import backends, select
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import reference
from nlp_kernels.matmul.reference import ACTIVATIONS

__all__ = ["ACTIVATIONS", "activate", "activate_backward", "backward", "forward", "product", "reference"]

LARGE = 1 << 21  # multiply-adds that more than one thread pays for


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


def activate(z: Any, b: Any = None, *, activation: str) -> Any:
    """y = g(z + b) alone, without a product, elementwise  (E13).  (..., N), (N,) or None -> (..., N)"""
    backend = select("matmul", z, activation=activation)
    if backend is reference:
        return reference.activate(z if b is None else z + b, activation)
    return backend.activate(_matrix(z), b, activation=activation).reshape(z.shape)


def activate_backward(dy: Any, z: Any, b: Any = None, *, activation: str) -> tuple[Any, Any]:
    """dz = dy g'(z + b), db = Σ dz over all axes but the last, or None.  (..., N), (..., N), (N,) -> (dz, db)"""
    backend = select("matmul", dy, activation=activation)
    if backend is not reference:
        dz, db = backend.activate_backward(_matrix(dy), _matrix(z), b, activation=activation)
        return dz.reshape(z.shape), None if b is None else db
    dz = reference.activate_backward(dy, z if b is None else z + b, activation)
    return dz, None if b is None else array_namespace(dz).sum(dz, axis=tuple(range(dz.ndim - 1)))


def product(a: Any, b: Any) -> Any:
    """C = A B as the array API's matmul; large products of NumPy matrices run on all threads.

    (..., M, K), (..., K, N) -> (..., M, N); what raises there raises here.
    """
    if type(a) is type(b) is np.ndarray and a.ndim > 1 < b.ndim and a.dtype == b.dtype and a.shape[-1] == b.shape[-2]:
        if a.dtype in (np.float32, np.float64) and a.size * b.shape[-1] >= LARGE and "cpu" in backends("matmul"):
            from nlp_kernels.common import blas

            return blas.product(a, b)
    return array_namespace(a, b).matmul(a, b)


def _matrix(z):
    return z if z.ndim == 2 else z.reshape(-1, z.shape[-1]) if z.size and z.ndim else z.reshape(1, -1)


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
