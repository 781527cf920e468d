"""Sequences of unequal lengths: padded to one array, with their lengths beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from nlp_kernels.errors import DtypeError, ShapeError

from tinygrad_nlp import ops
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.convert import as_array, to_host
from tinygrad_nlp.autograd.explain import explained

__all__ = ["PackedSequence", "pack_padded_sequence", "pad_packed_sequence", "pad_sequence"]


class PackedSequence(NamedTuple):
    """A batch of padded sequences and their lengths, as recurrent layers take and return it."""

    padded: Tensor  # (T, B, ...), or (B, T, ...) if `batch_first`
    lengths: Any  # int64 (B,)
    batch_first: bool = False


@explained
def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences x_b of lengths n_b = `lengths[b]` in one padded array.  (T, B, ...), (B,) -> PackedSequence

    Nothing is copied or sorted: the array is kept with the lengths. Raises ShapeError where they do not fit, IndexError
    for a length outside 1 … T, DtypeError for lengths that are no integers, ValueError for lengths that do not fall
    while `enforce_sorted`.

    >>> rnn.pack_padded_sequence(np.ones((3, 2, 1)), [3, 1]).lengths
    array([3, 1])
    """
    x = input if type(input) is Tensor else Tensor(input)
    n = to_host(as_array(lengths))
    if n.dtype.kind != "i":
        raise DtypeError(f"pack_padded_sequence: lengths are {n.dtype}, expected int32 or int64")
    if x.ndim < 2 or n.shape != (x.shape[0 if batch_first else 1],):
        raise ShapeError(f"pack_padded_sequence: lengths {n.shape} do not fit a batch of shape {x.shape}")
    T = x.shape[1 if batch_first else 0]
    if ((n < 1) | (n > T)).any():
        at = int(np.argmax((n < 1) | (n > T)))
        raise IndexError(f"pack_padded_sequence: sequence {at} has length {n[at]}, expected 1 to {T} steps")
    if enforce_sorted and (np.diff(n) > 0).any():
        raise ValueError("pack_padded_sequence: lengths must not grow unless enforce_sorted=False")
    return PackedSequence(x, n.astype(np.int64), batch_first)


@explained
def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Any]:
    """y_tb = x_tb for t < n_b, else `padding_value`.  PackedSequence -> (T, B, ...), or (B, T, ...); (B,)

    T is the greatest length, or `total_length`. Raises ValueError for a total length below the greatest one, DtypeError
    for what is no PackedSequence.

    >>> x, lengths = rnn.pad_packed_sequence(rnn.pack_padded_sequence(np.ones((3, 2)), [2, 1]), padding_value=7.0)
    >>> x
    Tensor([[1., 1.],
            [1., 7.]], dtype=float64)
    """
    if not isinstance(sequence, PackedSequence):
        raise DtypeError(f"pad_packed_sequence: expected a PackedSequence, got {type(sequence).__name__}")
    x, n = sequence.padded, sequence.lengths
    longest = int(n.max())
    T = longest if total_length is None else total_length
    if longest > T:
        raise ValueError(f"pad_packed_sequence: total_length {T} is less than the longest sequence, {longest}")
    if sequence.batch_first:
        x = ops.permute_dims(x, (1, 0, *range(2, x.ndim)))
    x = x[:T]
    if x.shape[0] < T:
        more = ops.zeros((T - x.shape[0], *x.shape[1:]), dtype=x.dtype, device=x.device)
        x = ops.concat([x, more], axis=0)
    real = (np.arange(T)[:, None] < n).reshape(T, len(n), *(1,) * (x.ndim - 2))
    x = ops.where(Tensor(real).to(x.device), x, padding_value)
    return (ops.permute_dims(x, (1, 0, *range(2, x.ndim))) if batch_first else x), n


@explained
def pad_sequence(sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """x_tb = sequence b at t, `padding_value` after its end.  B times (T_b, ...) -> (T, B, ...), or (B, T, ...)

    T is the greatest T_b. Raises ShapeError for no sequence, and where their other axes differ.

    >>> rnn.pad_sequence([[1.0, 2.0], [3.0]], batch_first=True)
    Tensor([[1., 2.],
            [3., 0.]])
    """
    xs = [x if type(x) is Tensor else Tensor(x) for x in sequences]
    if not xs or any(x.ndim < 1 or x.shape[1:] != xs[0].shape[1:] for x in xs):
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ShapeError(f"pad_sequence needs sequences (T_b, ...) that agree but for T_b, got {shapes or 'none'}")
    T = max(x.shape[0] for x in xs)
    padded = [
        ops.concat([x, ops.full((T - x.shape[0], *x.shape[1:]), padding_value, dtype=x.dtype, device=x.device)])
        for x in xs
    ]
    return ops.stack(padded, axis=0 if batch_first else 1)
