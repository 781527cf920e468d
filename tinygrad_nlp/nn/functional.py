"""Layers and losses as functions, with PyTorch's names, arguments and numbers.

Inputs are Tensors or arrays, results are Tensors; the equations' ids are those of the functions in `ops`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from nlp_kernels.common import check
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.tensor import as_array
from tinygrad_nlp.nn.masks import both, causal_keep, keep_of
from tinygrad_nlp.random import Generator

relu, sigmoid, tanh, logsigmoid = ops.relu, ops.sigmoid, ops.tanh, ops.log_sigmoid

# Layers ----------------------------------------------------------------------------------------------------------


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x Wᵀ + b  (E12).  (..., in), (out, in), (out,) -> (..., out)"""
    return ops.linear(input, weight, bias)


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` at the indices `input`; row `padding_idx` gets no gradient  (E02).  (...), (V, D) -> (..., D)"""
    return ops.embedding(weight, input, padding_idx=padding_row(padding_idx, weight.shape[0]))


def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """o_j = 1[i = j], int64; as many classes as the largest index needs unless said  (E01).  (...) -> (..., V)"""
    indices = as_array(input)
    xp, size = namespace(indices), int(indices.max(initial=-1)) + 1 if num_classes < 0 else num_classes
    check.indices("one_hot", "input", indices, size)
    return Tensor(xp.astype(indices[..., None] == xp.arange(size), xp.int64))


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """y = γ ⊙ (x - μ) / √(σ² + ε) + β over the last axes, of sizes `normalized_shape`  (E41).  (..., C) -> (..., C)"""
    x, shape = ops.asarray(input), tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm: input {x.shape} does not end in normalized_shape {shape}")
    rows = x if len(shape) == 1 else ops.reshape(x, (*x.shape[: -len(shape)], math.prod(shape)))
    gamma = _row("weight", weight, shape, 1.0, x)
    beta = _row("bias", bias, shape, 0.0, x)
    return ops.reshape(ops.layer_norm(rows, gamma, beta, eps=eps), x.shape)


def dropout(input: Any, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """y = x ⊙ m / (1 - p), m = 0 with probability p; y = x where not `training`  (E16).  (...) -> (...)"""
    return ops.dropout(input, p if training else 0.0, generator=generator)


def softmax(input: Any, dim: int = -1) -> Tensor:
    """p_i = e^(x_i) / Σ_j e^(x_j) over axis `dim`  (E05)"""
    return ops.softmax(input, axis=dim)


def log_softmax(input: Any, dim: int = -1) -> Tensor:
    """ln p_i = x_i - ln Σ_j e^(x_j) over axis `dim`  (E05)"""
    return ops.log_softmax(input, axis=dim)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x Φ(x), or its tanh form with `approximate="tanh"`  (E13)"""
    check_gelu(approximate)
    return ops.gelu(input) if approximate == "none" else ops.gelu_tanh(input)


def softplus(input: Any, beta: float = 1.0) -> Tensor:
    """ln(1 + e^(βx)) / β, exact at every x: no threshold as PyTorch's, which is off by e⁻²⁰ beyond it  (E13)"""
    return ops.softplus(input) if beta == 1 else ops.softplus(ops.asarray(input) * beta) / beta


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖_p, ε) along axis `dim`; 0 stays 0, without a gradient of the norm there.  (...) -> (...)"""
    x = ops.asarray(input)
    total = ops.sum(x * x if p == 2 else ops.abs(x) ** p, axis=dim, keepdims=True)
    positive = total > 0
    norm = ops.where(positive, ops.where(positive, total, 1.0) ** (1 / p), 0.0)
    return x / ops.maximum(norm, eps)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """O = softmax(Q Kᵀ · scale) V, scale = 1/√D unless said  (E35, E36).

    (..., T, D), (..., S, D), (..., S, Dv) -> (..., T, Dv). A True in `attn_mask` (broadcast to (..., T, S)) lets the
    query attend; a float mask has 0 there and -inf elsewhere. `is_causal`: query i sees keys j <= i, counted from the
    first. A query that may attend to nothing gives 0. Dropout is applied whenever `dropout_p` > 0.
    """
    q, k, v = (ops.asarray(x) for x in (query, key, value))
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(f"scaled_dot_product_attention: query {q.shape}, key {k.shape}, value {v.shape} need two axes")
    T, S = q.shape[-2], k.shape[-2]
    keep = keep_of("attn_mask", attn_mask, true_attends=True)
    if is_causal and T != S:  # the kernel's `causal` aligns the last query with the last key
        keep = both(keep, causal_keep(q.data, T, S))
    try:
        lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        shapes = f"query {q.shape}, key {k.shape}, value {v.shape}"
        raise ShapeError(f"scaled_dot_product_attention: the leading axes of {shapes} do not fit together") from None
    four = (math.prod(lead[:-1]), lead[-1] if lead else 1)
    if keep is not None and len(lead) != 2:
        keep = namespace(keep).broadcast_to(keep, (*lead, T, S)).reshape(*four, T, S)
    q, k, v = (ops.reshape(_expand(x, lead), (*four, *x.shape[-2:])) for x in (q, k, v))
    o = ops.attention(q, k, v, keep, causal=is_causal and T == S, scale=scale, dropout=dropout_p, generator=generator)
    return ops.reshape(o, (*lead, *o.shape[-2:]))


# Losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """L = -w_y ln softmax(x)_y, smoothed: (1 - ε) L + (ε/C) Σ_c -w_c ln softmax(x)_c  (E06, E45).

    Logits (N, C, ...) or (C,), integer targets (N, ...) or (). The mean divides by Σ w_y over the targets that are not
    `ignore_index`; where there is none it is NaN, as PyTorch's.
    """
    x, y = _classes_last("cross_entropy", input, target)
    if weight is None:
        loss = ops.cross_entropy(x, y, ignore_index=ignore_index, label_smoothing=label_smoothing)
        return _reduce(loss, reduction, _count(y != ignore_index))
    w, w_y = _class_weights("cross_entropy", weight, y, ignore_index, x)
    loss = ops.cross_entropy(x, y, ignore_index=ignore_index) * w_y
    if label_smoothing:
        everything = ops.where(y != ignore_index, ops.sum(-ops.log_softmax(x) * w, axis=-1), 0.0)
        loss = (1 - label_smoothing) * loss + (label_smoothing / x.shape[-1]) * everything
    return _reduce(loss, reduction, float(w_y.sum()))


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """L = -w_y x_y of log-probabilities x (N, C, ...), integer targets (N, ...); means as in `cross_entropy`  (E06)"""
    x, y = _classes_last("nll_loss", input, target)
    check.indices("nll_loss", "target", y, x.shape[-1], ignore=ignore_index)
    counts = y != ignore_index
    chosen = ops.take_along_axis(x, namespace(y).where(counts, y, 0)[..., None], axis=-1)
    loss = ops.where(counts, -ops.squeeze(chosen, -1), 0.0)
    if weight is None:
        return _reduce(loss, reduction, _count(counts))
    _, w_y = _class_weights("nll_loss", weight, y, ignore_index, x)
    return _reduce(loss * w_y, reduction, float(w_y.sum()))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """L = p y softplus(-z) + (1 - y) softplus(z), for p = 1 equal to softplus(z) - y z  (E06b).  (...), (...) -> (...)

    This form has no cancellation: -ln σ(z) keeps its digits for every z. `weight` multiplies the terms, `pos_weight`
    (p) those of the positive class; both broadcast.
    """
    z, y = _same_shapes("binary_cross_entropy_with_logits", input, target)
    positive = y * ops.softplus(-z)
    if pos_weight is not None:
        positive = ops.asarray(pos_weight) * positive
    loss = positive + (1 - y) * ops.softplus(z)
    return _reduce(loss if weight is None else loss * ops.asarray(weight), reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """L = (ŷ - y)²  (E06c).  (...), (...) -> () or (...)"""
    x, y = _same_shapes("mse_loss", input, target)
    return _reduce(ops.square(x - y), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """L = |ŷ - y|; derivative 0 where they are equal.  (...), (...) -> () or (...)"""
    x, y = _same_shapes("l1_loss", input, target)
    return _reduce(ops.abs(x - y), reduction)


def check_gelu(approximate: str) -> None:
    """Raise ValueError unless the name of a form of GELU is known."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate is "none" or "tanh", not {approximate!r}')


def check_reduction(function: str, reduction: str) -> None:
    """Raise ValueError unless the name of a reduction is known."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{function}: reduction is "mean", "sum" or "none", not {reduction!r}')


def padding_row(padding_idx: int | None, size: int) -> int | None:
    """The row that `padding_idx` names; negative ones count from the end."""
    if padding_idx is None:
        return None
    if not -size <= padding_idx < size:
        raise IndexError(f"embedding: padding_idx is {padding_idx}, out of range for {size} rows")
    return padding_idx % size


def _reduce(loss: Tensor, reduction: str, count: float | None = None) -> Tensor:
    check_reduction("loss", reduction)
    if reduction == "none":
        return loss
    total = ops.sum(loss)
    if reduction == "sum":
        return total
    count = loss.size if count is None else count
    return total / count if count else total * math.nan


def _classes_last(function: str, input: Any, target: Any) -> tuple[Tensor, Any]:
    x, y = ops.asarray(input), as_array(target)
    axis = min(1, x.ndim - 1)
    if axis < 0 or y.shape != (expected := x.shape[:axis] + x.shape[axis + 1 :]):
        raise ShapeError(
            f"{function}: logits {x.shape} have their classes on axis {max(axis, 0)}, so the target's shape is "
            f"{expected if axis >= 0 else '()'}, not {y.shape}; bring (..., C) logits to (-1, C) with reshape"
        )
    return (x if axis == x.ndim - 1 else ops.moveaxis(x, axis, -1)), y


def _class_weights(function: str, weight: Any, y: Any, ignore_index: int, x: Tensor) -> tuple[Any, Any]:
    """Weights (C,) in the dtype of the logits, and each target's own, 0 where it is ignored."""
    w = as_array(weight, x.dtype)
    check.shape(function, "weight", w, (x.shape[-1],))
    xp, counts = namespace(y), y != ignore_index
    check.indices(function, "target", y, x.shape[-1], ignore=ignore_index)
    return w, xp.where(counts, w[xp.where(counts, y, 0)], 0)


def _count(mask: Any) -> int:
    return int(namespace(mask).count_nonzero(mask))


def _same_shapes(function: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    x, y = ops.asarray(input), ops.asarray(target)
    if x.shape != y.shape:
        raise ShapeError(f"{function}: input {x.shape} and target {y.shape} must have one shape")
    return x, y


def _row(name: str, values: Any, shape: tuple[int, ...], default: float, x: Tensor) -> Any:
    """A parameter of shape `normalized_shape` as one row, or a row of a constant."""
    if values is None:
        return namespace(x.data).full(math.prod(shape), default, dtype=x.dtype)
    if values.shape != shape:
        raise ShapeError(f"layer_norm: {name} {values.shape} must have the shape normalized_shape {shape}")
    return values if len(shape) == 1 else ops.reshape(values, (math.prod(shape),))


def _expand(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    return x if x.shape[:-2] == lead else ops.broadcast_to(x, (*lead, *x.shape[-2:]))
