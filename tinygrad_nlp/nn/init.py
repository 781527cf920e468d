"""Initial values, written in place and drawn from the library's generator (or `generator=`); the tensor is returned.

`fan_in` and `fan_out` of a weight (out, in, …) are `in` and `out` times the size of what follows. The examples show
what does not depend on the draw.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp import random
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.bfloat16 import compute_dtype, is_floating
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.nn.loading import write
from tinygrad_nlp.random import Generator


@explained
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ U[a, b).  (...) -> (...)

    Raises ValueError for a > b, DtypeError for what is no floating-point Tensor and bounds that are no numbers.

    >>> init.uniform_(tn.zeros(2), 3.0, 3.0)
    Tensor([3., 3.])
    """
    _floating(tensor)
    dtype = compute_dtype(tensor.dtype)
    return write(tensor, (generator or random.default_generator).uniform(tensor.shape, a, b, dtype=dtype))


@explained
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ N(mean, std²).  (...) -> (...)

    Raises ValueError for a negative `std`, DtypeError for what is no floating-point Tensor and moments that are no
    numbers.

    >>> init.normal_(tn.zeros(2), 3.0, std=0.0)
    Tensor([3., 3.])
    """
    _floating(tensor)
    dtype = compute_dtype(tensor.dtype)
    return write(tensor, (generator or random.default_generator).normal(tensor.shape, mean, std, dtype=dtype))


@explained
def constant_(tensor: Tensor, val: float) -> Tensor:
    """w = val.  (...) -> (...)

    Raises DtypeError for what is no Tensor and a value that is no number.

    >>> init.constant_(tn.zeros(2), 0.5)
    Tensor([0.5, 0.5])
    """
    if not isinstance(val, (int, float, np.number)):
        raise DtypeError(f"val is {type(val).__name__}, not a number")
    return write(tensor, val)


@explained
def zeros_(tensor: Tensor) -> Tensor:
    """w = 0.  (...) -> (...)

    Raises DtypeError for what is no Tensor.

    >>> init.zeros_(tn.ones(2))
    Tensor([0., 0.])
    """
    return write(tensor, 0)


@explained
def ones_(tensor: Tensor) -> Tensor:
    """w = 1.  (...) -> (...)

    Raises DtypeError for what is no Tensor.

    >>> init.ones_(tn.zeros(2))
    Tensor([1., 1.])
    """
    return write(tensor, 1)


@explained
def eye_(tensor: Tensor) -> Tensor:
    """w_ij = 1[i = j], the identity initialisation of E23.  (N, M) -> (N, M)

    Raises ShapeError for what is no matrix, DtypeError for what is no floating-point Tensor.

    >>> init.eye_(tn.zeros((2, 3)))
    Tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    _floating(tensor)
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a matrix, got shape {tensor.shape}")
    return write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


@explained
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ U(-a, a), a = gain √(6 / (fan_in + fan_out))  (Glorot and Bengio 2010).  (out, in, ...) -> (out, in, ...)

    Raises ShapeError for fewer than two axes and for no elements, ValueError for a negative gain, DtypeError for what
    is no floating-point Tensor.

    >>> bool(np.abs(init.xavier_uniform_(tn.zeros((4, 2))).data).max() <= 1)
    True
    """
    a = gain * math.sqrt(6 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -a, a, generator)


@explained
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """w ~ N(0, gain² · 2 / (fan_in + fan_out))  (Glorot and Bengio 2010).  (out, in, ...) -> (out, in, ...)

    Raises ShapeError for fewer than two axes and for no elements, ValueError for a negative gain, DtypeError for what
    is no floating-point Tensor.

    >>> init.xavier_normal_(tn.zeros((1, 2)), gain=0.0)
    Tensor([[0., 0.]])
    """
    return normal_(tensor, 0, gain * math.sqrt(2 / sum(_fans("xavier_normal_", tensor))), generator)


@explained
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """w ~ U(-b, b), b = gain √(3 / fan)  (He et al. 2015, arXiv:1502.01852).  (out, in, ...) -> (out, in, ...)

    The gain is that of `calculate_gain`, `a` leaky ReLU's slope. Raises ShapeError for fewer than two axes and for no
    elements, ValueError for another mode or nonlinearity, DtypeError for what is no floating-point Tensor.

    >>> bool(np.abs(init.kaiming_uniform_(tn.zeros((4, 6))).data).max() <= 1)
    True
    """
    b = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan("kaiming_uniform_", tensor, mode))
    return uniform_(tensor, -b, b, generator)


@explained
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """w ~ N(0, gain² / fan)  (He et al. 2015, arXiv:1502.01852).  (out, in, ...) -> (out, in, ...)

    The gain is that of `calculate_gain`, `a` leaky ReLU's slope. Raises ShapeError for fewer than two axes and for no
    elements, ValueError for another mode or nonlinearity, DtypeError for what is no floating-point Tensor.

    >>> init.kaiming_normal_(tn.zeros((4, 6)), nonlinearity="relu").shape
    (4, 6)
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", tensor, mode))
    return normal_(tensor, 0, std, generator)


@explained
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """W Wᵀ = gain² I (or Wᵀ W where there are more rows than columns), evenly over all rotations.

    The Q of G = Q R, G of normal numbers, with the signs that make R's diagonal positive (Saxe et al. 2014,
    arXiv:1312.6120). (out, in, ...) -> (out, in, ...), one matrix (out, in · …). Raises ShapeError for fewer than two
    axes, DtypeError for what is no floating-point Tensor and a gain that is no number.

    >>> w = init.orthogonal_(tn.zeros((2, 3))).data
    >>> np.allclose(w @ w.T, np.eye(2), atol=1e-6)
    True
    """
    _floating(tensor)
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ needs at least two axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = (generator or random.default_generator).normal((rows, columns), dtype=np.float64)
    q, r = np.linalg.qr(draw.T if rows < columns else draw)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return write(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))


@explained
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through layers: √(2 / (1 + s²)) of leaky ReLU.  name -> gain

    s is `param`, 0.01 unless said; the others have none. Raises ValueError for an unknown name, DtypeError for a slope
    that is no number.

    >>> init.calculate_gain("tanh")
    1.6666666666666667
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: unknown {nonlinearity!r}; there are leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def _floating(tensor: Any) -> None:
    if not isinstance(tensor, Tensor) or not is_floating(tensor.dtype):
        given = f"a Tensor of {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise DtypeError(f"initial values are written into a floating-point Tensor, not {given}")


def _fans(function: str, tensor: Any) -> tuple[int, int]:
    _floating(tensor)
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
