"""Layer norm with an optional fused residual. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common import check
from nlp_kernels.dispatch import select
from nlp_kernels.layer_norm import reference

__all__ = ["backward", "forward", "reference"]


def forward(x: Any, gamma: Any, beta: Any, residual: Any = None, *, eps: float = 1e-5) -> tuple[Any, Any]:
    """y = γ ⊙ (h - μ) / √(σ² + ε) + β by rows, h = x + residual (E41, E42).  -> (y, saved) or ((y, h), saved)

    x, residual: (N, C), residual may be None; gamma, beta: (C,). y alone without residual, the pair (y, h) with one.
    Raises ShapeError, DtypeError.
    """
    inputs = _inputs("layer_norm.forward", x, gamma, beta, residual)
    return select("layer_norm", *inputs, eps=eps).forward(*inputs, eps=eps)


def backward(
    dy: Any, x: Any, gamma: Any, beta: Any, residual: Any, saved: Any, *, eps: float = 1e-5
) -> tuple[Any, Any, Any, Any]:
    """dx = r (dĥ - mean dĥ - ĥ mean(dĥ ⊙ ĥ)) [+ dh], dĥ = dy ⊙ γ.  -> (dx, dgamma, dbeta, dresidual or None)

    dy: (N, C), or the pair (dy, dh) with a residual; saved: what `forward` returned, or None to compute it again.
    dx and dresidual are one array.
    """
    function = "layer_norm.backward"
    inputs = _inputs(function, x, gamma, beta, residual)
    cotangents = {"dy": dy} if residual is None else dict(zip(("dy", "dh"), dy, strict=True))
    check.floating(function, x=x, **cotangents)
    for name, cotangent in cotangents.items():
        check.shape(function, name, cotangent, x.shape)
    dy = check.contiguous(dy) if residual is None else tuple(map(check.contiguous, dy))
    return select("layer_norm", *inputs, eps=eps).backward(dy, *inputs, saved, eps=eps)


def _inputs(function, x, gamma, beta, residual):
    check.floating(function, x=x, gamma=gamma, beta=beta, residual=residual)
    check.shape(function, "x", x, ("N", "C"))
    check.shape(function, "gamma", gamma, x.shape[1:])
    check.shape(function, "beta", beta, x.shape[1:])
    if residual is not None:
        check.shape(function, "residual", residual, x.shape)
    return tuple(map(check.contiguous, (x, gamma, beta, residual)))
