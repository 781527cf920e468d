"""Softmax over the last axis. Derivation: README.md. Readable: reference.py."""

import math
from typing import Any

from nlp_kernels.common import check
from nlp_kernels.common.xp import array_namespace
from nlp_kernels.dispatch import select
from nlp_kernels.errors import ShapeError
from nlp_kernels.softmax import reference

__all__ = ["backward", "forward", "reference"]


def forward(x: Any, keep: Any = None, *, temperature: float = 1.0, log: bool = False) -> tuple[Any, Any]:
    """p_i = exp(x_i / τ) / Σ_j exp(x_j / τ) over the places that `keep` marks (E05, E31, E36), or log p.  -> (y, saved)

    x: (N, C); keep: bool, broadcastable to (N, C), True = take part, or None; temperature τ > 0, in units of x.
    A place that is masked gives p = 0, log p = -inf; so does every place of a row that is masked everywhere.
    Raises ShapeError, DtypeError, ValueError for a temperature that is not positive and finite.
    """
    x, keep = _inputs("softmax.forward", x, keep, temperature)
    module = select("softmax", x, keep, temperature=temperature, log=log)
    return module.forward(x, keep, temperature=temperature, log=log)


def backward(dy: Any, x: Any, keep: Any, saved: Any, *, temperature: float = 1.0, log: bool = False) -> tuple[Any]:
    """dx = p ⊙ (dy - ⟨dy, p⟩) / τ, or for log p: dx = (dy - p Σ dy) / τ; 0 where masked.  -> (dx,)

    dy, x: (N, C); keep as in `forward`; saved: what `forward` returned, or None to compute it again.
    """
    x, keep = _inputs("softmax.backward", x, keep, temperature, dy=dy)
    check.shape("softmax.backward", "dy", dy, x.shape)
    module = select("softmax", x, keep, temperature=temperature, log=log)
    return module.backward(check.contiguous(dy), x, keep, saved, temperature=temperature, log=log)


def _inputs(function, x, keep, temperature, **cotangent):
    check.floating(function, x=x, **cotangent)
    check.shape(function, "x", x, ("N", "C"))
    if not 0 < temperature < math.inf:
        raise ValueError(f"{function}: temperature is {temperature}, expected a positive number")
    if keep is not None:
        check.boolean(function, "keep", keep)
        padded = (1,) * (2 - len(keep.shape)) + tuple(keep.shape)
        if len(padded) != 2 or any(k not in (1, n) for k, n in zip(padded, x.shape, strict=True)):
            raise ShapeError(f"{function}: keep {tuple(keep.shape)} does not broadcast to x {tuple(x.shape)}")
        keep = check.contiguous(array_namespace(x, keep).reshape(keep, padded))
    return check.contiguous(x), keep
