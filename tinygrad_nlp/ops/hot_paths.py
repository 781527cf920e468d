"""The hot paths as functions of Tensors: shapes and dtypes brought to what the kernels take, then one fused node.

The mathematics of each, with its derivation, is in the README of its folder under `kernels/nlp_kernels/`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nlp_kernels import attention as attention_kernel
from nlp_kernels import cross_entropy as cross_entropy_kernel
from nlp_kernels import embedding as embedding_kernel
from nlp_kernels import layer_norm as layer_norm_kernel
from nlp_kernels import matmul as matmul_kernel
from nlp_kernels import softmax as softmax_kernel
from nlp_kernels.common import check
from nlp_kernels.common import xp as helpers
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import random
from tinygrad_nlp.autograd import Tensor, namespace, primitive
from tinygrad_nlp.autograd.bfloat16 import promoted
from tinygrad_nlp.autograd.convert import as_array, to_host
from tinygrad_nlp.autograd.devices import beside
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.autograd.modes import ANOMALY, mode
from tinygrad_nlp.autograd.tensor import wrap
from tinygrad_nlp.ops.fused import Fused
from tinygrad_nlp.ops.recording import axis_of
from tinygrad_nlp.ops.repetition import broadcast_to
from tinygrad_nlp.ops.shape import astype, moveaxis, reshape

__all__ = ["attention", "cross_entropy", "dropout", "embedding", "layer_norm", "linear", "log_softmax", "softmax"]

_softmax = Fused(softmax_kernel, "x keep", (0,))
_cross_entropy = Fused(cross_entropy_kernel, "x target", (0,))
_matmul = Fused(matmul_kernel, "x w b residual", (0, 1, 2, 3))
_layer_norm = Fused(layer_norm_kernel, "x gamma beta residual", (0, 1, 2, 3))
_attention = Fused(attention_kernel, "q k v keep key_lengths", (0, 1, 2))
_embedding = Fused(embedding_kernel, "table indices", (0,))


@explained
def softmax(x: Any, *, axis: int = -1, keep: Any = None, temperature: float = 1.0) -> Tensor:
    """p = exp(x/τ) / Σ exp(x/τ) over an axis, τ the `temperature`  (E05).  (..., C) -> (..., C)

    Where not `keep` p = 0, without a gradient; a row that keeps nothing is 0. Raises AxisError for an axis that is not
    there, ShapeError where `keep` does not broadcast to x, DtypeError for integers and a `keep` that is not bool,
    ValueError for τ ≤ 0.

    >>> tn.softmax([1.0, 1.0])
    Tensor([0.5, 0.5])
    """
    return _over_axis(x, axis, keep, temperature=temperature, log=False)


@explained
def log_softmax(x: Any, *, axis: int = -1, keep: Any = None, temperature: float = 1.0) -> Tensor:
    """x/τ - ln Σ exp(x/τ) over an axis, τ the `temperature`  (E05).  (..., C) -> (..., C)

    Where not `keep` it is -∞, without a gradient. Raises AxisError for an axis that is not there, ShapeError where
    `keep` does not broadcast to x, DtypeError for integers and a `keep` that is not bool, ValueError for τ ≤ 0.

    >>> tn.log_softmax([0.0])
    Tensor([0.])
    """
    return _over_axis(x, axis, keep, temperature=temperature, log=True)


def _over_axis(x: Any, axis: int, keep: Any, **hyper: Any) -> Tensor:
    x = _tensor(x)
    axis = axis_of("log_softmax" if hyper["log"] else "softmax", x.shape, axis)
    last = axis == x.ndim - 1
    rows = x if last else moveaxis(x, axis, -1)
    if keep is not None:
        keep = beside(x.data, as_array(keep))
        try:
            keep = namespace(keep).broadcast_to(keep, x.shape)
        except ValueError as error:
            raise ShapeError(f"keep of shape {keep.shape} does not broadcast to x of shape {x.shape}") from error
        keep = (keep if last else namespace(keep).moveaxis(keep, axis, -1)).reshape(_rows(rows.shape))
    y = _shaped(_softmax(_shaped(rows, _rows(rows.shape)), keep, **hyper), rows.shape)
    return y if last else moveaxis(y, -1, axis)


@explained
def cross_entropy(x: Any, target: Any, *, ignore_index: int = -100, label_smoothing: float = 0.0) -> Tensor:
    """L_n = -ln softmax(x_n)[target_n], one loss a row  (E06, E45).  (..., C), (...) -> (...)

    A target `ignore_index` has a loss and a gradient of 0; smoothed by ε: (1 - ε) L - ε/C Σ ln softmax(x). Raises
    ShapeError where x and target do not fit, IndexError for a target that is no class, DtypeError for integer x and for
    targets that are not int32 or int64, ValueError for ε outside [0, 1].

    >>> tn.cross_entropy([[1e3, 0.0]], [0])
    Tensor([0.])
    """
    x, target = _tensor(x), as_array(target)
    if not x.ndim or target.shape != x.shape[:-1]:
        raise ShapeError(f"cross_entropy: logits {x.shape} need targets of shape {x.shape[:-1]}, got {target.shape}")
    hyper = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    classes = _placed("cross_entropy", "target", x.data, target.reshape(-1), x.shape[-1], ignore=ignore_index)
    return _shaped(_cross_entropy(_shaped(x, _rows(x.shape)), classes, **hyper), target.shape)


@explained
def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None, *, activation: str = "none") -> Tensor:
    """y = act(x Wᵀ + b) + residual  (E12, E40).  (..., K), (N, K), (N,), (..., N) -> (..., N)

    `activation` is none, relu (its derivative at 0 is 0), gelu or gelu_tanh. Raises ShapeError where the sizes do not
    fit, DtypeError for integers, ValueError for another activation.

    >>> tn.linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5])
    Tensor([[11.5]])
    """
    x, weight, bias, residual = one_dtype(_tensor(x), _tensor(weight), bias, residual)
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear: input {x.shape} and weight {weight.shape}: the last sizes must agree")
    shape = (*x.shape[:-1], weight.shape[0])
    if residual is not None:
        residual = _shaped(residual if residual.shape == shape else broadcast_to(residual, shape), _rows(shape))
    rows = _shaped(x, _rows(x.shape))
    return _shaped(_matmul(rows, weight, bias, residual, activation=activation, transpose_w=True), shape)


@explained
def layer_norm(x: Any, gamma: Any, beta: Any, residual: Any = None, *, eps: float = 1e-5) -> Any:
    """y = γ (h - mean h) / √(var h + ε) + β over the last axis, h = x + residual  (E41, E42).

    (..., C), (C,), (C,) -> (..., C); with a residual of the shape of x, the pair (y, h). Raises ShapeError where the
    sizes do not fit, DtypeError for integers.

    >>> tn.layer_norm([[-1.0, 1.0]], [2.0, 2.0], [0.0, 0.0], eps=0.0)
    Tensor([[-2.,  2.]])
    """
    x, gamma, beta, residual = one_dtype(_tensor(x), _tensor(gamma), _tensor(beta), residual)
    if not x.ndim:
        raise ShapeError("layer_norm needs at least one axis, got a scalar")
    if residual is not None and residual.shape != x.shape:
        raise ShapeError(f"layer_norm: input {x.shape} and residual {residual.shape} must have one shape")
    rows = _rows(x.shape)
    if residual is None:
        return _shaped(_layer_norm(_shaped(x, rows), gamma, beta, None, eps=eps), x.shape)
    y, h = _layer_norm(_shaped(x, rows), gamma, beta, _shaped(residual, rows), eps=eps)
    return _shaped(y, x.shape), _shaped(h, x.shape)


@explained
def attention(
    q: Any,
    k: Any,
    v: Any,
    keep: Any = None,
    key_lengths: Any = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: random.Generator | None = None,
) -> Tensor:
    """O = softmax(Q Kᵀ · scale) V over the keys that may be attended to  (E35, E36).

    (B, H, T, D), (B, KH, S, D), (B, KH, S, Dv) -> (B, H, T, Dv). H is a multiple of KH: so many heads of queries share
    one of keys and values (Ainslie et al. 2023). `keep` (True = may attend) broadcasts to (B, H, T, S);
    `key_lengths` (B,) counts valid keys; `causal` lets query i see keys j <= i + S - T. A query that may attend to
    nothing gives 0. `scale` is 1/√D unless given. `dropout` is the probability of losing a weight. Raises ShapeError
    where the shapes do not fit, IndexError for key lengths beyond 0 … S, DtypeError for integer Q, K, V and masks that
    are not bool, ValueError for a dropout outside [0, 1).

    >>> tn.attention([[[[1.0]]]], [[[[1.0], [1.0]]]], [[[[2.0], [4.0]]]])
    Tensor([[[[3.]]]])
    """
    q, k, v = one_dtype(_tensor(q), _tensor(k), _tensor(v))
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ShapeError(f"attention: q {q.shape}, k {k.shape}, v {v.shape} must be (B, H, T, D) and so on, four axes")
    if not 0 <= dropout < 1:
        raise ValueError(f"attention: dropout must be in [0, 1), got {dropout}")
    mask = None
    if dropout:
        generator = generator or random.default_generator
        offset = generator.reserve(math.prod(q.shape[:-1]) * k.shape[-2])
        mask = (dropout, generator.seed, offset)
    keep = None if keep is None else beside(q.data, as_array(keep))
    lengths = key_lengths
    if lengths is not None:
        lengths = _placed("attention", "key_lengths", q.data, as_array(lengths), k.shape[-2] + 1)
    return _attention(q, k, v, keep, lengths, causal=causal, scale=scale, dropout=mask)


@explained
def embedding(table: Any, indices: Any, *, padding_idx: int | None = None) -> Tensor:
    """The rows of a table at integer indices  (E02).  (V, D), (...) -> (..., D)

    Repeated rows sum their gradients; that of `padding_idx` is 0. Raises IndexError for a row that is not there,
    ShapeError for a table that is no matrix, DtypeError for an integer table and for indices that are not int32 or
    int64.

    >>> tn.embedding([[1.0, 2.0], [3.0, 4.0]], [1])
    Tensor([[3., 4.]])
    """
    table = _tensor(table)
    rows = _placed("embedding", "indices", table.data, as_array(indices), table.shape[0] if table.ndim else 0)
    return _embedding(table, rows, padding_idx=padding_idx)


@explained
def dropout(x: Any, p: float, *, generator: random.Generator | None = None) -> Tensor:
    """y = x m / (1 - p), m = 1 with probability 1 - p, else 0  (E16).  (...) -> (...)

    The gradient has the same mask and scale. Raises ValueError for p outside [0, 1], DtypeError for what is no array or
    number.

    >>> tn.dropout([1.0, 2.0], 0.0)
    Tensor([1., 2.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must be in [0, 1], got {p}")
    x = _tensor(x)
    if p == 0:
        return x
    generator = generator or random.default_generator
    keep = helpers.dropout_mask(x.data, p, generator.seed, generator.reserve(x.size), x.shape)
    return _keep(x, keep, 1 / (1 - p) if p < 1 else 0.0)


@primitive
def _keep(x, keep, scale):
    return namespace(x).where(keep, x * scale, 0)


@_keep.vjp("x")
def _(g, keep, scale):  # the same mask, the same scale
    return namespace(g).where(keep, g * scale, 0)


def _placed(function: str, name: str, like: Any, indices: Any, size: int, *, ignore: int | None = None) -> Any:
    """Indices beside an array. For a GPU they are looked at while the host has them, and in anomaly mode.

    Raises IndexError for one that is out of range.
    """
    if type(like) is not np.ndarray and (type(indices) is np.ndarray or mode.get() & ANOMALY):
        check.indices(function, name, to_host(indices), size, ignore=ignore)
    return beside(like, indices)


def _tensor(x: Any) -> Tensor:
    return x if type(x) is Tensor else wrap(as_array(x))


def one_dtype(*xs: Any) -> list:
    """Tensors of the one dtype they promote to; None stays None."""
    tensors = [None if x is None else _tensor(x) for x in xs]
    dtypes = {x.dtype for x in tensors if x is not None}
    if len(dtypes) == 1:
        return tensors
    dtype = promoted(*dtypes)
    return [x if x is None or x.dtype == dtype else astype(x, dtype) for x in tensors]


def _rows(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]


def _shaped(x: Any, shape: tuple[int, ...]) -> Any:
    return x if x.shape == shape else reshape(x, shape)
