"""The one place where PyTorch's attention masks become the kernels' `keep` (True = may attend)."""

from __future__ import annotations

from typing import Any

from nlp_kernels.errors import DtypeError

from tinygrad_nlp.autograd.arrays import namespace
from tinygrad_nlp.autograd.bfloat16 import is_floating
from tinygrad_nlp.autograd.tensor import as_array


def keep_of(name: str, mask: Any, *, true_attends: bool) -> Any:
    """A boolean mask, or a float one of 0 (may attend) and -inf (must not), as `keep`; None stays None.

    PyTorch has two polarities: True means "may attend" to `scaled_dot_product_attention` and "must not" to
    `MultiheadAttention`. Raises DtypeError for integers and for floats that are not masks.
    """
    if mask is None:
        return None
    mask = as_array(mask)
    if mask.dtype.kind == "b":
        return mask if true_attends else ~mask
    if not is_floating(mask.dtype):
        raise DtypeError(f"{name} is {mask.dtype}: a mask is bool, or float with only 0 and -inf")
    xp = namespace(mask)
    keep = mask == 0
    if not bool(xp.all(keep | (mask == -xp.inf))):
        raise DtypeError(
            f"{name} is added to the scores only where it is 0 or -inf (a mask); other biases are not taken"
        )
    return keep


def causal_keep(like: Any, T: int, S: int) -> Any:
    """Query i sees keys j <= i, counted from the first query and the first key as PyTorch does.  -> bool (T, S)"""
    xp = namespace(like)
    return xp.tril(xp.ones((T, S), dtype=xp.bool, device=like.device))


def both(a: Any, b: Any) -> Any:
    """Allowed by both masks; None allows everything."""
    return b if a is None else a if b is None else a & b
