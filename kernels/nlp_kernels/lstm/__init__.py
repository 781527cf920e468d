"""Long short-term memory over a whole sequence. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common.recurrent import checked, checked_cotangents
from nlp_kernels.dispatch import select
from nlp_kernels.lstm import reference

__all__ = ["backward", "forward", "reference"]


def forward(
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
) -> tuple[tuple[Any, Any, Any], Any]:
    """c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t, h_t = o_t ⊙ tanh c_t, gates of x_t and h_{t-1} (E25).  -> ((y, h_n, c_n), saved)

    x: (T, B, I), time first; h0, c0: (B, H); w_ih: (4 H, I), w_hh: (4 H, H), their rows for i, f, g, o in this order;
    both biases (4 H,), or both None; y: (T, B, H) has all h_t; h_n, c_n: (B, H) the last. Of sequence b the first
    lengths[b] steps are real, int (B,); the others carry the state on, and their y is 0. `reverse` takes the steps
    from the last to the first. Raises ShapeError, DtypeError, IndexError for a length outside 0 … T.
    """
    inputs = _checked("lstm.forward", x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
    return select("lstm", *inputs, reverse=reverse).forward(*inputs, reverse=reverse)


def backward(
    dys: tuple[Any, Any, Any],
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    lengths: Any,
    saved: Any,
    *,
    reverse: bool = False,
) -> tuple[Any, ...]:
    """δ of the four gates, from the last step to the first (E20).  -> (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh)

    dys: the cotangents (dy (T, B, H), dh_n (B, H), dc_n (B, H)); inputs as in `forward`; saved: what `forward`
    returned, or None to compute it again. The gradient of a bias that is None is None.
    """
    inputs = _checked("lstm.backward", x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
    dys = checked_cotangents("lstm.backward", x, h0, dy=dys[0], dh_n=dys[1], dc_n=dys[2])
    return select("lstm", *inputs, reverse=reverse).backward(dys, *inputs, saved, reverse=reverse)


def _checked(function, x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths):
    return checked(function, 4, x, {"h0": h0, "c0": c0}, (w_ih, w_hh, b_ih, b_hh), lengths)
