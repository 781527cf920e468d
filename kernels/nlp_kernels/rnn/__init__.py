"""A recurrent layer over a whole sequence, tanh or ReLU. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common.recurrent import checked, checked_cotangents
from nlp_kernels.dispatch import select
from nlp_kernels.rnn import reference

__all__ = ["backward", "forward", "reference"]


def forward(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[tuple[Any, Any], Any]:
    """h_t = g(x_t W_ihᵀ + b_ih + h_{t-1} W_hhᵀ + b_hh), g tanh or relu (E17).  -> ((y, h_n), saved)

    x: (T, B, I), time first; h0: (B, H); w_ih: (H, I); w_hh: (H, H); both biases (H,), or both None; y: (T, B, H) has
    all h_t; h_n: (B, H) the last. Of sequence b the first lengths[b] steps are real, int (B,); the others carry the
    state on, and their y is 0. `reverse` takes the steps from the last to the first.
    Raises ShapeError, DtypeError, IndexError for a length outside 0 … T, ValueError for another nonlinearity.
    """
    inputs, hyper = _checked("rnn.forward", x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity, reverse)
    return select("rnn", *inputs, **hyper).forward(*inputs, **hyper)


def backward(
    dys: tuple[Any, Any],
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    lengths: Any,
    saved: Any,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[Any, ...]:
    """δ_t = (dy_t + δ_{t+1} W_hh) ⊙ g'(a_t), and what follows (E20).  -> (dx, dh0, dw_ih, dw_hh, db_ih, db_hh)

    dys: the cotangents (dy (T, B, H), dh_n (B, H)); inputs as in `forward`; saved: what `forward` returned, or None to
    compute it again. The gradient of a bias that is None is None.
    """
    function = "rnn.backward"
    inputs, hyper = _checked(function, x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity, reverse)
    dys = checked_cotangents(function, x, h0, dy=dys[0], dh_n=dys[1])
    return select("rnn", *inputs, **hyper).backward(dys, *inputs, saved, **hyper)


def _checked(function, x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity, reverse):
    if nonlinearity not in reference.NONLINEARITIES:
        raise ValueError(f"{function}: the nonlinearity is tanh or relu, not {nonlinearity!r}")
    inputs = checked(function, 1, x, {"h0": h0}, (w_ih, w_hh, b_ih, b_hh), lengths)
    return inputs, {"nonlinearity": nonlinearity, "reverse": reverse}
