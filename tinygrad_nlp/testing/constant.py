"""Constant cotangents refused: `f(x).sum().backward()` sees only sums, and misses most wrong gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_nlp.autograd import functional, tensor
from tinygrad_nlp.autograd.check import refuse_constant
from tinygrad_nlp.autograd.convert import to_host


@contextmanager
def refuse_constant_cotangents() -> Iterator[None]:
    """Within this block, `grad`, its family and `backward` raise CheckError for a cotangent of several equal numbers.

    Zeros pass, and so do cotangents that are themselves differentiated, as inside `jvp`.
    """
    original = tensor.cotangent_for

    def checked(y: Any, g: Any) -> Any:
        found = original(y, g)
        values = np.asarray(to_host(found.data))
        if found.node is None and values.any():
            refuse_constant(values, f"the cotangent of an output of shape {y.shape}")
        return found

    tensor.cotangent_for = functional.cotangent_for = checked
    try:
        yield
    finally:
        tensor.cotangent_for = functional.cotangent_for = original
