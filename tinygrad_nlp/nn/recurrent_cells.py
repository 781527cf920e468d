"""One step of a recurrent network, in plain operations of the tape: what the fused layers must agree with."""

from __future__ import annotations

import math
from typing import Any

from nlp_kernels.errors import ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.module import Module, parameter


class Cell(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih, bias_hh, and the checks of a step's input."""

    gates = 1
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, device: Any = None, dtype: Any = None):
        super().__init__()
        if hidden_size < 1:
            raise ValueError(f"{type(self).__name__}: hidden_size must be at least 1, not {hidden_size}")
        self.input_size, self.hidden_size, rows = input_size, hidden_size, self.gates * hidden_size
        self.weight_ih = parameter((rows, input_size), device, dtype)
        self.weight_hh = parameter((rows, hidden_size), device, dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, parameter((rows,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _projections(self, x: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """x W_ihᵀ + b_ih and h W_hhᵀ + b_hh, gate by gate, (..., H) each."""
        u, v = F.linear(x, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh)
        return _split(u, self.gates), _split(v, self.gates)

    def _checked(self, input: Any, *states: Any) -> tuple[Tensor, ...]:
        """The input and the states, zeros where they are None."""
        name, x = type(self).__name__, input if type(input) is Tensor else Tensor(input)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{name}: input {x.shape} must be (B, I) or (I,), with I = {self.input_size}")
        shape, checked = (*x.shape[:-1], self.hidden_size), [x]
        for state in states:
            if state is None:
                state = ops.zeros(shape, dtype=self.weight_hh.dtype, device=x.device)
            state = state if type(state) is Tensor else Tensor(state)
            if state.shape != shape:
                raise ShapeError(f"{name}: a state has shape {state.shape}, expected {shape}")
            checked.append(state)
        return tuple(checked)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(Cell):
    """h' = g(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), g tanh or relu  (E17).  (B, I), (B, H) -> (B, H)

    The axis B may be absent; h is 0 unless given. All parameters begin as U(-1/√H, 1/√H). Raises ShapeError where the
    sizes do not fit, ValueError for a size below 1 and for another nonlinearity, DtypeError for a dtype that is not
    floating-point.

    >>> nn.RNNCell(3, 2)(np.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", **more: Any):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: the nonlinearity is tanh or relu, not {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, **more)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        x, h = self._checked(input, hx)
        (u,), (v,) = self._projections(x, h)
        return ops.tanh(u + v) if self.nonlinearity == "tanh" else ops.relu(u + v)


class GRUCell(Cell):
    """h' = (1 - z) ⊙ n + z ⊙ h, n = tanh(u_n + r ⊙ v_n), r, z = σ(u + v)  (E24).  (B, I), (B, H) -> (B, H)

    u = x W_ihᵀ + b_ih, v = h W_hhᵀ + b_hh; with `reset_after=False`, v_n = (r ⊙ h) W_hnᵀ + b_hn is added as it is. The
    axis B may be absent; h is 0 unless given. All parameters begin as U(-1/√H, 1/√H). Raises ShapeError where the sizes
    do not fit, ValueError for a size below 1, DtypeError for a dtype that is not floating-point.

    >>> nn.GRUCell(3, 2)(np.ones((4, 3))).shape
    (4, 2)
    """

    gates = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, reset_after: bool = True, **more: Any):
        super().__init__(input_size, hidden_size, bias, **more)
        self.reset_after = reset_after

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        x, h = self._checked(input, hx)
        (u_r, u_z, u_n), (v_r, v_z, v_n) = self._projections(x, h)
        r, z = ops.sigmoid(u_r + v_r), ops.sigmoid(u_z + v_z)
        if self.reset_after:
            n = ops.tanh(u_n + r * v_n)
        else:
            rows = slice(2 * self.hidden_size, None)
            bias = None if self.bias_hh is None else self.bias_hh[rows]
            n = ops.tanh(u_n + F.linear(r * h, self.weight_hh[rows], bias))
        return (1 - z) * n + z * h


class LSTMCell(Cell):
    """c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh c'; i, f, o = σ(u + v), g = tanh(u + v)  (E25).  (B, I), 2 (B, H) -> 2 (B, H)

    u = x W_ihᵀ + b_ih, v = h W_hhᵀ + b_hh. The axis B may be absent; h and c are 0 unless given, as a pair. All
    parameters begin as U(-1/√H, 1/√H). Raises ShapeError where the sizes do not fit, ValueError for a size below 1,
    DtypeError for a dtype that is not floating-point.

    >>> h, c = nn.LSTMCell(3, 2)(np.ones((4, 3)))
    >>> h.shape, c.shape
    ((4, 2), (4, 2))
    """

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        x, h, c = self._checked(input, *((None, None) if hx is None else hx))
        us, vs = self._projections(x, h)
        a_i, a_f, a_g, a_o = (u + v for u, v in zip(us, vs, strict=True))
        c = ops.sigmoid(a_f) * c + ops.sigmoid(a_i) * ops.tanh(a_g)
        return ops.sigmoid(a_o) * ops.tanh(c), c


def _split(a: Tensor, n: int) -> list[Tensor]:
    """(..., n H) -> n times (..., H)"""
    return list(ops.unstack(ops.reshape(a, (*a.shape[:-1], n, a.shape[-1] // n)), axis=-2))
