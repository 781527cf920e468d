"""Initial values, written in place and drawn from the library's generator (or `generator=`); the tensor is returned.

`fan_in` and `fan_out` of a weight (out, in, …) are `in` and `out` times the size of what follows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import random
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn.loading import write
from tinygrad_nlp.random import Generator


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ U[a, b)"""
    return write(tensor, (generator or random.default_generator).uniform(tensor.shape, a, b, dtype=tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ N(mean, std²)"""
    if std < 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return write(tensor, (generator or random.default_generator).normal(tensor.shape, mean, std, dtype=tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """w = val"""
    return write(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """w = 0"""
    return write(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """w = 1"""
    return write(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """w_ij = 1[i = j] of a matrix; the identity initialisation of E23."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a matrix, got shape {tensor.shape}")
    return write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ U(-a, a), a = gain √(6 / (fan_in + fan_out))  (Glorot and Bengio 2010)"""
    a = gain * math.sqrt(6 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ N(0, gain² · 2 / (fan_in + fan_out))  (Glorot and Bengio 2010)"""
    return normal_(tensor, 0, gain * math.sqrt(2 / sum(_fans("xavier_normal_", tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """w ~ U(-b, b), b = gain √(3 / fan)  (He et al. 2015, arXiv:1502.01852)"""
    b = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan("kaiming_uniform_", tensor, mode))
    return uniform_(tensor, -b, b, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """w ~ N(0, gain² / fan)  (He et al. 2015, arXiv:1502.01852)"""
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", tensor, mode))
    return normal_(tensor, 0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """W Wᵀ = gain² I (or Wᵀ W where there are more rows than columns), evenly over all rotations.

    The Q of G = Q R, G of normal numbers, with the signs that make R's diagonal positive (Saxe et al. 2014,
    arXiv:1312.6120). A tensor (out, in, …) is one matrix (out, in · …).
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ needs at least two axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = (generator or random.default_generator).normal((rows, columns), dtype=np.float64)
    q, r = np.linalg.qr(draw.T if rows < columns else draw)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return write(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through layers; `param` is leaky ReLU's slope (0.01)."""
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: unknown {nonlinearity!r}; there are leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def _fans(function: str, tensor: Any) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ShapeError(f"{function} needs at least two axes (out, in), got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    fans = tensor.shape[1] * field, tensor.shape[0] * field
    if 0 in fans:
        raise ShapeError(f"{function}: shape {tensor.shape} has no elements to initialise")
    return fans


def _fan(function: str, tensor: Any, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{function}: mode is fan_in or fan_out, not {mode!r}")
    return _fans(function, tensor)[mode == "fan_out"]
