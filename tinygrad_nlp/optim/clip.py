"""Gradient clipping (E22)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from nlp_kernels import adamw
from nlp_kernels.errors import AnomalyError, DtypeError

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import Array, namespace, writes
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.node import tick


@explained
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """g ← g · min(1, c/‖g‖), ‖g‖ over all parameters together; returns ‖g‖ before clipping  (E22).

    Exactly the equation: PyTorch divides by ‖g‖ + 1e-6. Gradients of 0 stay 0; `max_norm` = ∞ only measures. A norm
    that is not finite leaves the gradients as they are. Raises ValueError for `max_norm` < 0 and `norm_type` <= 0,
    DtypeError for what is no Tensor, AnomalyError for a norm that is not finite with `error_if_nonfinite`.

    >>> p = nn.Parameter([0.0, 0.0])
    >>> p.grad = tn.Tensor([3.0, 4.0])
    >>> nn.utils.clip_grad_norm_([p], 1.0)
    5.0
    >>> p.grad
    Tensor([0.6, 0.8])
    """
    tensors = _with_gradient(parameters)
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    total = _norm([g.data for g in tensors], float(norm_type))
    if not math.isfinite(total):
        if error_if_nonfinite:
            raise AnomalyError(f"clip_grad_norm_: the gradients of {len(tensors)} parameters have the norm {total}")
        return total
    if total > max_norm:
        for g in tensors:
            g.data *= max_norm / total
            writes.note(g.data, tick())
    return total


@explained
def clip_scale(parameters: Tensor | Iterable[Tensor], max_norm: float) -> tuple[Array, Array]:
    """‖g‖ over all parameters together, and min(1, c/‖g‖), for `optimizer.step(grad_scale=…)` to clip by  (E22).

    The same steps as after `clip_grad_norm_` with a pass over the gradients less, and these stay as they are. Both are
    arrays of shape () on the parameters' device: a GPU is not waited for. A norm that is not finite gives 1. Raises
    ValueError for `max_norm` < 0, DtypeError for what is no Tensor.

    >>> p = nn.Parameter([0.0, 0.0])
    >>> p.grad = tn.Tensor([3.0, 4.0])
    >>> norm, scale = optim.clip_scale([p], 1.0)
    >>> optim.SGD([p], lr=1.0).step(grad_scale=scale)
    >>> float(norm), p
    (5.0, Tensor([-0.6, -0.8], requires_grad=True))
    """
    tensors = _with_gradient(parameters)
    if not max_norm >= 0:
        raise ValueError(f"clip_scale: max_norm must not be negative, got {max_norm}")
    if not tensors:
        return np.zeros(()), np.ones(())
    return adamw.clip_scale([g.data for g in tensors], float(max_norm))


@explained
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """g ← max(-c, min(c, g)), elementwise  (E22).

    Raises ValueError for `clip_value` < 0, DtypeError for what is no Tensor.

    >>> p = nn.Parameter([0.0, 0.0])
    >>> p.grad = tn.Tensor([3.0, -0.5])
    >>> nn.utils.clip_grad_value_([p], 1.0)
    >>> p.grad
    Tensor([ 1. , -0.5])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    for g in _with_gradient(parameters):
        namespace(g.data).clip(g.data, -clip_value, clip_value, out=g.data)
        writes.note(g.data, tick())


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The gradients of the parameters that have one, each once."""
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for i, p in enumerate(tensors):
        if not isinstance(p, Tensor):
            raise DtypeError(f"parameter {i} is {type(p).__name__}, not a Tensor")
    gradients = [p.grad for p in tensors if p.requires_grad]
    return list({id(g): g for g in gradients if g is not None}.values())


def _norm(gradients: list[Array], p: float) -> float:
    if not gradients:
        return 0.0
    if p == math.inf:
        return max(float(namespace(g).max(abs(g))) if g.size else 0.0 for g in gradients)
    if p == 2:
        return float(adamw.clip_scale(gradients, math.inf)[0])
    return math.fsum(float((abs(g).astype("float64") ** p).sum()) for g in gradients) ** (1 / p)
