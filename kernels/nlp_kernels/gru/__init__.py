"""Gated recurrent units over a whole sequence. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.common.recurrent import checked, checked_cotangents
from nlp_kernels.dispatch import select
from nlp_kernels.gru import reference

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
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[tuple[Any, Any], Any]:
    """h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}, gates r, z and candidate n of x_t and h_{t-1} (E24).  -> ((y, h_n), saved)

    x: (T, B, I), time first; h0: (B, H); w_ih: (3 H, I), w_hh: (3 H, H), their rows for r, z, n in this order; both
    biases (3 H,), or both None; y: (T, B, H) has all h_t; h_n: (B, H) the last. r is applied to h_{t-1} W_hnᵀ + b_hn,
    or, unless `reset_after`, to h_{t-1} before the product. Of sequence b the first lengths[b] steps are real, int
    (B,); the others carry the state on, and their y is 0. `reverse` takes the steps from the last to the first.
    Raises ShapeError, DtypeError, IndexError for a length outside 0 … T.
    """
    inputs = _checked("gru.forward", x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    hyper = {"reset_after": reset_after, "reverse": reverse}
    return select("gru", *inputs, **hyper).forward(*inputs, **hyper)


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
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[Any, ...]:
    """δ of the gates and the candidate, the last step first (E20).  -> (dx, dh0, dw_ih, dw_hh, db_ih, db_hh)

    dys: the cotangents (dy (T, B, H), dh_n (B, H)); inputs as in `forward`; saved: what `forward` returned, or None to
    compute it again. The gradient of a bias that is None is None.
    """
    inputs = _checked("gru.backward", x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    dys = checked_cotangents("gru.backward", x, h0, dy=dys[0], dh_n=dys[1])
    hyper = {"reset_after": reset_after, "reverse": reverse}
    return select("gru", *inputs, **hyper).backward(dys, *inputs, saved, **hyper)


def _checked(function, x, h0, w_ih, w_hh, b_ih, b_hh, lengths):
    return checked(function, 3, x, {"h0": h0}, (w_ih, w_hh, b_ih, b_hh), lengths)
