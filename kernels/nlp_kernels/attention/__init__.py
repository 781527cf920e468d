"""Masked scaled dot-product attention. Derivation: README.md. Readable: reference.py."""

from typing import Any

from nlp_kernels.attention import reference
from nlp_kernels.common import check
from nlp_kernels.common.xp import array_namespace
from nlp_kernels.dispatch import select
from nlp_kernels.errors import ShapeError

__all__ = ["backward", "forward", "reference"]

Dropout = tuple[float, int, int] | None  # (p, seed, offset)


def forward(
    q: Any,
    k: Any,
    v: Any,
    keep: Any = None,
    key_lengths: Any = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    dropout: Dropout = None,
) -> tuple[Any, Any]:
    """O = softmax(scale Q Kᵀ) V over the keys each query may see (E34, E35, E36).  -> (o, saved)

    q: (B, H, T, D); k: (B, KH, S, D); v: (B, KH, S, Dv); o: (B, H, T, Dv). H is a multiple of KH: head h of the queries
    reads head h // (H // KH) of keys and values. A query sees key j where `keep`, bool, broadcastable to (B, H, T, S),
    is True, and j < key_lengths[b], int (B,), and, if `causal`, j <= i + (S - T): the last query sees the last key. A
    query that sees no key gives zeros. `scale` is 1/√D unless given;
    `dropout=(p, seed, offset)` keeps weight n of (B, H, T, S) where Philox(seed, offset + n) says so, times 1/(1-p).
    Raises ShapeError, DtypeError, IndexError for a length outside 0 … S, ValueError for p outside [0, 1).
    """
    inputs, hyper = _checked("attention.forward", q, k, v, keep, key_lengths, causal, scale, dropout)
    return select("attention", *inputs, **hyper).forward(*inputs, **hyper)


def backward(
    do: Any,
    q: Any,
    k: Any,
    v: Any,
    keep: Any,
    key_lengths: Any,
    saved: Any,
    *,
    causal: bool = False,
    scale: float | None = None,
    dropout: Dropout = None,
) -> tuple[Any, Any, Any]:
    """dS = P ⊙ (dP - rowsum(dO ⊙ O)); dQ = scale dS K, dK = scale dSᵀ Q, dV = Pᵀ dO.  -> (dq, dk, dv)

    do: (B, H, T, Dv); inputs as in `forward`; saved: what `forward` returned, or None to compute it again.
    """
    function = "attention.backward"
    inputs, hyper = _checked(function, q, k, v, keep, key_lengths, causal, scale, dropout)
    check.floating(function, q=q, do=do)
    check.shape(function, "do", do, (*q.shape[:3], v.shape[3]))
    return select("attention", *inputs, **hyper).backward(check.rows(do), *inputs, saved, **hyper)


def _checked(function, q, k, v, keep, key_lengths, causal, scale, dropout):
    check.floating(function, q=q, k=k, v=v)
    check.shape(function, "q", q, ("B", "H", "T", "D"))
    B, H, T, D = q.shape
    check.shape(function, "k", k, (B, "KH", "S", D))
    KH, S = k.shape[1:3]
    check.shape(function, "v", v, (B, KH, S, "Dv"))
    if KH != H and (not KH or not H or H % KH):
        raise ShapeError(f"{function}: q has {H} heads and k {KH}; those of q must be a multiple of those of k")
    if keep is not None:
        check.boolean(function, "keep", keep)
        padded = (1,) * (4 - len(keep.shape)) + tuple(keep.shape)
        if len(padded) != 4 or any(m not in (1, n) for m, n in zip(padded, (B, H, T, S), strict=True)):
            raise ShapeError(
                f"{function}: keep has shape {tuple(keep.shape)}, not broadcastable to (B, H, T, S) = {(B, H, T, S)}"
            )
        keep = array_namespace(q, keep).reshape(keep, padded)
    if key_lengths is not None:
        check.shape(function, "key_lengths", key_lengths, (B,))
        check.indices(function, f"key_lengths (0 to {S})", key_lengths, S + 1)
    if dropout is not None:
        p, seed, offset = dropout
        if not 0 <= p < 1:
            raise ValueError(f"{function}: the probability to drop must lie in [0, 1), not {p}")
        dropout = (p, seed, offset) if p else None
    inputs = *map(check.rows, (q, k, v)), check.contiguous(keep), check.contiguous(key_lengths)
    return inputs, {"causal": causal, "scale": scale, "dropout": dropout}
