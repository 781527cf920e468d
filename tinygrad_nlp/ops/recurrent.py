"""One layer, one direction of a recurrent network over a whole sequence, as one fused node; `nn` stacks them.

The mathematics, with the derivation of back-propagation through time, is in the README of each folder under
`kernels/nlp_kernels/`: rnn, gru, lstm.
"""

from __future__ import annotations

from typing import Any

from nlp_kernels import gru as gru_kernel
from nlp_kernels import lstm as lstm_kernel
from nlp_kernels import rnn as rnn_kernel

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.convert import as_array
from tinygrad_nlp.autograd.devices import beside
from tinygrad_nlp.ops.fused import Fused
from tinygrad_nlp.ops.hot_paths import one_dtype

_rnn = Fused(rnn_kernel, "x h0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5))
_gru = Fused(gru_kernel, "x h0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5))
_lstm = Fused(lstm_kernel, "x h0 c0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5, 6))


def rnn(x: Any, h0: Any, *weights: Any, lengths: Any = None, **hyper: Any) -> tuple[Tensor, ...]:
    """(y, h_n) of x (T, B, I) from h0 (B, H); weights: w_ih, w_hh, b_ih, b_hh; nonlinearity, reverse  (E17)."""
    return _rnn(*_inputs(x, h0, *weights, lengths=lengths), **hyper)


def gru(x: Any, h0: Any, *weights: Any, lengths: Any = None, **hyper: Any) -> tuple[Tensor, ...]:
    """(y, h_n) of x (T, B, I) from h0 (B, H); weights: w_ih, w_hh, b_ih, b_hh; reset_after, reverse  (E24)."""
    return _gru(*_inputs(x, h0, *weights, lengths=lengths), **hyper)


def lstm(x: Any, h0: Any, c0: Any, *weights: Any, lengths: Any = None, **hyper: Any) -> tuple[Tensor, ...]:
    """(y, h_n, c_n) of x (T, B, I) from h0, c0 (B, H); weights: w_ih, w_hh, b_ih, b_hh; reverse  (E25)."""
    return _lstm(*_inputs(x, h0, c0, *weights, lengths=lengths), **hyper)


def _inputs(x: Any, *more: Any, lengths: Any) -> list[Any]:
    """All of one dtype, and the lengths beside x."""
    tensors = one_dtype(x, *more)
    return [*tensors, None if lengths is None else beside(tensors[0].data, as_array(lengths))]
