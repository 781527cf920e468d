"""Recurrent layers over whole sequences: stacked, in both directions, with lengths.  PyTorch's names and numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.bfloat16 import is_floating
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn import init
from tinygrad_nlp.nn.module import Module, parameter
from tinygrad_nlp.nn.utils.rnn import PackedSequence
from tinygrad_nlp.ops import recurrent


class Recurrent(Module):
    """What RNN, GRU and LSTM share: parameters by PyTorch's names, layers and directions, lengths, dropout."""

    gates = 1  # of H rows each in a weight
    states = 1  # that are carried from step to step

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        same_mask: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        name = type(self).__name__
        if hidden_size < 1 or num_layers < 1:
            raise ValueError(f"{name}: hidden_size {hidden_size} and num_layers {num_layers} must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"{name}: dropout must be in [0, 1), got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.same_mask = same_mask
        self._directions = ("", "_reverse") if bidirectional else ("",)
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            inputs = hidden_size * len(self._directions) if layer else input_size
            for direction in self._directions:
                end = f"l{layer}{direction}"
                setattr(self, f"weight_ih_{end}", parameter((rows, inputs), device, dtype))
                setattr(self, f"weight_hh_{end}", parameter((rows, hidden_size), device, dtype))
                for kind in ("bias_ih", "bias_hh") if bias else ():
                    setattr(self, f"{kind}_{end}", parameter((rows,), device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Any, Any]:
        """(output, state): the last layer's h of all steps, and the final states of all layers and directions."""
        packed = input if isinstance(input, PackedSequence) else None
        if packed is not None:
            if lengths is not None:
                raise ValueError(f"{self._name}: a PackedSequence has its lengths; give no others")
            input, lengths = packed.padded, packed.lengths
        batch_first = packed.batch_first if packed is not None else self.batch_first
        x, batched = self._time_first(input, batch_first)
        lengths = self._checked_lengths(lengths, x.shape)
        initial = self._initial(hx, x, batched)
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            x = self._dropped(x) if layer else x
            ys = []
            for direction in self._directions:
                first = [state[len(last)] for state in initial]
                y, *final = self._layer(x, first, self._weights(f"l{layer}{direction}"), lengths, direction != "")
                ys.append(y)
                last.append(final)
            x = ys[0] if len(ys) == 1 else ops.concat(ys, axis=-1)
        finals = [ops.stack([final[i] for final in last]) for i in range(self.states)]
        if not batched:
            x, finals = x[:, 0], [state[:, 0] for state in finals]
        elif batch_first:
            x = ops.permute_dims(x, (1, 0, 2))
        output = x if packed is None else PackedSequence(x, packed.lengths, batch_first)
        return output, finals[0] if self.states == 1 else tuple(finals)

    def _layer(self, x: Tensor, first: list, weights: list, lengths: Any, reverse: bool) -> Any:
        """(y, final states) of one layer in one direction."""
        raise NotImplementedError

    def _weights(self, end: str) -> list[Tensor | None]:
        names = [f"{kind}_{end}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return [getattr(self, name, None) for name in names]

    def _dropped(self, x: Tensor) -> Tensor:
        """Dropout between layers; with `same_mask` every step of a sequence loses the same units."""
        p = self.dropout if self.training else 0.0
        if not p or not self.same_mask:
            return F.dropout(x, p)
        ones = ops.ones((1, *x.shape[1:]), dtype=x.dtype, device=x.device)
        return x * F.dropout(ones, p)

    def _time_first(self, input: Any, batch_first: bool) -> tuple[Tensor, bool]:
        """The input as (T, B, I), and whether it had a batch axis."""
        x = input if type(input) is Tensor else Tensor(input)
        x = x if is_floating(x.dtype) else ops.astype(x, self.weight_hh_l0.dtype)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            order = "(B, T, I)" if batch_first else "(T, B, I)"
            raise ShapeError(f"{self._name}: input {x.shape} must be {order} or (T, I), with I = {self.input_size}")
        batched = x.ndim == 3
        if not batched:
            x = ops.expand_dims(x, axis=1)
        elif batch_first:
            x = ops.permute_dims(x, (1, 0, 2))
        if not x.shape[0]:
            raise ShapeError(f"{self._name}: input {input.shape} has no step")
        return x, batched

    def _checked_lengths(self, lengths: Any, shape: tuple[int, ...]) -> Any:
        if lengths is None:
            return None
        T, B, _ = shape
        n = as_array(lengths)
        if n.dtype.kind != "i":
            raise DtypeError(f"{self._name}: lengths are {n.dtype}, expected int32 or int64")
        if n.shape != (B,):
            raise ShapeError(f"{self._name}: lengths have shape {n.shape}, expected {(B,)}, one for each sequence")
        wrong = (n < 1) | (n > T) if type(n) is np.ndarray else np.zeros(B, bool)  # looking would stall a GPU
        if wrong.any():
            at = int(np.argmax(wrong))
            raise IndexError(f"{self._name}: sequence {at} has length {int(n[at])}, expected 1 to {T} steps")
        return n

    def _initial(self, hx: Any, x: Tensor, batched: bool) -> list[Tensor]:
        """The initial states (layers · directions, B, H): those given, or zeros."""
        shape = (self.num_layers * len(self._directions), x.shape[1], self.hidden_size)
        if hx is None:
            zeros = ops.zeros(shape, dtype=x.dtype, device=x.device)
            return [zeros] * self.states
        given = (hx,) if self.states == 1 else tuple(hx)
        if len(given) != self.states:
            raise ValueError(f"{self._name}: hx holds {len(given)} states, expected (h_0, c_0)")
        states = []
        for state in given:
            state = state if type(state) is Tensor else Tensor(state)
            expected = shape if batched else (shape[0], shape[2])
            if state.shape != expected:
                raise ShapeError(f"{self._name}: an initial state has shape {state.shape}, expected {expected}")
            states.append(state if batched else ops.expand_dims(state, axis=1))
        return states

    @property
    def _name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        default = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        said = [f"{name}={value}" for name in default if (value := getattr(self, name)) != default[name]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *said])


class RNN(Recurrent):
    """h_t = g(x_t W_ihᵀ + b_ih + h_(t-1) W_hhᵀ + b_hh), g tanh or relu  (E17, E20, E26, E27).

    input (T, B, I), or (B, T, I) if `batch_first`, or (T, I); hx (layers · directions, B, H), zeros unless given
    -> output (T, B, directions · H), the last layer's h_t; state (layers · directions, B, H), each h of the last step.
    A PackedSequence gives one. Of sequence b the first `lengths[b]` steps count, an output after them is 0. `dropout`
    falls on what goes from layer to layer, with `same_mask` on the same units at every step. All parameters begin as
    U(-1/√H, 1/√H). Raises ShapeError where shapes do not fit or there is no step, DtypeError for lengths that are no
    integers and a dtype that is not floating-point, IndexError for a length outside 1 … T, ValueError for sizes below
    1, a dropout outside [0, 1), another nonlinearity, and lengths beside a PackedSequence.

    >>> output, h_n = nn.RNN(3, 2)(np.ones((5, 4, 3)), lengths=[5, 1, 2, 3])
    >>> output.shape, h_n.shape
    ((5, 4, 2), (1, 4, 2))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **more: Any,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: the nonlinearity is tanh or relu, not {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **more)
        self.nonlinearity = nonlinearity

    def _layer(self, x: Tensor, first: list, weights: list, lengths: Any, reverse: bool) -> Any:
        return recurrent.rnn(x, *first, *weights, lengths=lengths, nonlinearity=self.nonlinearity, reverse=reverse)


class GRU(Recurrent):
    """h_t = (1 - z) ⊙ n + z ⊙ h_(t-1), n = tanh(x_t W_inᵀ + b_in + r ⊙ (h_(t-1) W_hnᵀ + b_hn))  (E24).

    r, z = σ(x_t W_ihᵀ + b_ih + h_(t-1) W_hhᵀ + b_hh), their own rows; the notes' Γ_u is 1 - z. `reset_after=False`
    puts the reset before the product: n = tanh(… + (r ⊙ h_(t-1)) W_hnᵀ + b_hn). Arguments, shapes and errors are
    those of RNN: input (T, B, I), hx (layers · directions, B, H) -> output (T, B, directions · H), state. All
    parameters begin as U(-1/√H, 1/√H). Raises ShapeError where shapes do not fit or there is no step, DtypeError for
    lengths that are no integers and a dtype that is not floating-point, IndexError for a length outside 1 … T,
    ValueError for sizes below 1, a dropout outside [0, 1), and lengths beside a PackedSequence.

    >>> output, h_n = nn.GRU(3, 2, bidirectional=True)(np.ones((5, 4, 3)))
    >>> output.shape, h_n.shape
    ((5, 4, 4), (2, 4, 2))
    """

    gates = 3

    def __init__(self, *args: Any, reset_after: bool = True, **more: Any):
        super().__init__(*args, **more)
        self.reset_after = reset_after

    def _layer(self, x: Tensor, first: list, weights: list, lengths: Any, reverse: bool) -> Any:
        return recurrent.gru(x, *first, *weights, lengths=lengths, reset_after=self.reset_after, reverse=reverse)


class LSTM(Recurrent):
    """c_t = f ⊙ c_(t-1) + i ⊙ g, h_t = o ⊙ tanh c_t; i, f, o = σ(·), g = tanh(·) of W_ih x_t + W_hh h_(t-1) + b  (E25).

    Arguments, shapes and errors are those of RNN, but for two states: input (T, B, I), hx = (h_0, c_0), each
    (layers · directions, B, H) -> output (T, B, directions · H), (h_n, c_n). All parameters begin as U(-1/√H, 1/√H);
    with `forget_bias`, the biases of the forget gate add up to it. Raises ShapeError where shapes do not fit or there
    is no step, DtypeError for lengths that are no integers and a dtype that is not floating-point, IndexError for a
    length outside 1 … T, ValueError for sizes below 1, a dropout outside [0, 1), another number of states, lengths
    beside a PackedSequence, and a forget bias without biases.

    >>> output, (h_n, c_n) = nn.LSTM(3, 2, num_layers=2, forget_bias=1.0)(np.ones((5, 4, 3)))
    >>> output.shape, h_n.shape, c_n.shape
    ((5, 4, 2), (2, 4, 2), (2, 4, 2))
    """

    gates, states = 4, 2

    def __init__(self, *args: Any, forget_bias: float | None = None, **more: Any):
        self.forget_bias = forget_bias  # which drawing the initial values asks for
        super().__init__(*args, **more)
        if forget_bias is not None and not self.bias:
            raise ValueError("LSTM: forget_bias needs bias=True")

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        super().reset_parameters()
        forget = slice(self.hidden_size, 2 * self.hidden_size)
        for name, p in self.named_parameters() if self.forget_bias is not None else ():
            if name.startswith("bias"):
                p.data[forget] = self.forget_bias if name.startswith("bias_ih") else 0

    def _layer(self, x: Tensor, first: list, weights: list, lengths: Any, reverse: bool) -> Any:
        return recurrent.lstm(x, *first, *weights, lengths=lengths, reverse=reverse)
