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
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.tensor import as_array
from tinygrad_nlp.nn.criteria import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
)
from tinygrad_nlp.nn.masks import both, causal_keep, keep_of
from tinygrad_nlp.random import Generator

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]

relu, sigmoid, tanh, logsigmoid = ops.relu, ops.sigmoid, ops.tanh, ops.log_sigmoid


@explained
def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x Wᵀ + b  (E12).  (..., in), (out, in), (out,) -> (..., out)

    Raises ShapeError where the sizes do not fit, DtypeError for integers.

    >>> F.linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5])
    Tensor([[11.5]])
    """
    return ops.linear(input, weight, bias)


@explained
def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` at the indices `input`  (E02).  (...), (V, D) -> (..., D)

    Repeated rows sum their gradients; row `padding_idx` gets none. Raises IndexError for a row that is not there,
    ShapeError for a weight that is no matrix, DtypeError for an integer weight and for indices that are not int32 or
    int64.

    >>> F.embedding([1], [[1.0, 2.0], [3.0, 4.0]])
    Tensor([[3., 4.]])
    """
    weight = ops.asarray(weight)
    return ops.embedding(weight, input, padding_idx=padding_row(padding_idx, len(weight)) if weight.ndim else None)


@explained
def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """o_j = 1[i = j], int64; as many classes as the largest index needs unless said  (E01).  (...) -> (..., V)

    A constant of the graph. Raises IndexError for an index beyond the classes, DtypeError for indices that are not
    int32 or int64.

    >>> F.one_hot([0, 2])
    Tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    indices = as_array(input)
    xp, size = namespace(indices), num_classes
    if size < 0:
        size = int(indices.max()) + 1 if indices.size else 0
    check.indices("one_hot", "input", indices, size)
    return Tensor(xp.astype(indices[..., None] == xp.arange(size, device=indices.device), xp.int64))


@explained
def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """y = γ ⊙ (x - μ) / √(σ² + ε) + β over the last axes, of sizes `normalized_shape`  (E41).  (..., C) -> (..., C)

    Raises ShapeError where x, γ or β do not have these axes, DtypeError for integers.

    >>> F.layer_norm([[-1.0, 1.0]], (2,), eps=0.0)
    Tensor([[-1.,  1.]])
    """
    x = ops.asarray(input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm: input {x.shape} does not end in normalized_shape {shape}")
    rows = x if len(shape) == 1 else ops.reshape(x, (*x.shape[: -len(shape)], math.prod(shape)))
    gamma = _row("weight", weight, shape, 1.0, x)
    beta = _row("bias", bias, shape, 0.0, x)
    return ops.reshape(ops.layer_norm(rows, gamma, beta, eps=eps), x.shape)


@explained
def dropout(input: Any, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """y = x ⊙ m / (1 - p), m = 0 with probability p; y = x where not `training`  (E16).  (...) -> (...)

    The gradient has the same mask and scale. Raises ValueError for p outside [0, 1], DtypeError for what is no array or
    number.

    >>> F.dropout([1.0, 2.0], training=False)
    Tensor([1., 2.])
    """
    return ops.dropout(input, p if training else 0.0, generator=generator)


@explained
def softmax(input: Any, dim: int = -1) -> Tensor:
    """p_i = e^(x_i) / Σ_j e^(x_j) over axis `dim`  (E05).  (..., C) -> (..., C)

    Raises AxisError for an axis that is not there, DtypeError for integers.

    >>> F.softmax([1.0, 1.0])
    Tensor([0.5, 0.5])
    """
    return ops.softmax(input, axis=dim)


@explained
def log_softmax(input: Any, dim: int = -1) -> Tensor:
    """ln p_i = x_i - ln Σ_j e^(x_j) over axis `dim`  (E05).  (..., C) -> (..., C)

    Raises AxisError for an axis that is not there, DtypeError for integers.

    >>> F.log_softmax([0.0])
    Tensor([0.])
    """
    return ops.log_softmax(input, axis=dim)


@explained
def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x Φ(x), or its tanh form with `approximate="tanh"`  (E13).  (...) -> (...)

    Raises ValueError for another form, DtypeError for what is no array or number.

    >>> F.gelu([0.0, 1e3])
    Tensor([   0., 1000.])
    """
    check_gelu(approximate)
    return ops.gelu(input) if approximate == "none" else ops.gelu_tanh(input)


@explained
def softplus(input: Any, beta: float = 1.0) -> Tensor:
    """ln(1 + e^(βx)) / β  (E13).  (...) -> (...)

    Exact at every x: no threshold as PyTorch's, which is off by e⁻²⁰ beyond it. Raises ValueError for β = 0, DtypeError
    for what is no array or number.

    >>> F.softplus(1e3)
    Tensor(1000.)
    """
    if beta == 0:
        raise ValueError("softplus: beta must not be 0")
    return ops.softplus(input) if beta == 1 else ops.softplus(ops.asarray(input) * beta) / beta


@explained
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖_p, ε) along axis `dim`.  (..., C, ...) -> (..., C, ...)

    0 stays 0, without a gradient of the norm there. Raises AxisError for an axis that is not there, DtypeError for what
    is no array or number.

    >>> F.normalize([[3.0, 4.0]])
    Tensor([[0.6, 0.8]])
    """
    x = ops.asarray(input)
    total = ops.sum(x * x if p == 2 else ops.abs(x) ** p, axis=dim, keepdims=True)
    positive = total > 0
    norm = ops.where(positive, ops.where(positive, total, 1.0) ** (1 / p), 0.0)
    return x / ops.maximum(norm, eps)


@explained
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """O = softmax(Q Kᵀ · scale) V, scale = 1/√D unless said  (E35, E36).

    (..., T, D), (..., S, D), (..., S, Dv) -> (..., T, Dv). A True in `attn_mask` (broadcast to (..., T, S)) lets the
    query attend; a float mask has 0 there and -inf elsewhere. `is_causal`: query i sees keys j <= i, counted from the
    first. A query that may attend to nothing gives 0. Dropout is applied whenever `dropout_p` > 0. `enable_gqa`: keys
    and values (..., KH, S, D) may have fewer heads than queries (..., H, T, D), each then serves H / KH neighbours
    (grouped-query attention, Ainslie et al. 2023). Raises ShapeError where the shapes do not fit, DtypeError for
    integers and for floats that are no mask, ValueError for `dropout_p` outside [0, 1).

    >>> F.scaled_dot_product_attention([[1.0]], [[1.0], [1.0]], [[2.0], [4.0]])
    Tensor([[3.]])
    """
    q, k, v = (ops.asarray(x) for x in (query, key, value))
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(f"scaled_dot_product_attention: query {q.shape}, key {k.shape}, value {v.shape} need two axes")
    T, S = q.shape[-2], k.shape[-2]
    keep = keep_of("attn_mask", attn_mask, true_attends=True)
    if is_causal and T != S:  # the kernel's `causal` aligns the last query with the last key
        keep = both(keep, causal_keep(q.data, T, S))
    lead, of_keys = _leads(q.shape, k.shape, v.shape, grouped=enable_gqa)
    if keep is not None and len(lead) != 2:
        try:
            keep = namespace(keep).broadcast_to(keep, (*lead, T, S)).reshape(*_two(lead), T, S)
        except ValueError as error:
            raise ShapeError(f"attn_mask {keep.shape} does not broadcast to (..., T, S) = {(*lead, T, S)}") from error
    leads = lead, of_keys, of_keys
    q, k, v = (
        ops.reshape(_expand(x, axes), (*_two(axes), *x.shape[-2:])) for x, axes in zip((q, k, v), leads, strict=True)
    )
    o = ops.attention(q, k, v, keep, causal=is_causal and T == S, scale=scale, dropout=dropout_p, generator=generator)
    return ops.reshape(o, (*lead, *o.shape[-2:]))


def check_gelu(approximate: str) -> None:
    """Raise ValueError unless the name of a form of GELU is known."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate is "none" or "tanh", not {approximate!r}')


def padding_row(padding_idx: int | None, size: int) -> int | None:
    """The row that `padding_idx` names; negative ones count from the end."""
    if padding_idx is None:
        return None
    if not -size <= padding_idx < size:
        raise IndexError(f"embedding: padding_idx is {padding_idx}, out of range for {size} rows")
    return padding_idx % size


def _row(name: str, values: Any, shape: tuple[int, ...], default: float, x: Tensor) -> Any:
    """A parameter of shape `normalized_shape` as one row, or a row of a constant."""
    if values is None:
        return namespace(x.data).full(math.prod(shape), default, dtype=x.dtype, device=x.data.device)
    values = ops.asarray(values)
    if values.shape != shape:
        raise ShapeError(f"layer_norm: {name} {values.shape} must have the shape normalized_shape {shape}")
    return values if len(shape) == 1 else ops.reshape(values, (math.prod(shape),))


def _leads(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *, grouped: bool) -> tuple:
    """The leading axes of queries, and those of keys and values: but for the heads of groups, they are broadcast."""
    shapes, heads = f"query {q}, key {k}, value {v}", min(len(q), len(k), len(v)) > 2
    if grouped and not (heads and k[-3] == v[-3] and k[-3] and q[-3] % k[-3] == 0):
        raise ShapeError(
            f"scaled_dot_product_attention: {shapes} with enable_gqa: key and value need as many heads, a divisor of "
            "the query's, on their third axis from the end"
        )
    own, of_keys = (q[-3:-2], k[-3:-2]) if grouped else ((), ())
    end = -3 if grouped else -2
    try:
        lead = np.broadcast_shapes(q[:end], k[:end], v[:end])
    except ValueError:
        raise ShapeError(f"scaled_dot_product_attention: the leading axes of {shapes} do not fit together") from None
    return (*lead, *own), (*lead, *of_keys)


def _two(lead: tuple[int, ...]) -> tuple[int, int]:
    """Leading axes as B and H."""
    return math.prod(lead[:-1]), lead[-1] if lead else 1


def _expand(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    return x if x.shape[:-2] == lead else ops.broadcast_to(x, (*lead, *x.shape[-2:]))
