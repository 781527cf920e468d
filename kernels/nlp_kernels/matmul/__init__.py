"""Matrix product with fused bias, activation and residual. Derivation: README.md. Readable: reference.py."""

import math
from typing import Any

import numpy as np

from nlp_kernels.common import check
from nlp_kernels.common.bfloat16 import BFLOAT16, rounded, widened
from nlp_kernels.common.xp import array_namespace, library
from nlp_kernels.dispatch import backends, forced, select
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
    _check_activation("matmul.activate", activation)
    rows, kernels = _matrix(z), _kernels("matmul.activate", z, b)
    if kernels is None:
        y = reference.activate(rows if b is None else rows + b, activation)
    else:
        y = kernels.activate(rows, b, activation=activation)
    return y.reshape(z.shape) if rows is not z else y


def activate_backward(dy: Any, z: Any, b: Any = None, *, activation: str) -> tuple[Any, Any]:
    """dz = dy g'(z + b), db = Σ dz over all axes but the last, or None.  (..., N), (..., N), (N,) -> (dz, db)"""
    _check_activation("matmul.activate_backward", activation)
    check.shape("matmul.activate_backward", "dy", dy, z.shape)
    dy_rows, rows, kernels = _matrix(dy), _matrix(z), _kernels("matmul.activate_backward", z, b, dy)
    if kernels is None:
        dz = reference.activate_backward(dy_rows, rows if b is None else rows + b, activation)
        db = None if b is None else array_namespace(dz).sum(dz, axis=tuple(range(dz.ndim - 1)))
    else:
        dz, db = kernels.activate_backward(dy_rows, rows, b, activation=activation)
    return dz.reshape(dy.shape) if dy_rows is not dy else dz, None if b is None else db


def product(a: Any, b: Any) -> Any:
    """C = A B as the array API's matmul; large products of NumPy matrices run on all threads, a GPU's on its kernel.

    (..., M, K), (..., K, N) -> (..., M, N); what raises there raises here. Of bfloat16 the sums are of float32.
    """
    if a.dtype is BFLOAT16 or b.dtype is BFLOAT16:
        return _of_bfloat16(a, b)
    if type(a) is not np.ndarray or type(b) is not np.ndarray:
        return _on_a_gpu(a, b) if _fit_on_a_gpu(a, b) else array_namespace(a, b).matmul(a, b)
    if a.ndim > 1 < b.ndim and a.size * b.shape[-1] >= LARGE and _threaded(a, b):
        if a.ndim == b.ndim == 2 and (ours := getattr(select("matmul", a, b), "product", None)):
            return ours(a, b)
        from nlp_kernels.common import blas

        return blas.product(a, b)
    return np.matmul(a, b)


def _of_bfloat16(a, b):
    """By the GPU's kernel, or in float32 and rounded; beside another floating dtype bfloat16 gives way."""
    if _fit_on_a_gpu(a, b):
        return _on_a_gpu(a, b)
    y = product(*widened((a, b)))
    # an inner product of NumPy's is no array
    return rounded(array_namespace(a, b).asarray(y)) if a.dtype is b.dtype else y


def _fit_on_a_gpu(a, b):
    if library(array_namespace(a, b)) != "cupy" or a.dtype != b.dtype or not a.ndim or not b.ndim:
        return False
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return False
    return a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0]


def _on_a_gpu(a, b):
    """A vector is a matrix of one row or column; the rows of matrices that all meet one are those of one matrix."""
    if b.ndim == 1:
        return _on_a_gpu(a, b[:, None])[..., 0]
    if a.ndim == 1:
        return _on_a_gpu(a[None], b)[..., 0, :]
    if b.ndim == 2 < a.ndim and a.flags.c_contiguous:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return _on_a_gpu(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    ours = getattr(select("matmul", a, b), "product", None)
    if ours:
        return ours(a, b)
    return rounded(_on_a_gpu(*widened((a, b)))) if a.dtype is BFLOAT16 else array_namespace(a, b).matmul(a, b)


def _threaded(a, b):
    one = a.dtype == b.dtype and a.dtype in (np.float32, np.float64) and a.shape[-1] == b.shape[-2]
    return one and "cpu" in backends("matmul")


def _kernels(function, z, b, dy=None):
    """What computes the activation alone: all kernels of the CPU share it. None stands for the reference."""
    if type(z) is not np.ndarray or "cpu" not in backends("matmul") or forced("matmul") == "reference":
        return None
    from nlp_kernels.matmul import cpu

    if not cpu.supports(z):
        return None
    check.floating(function, z=z, b=b, dy=dy)
    if b is not None:
        check.shape(function, "b", b, z.shape[-1:])
    return cpu


def _matrix(z):
    """A NumPy array of any number of axes as rows; arrays of other libraries as they are."""
    if type(z) is not np.ndarray or z.ndim == 2:
        return z
    return z.reshape(math.prod(z.shape[:-1]), z.shape[-1]) if z.ndim else z.reshape(1, 1)


def _check_activation(function, activation):
    if activation not in ACTIVATIONS:
        raise ValueError(f"{function}: unknown activation {activation!r}; there are {', '.join(ACTIVATIONS)}")


def _check(function, x, w, b, residual, activation, transpose_w):
    _check_activation(function, activation)
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
