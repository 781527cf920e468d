"""Anomaly mode: which function, which operand and which line made the first NaN or Inf, or changed a kept array."""

from __future__ import annotations

import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from nlp_kernels.errors import AnomalyError

from tinygrad_nlp.autograd.arrays import is_array, namespace
from tinygrad_nlp.autograd.bfloat16 import is_inexact
from tinygrad_nlp.autograd.node import Node
from tinygrad_nlp.autograd.operators import Operators

_HERE = (
    *(str(Path(sys.modules[name].__file__ or "").parent) + os.sep for name in ("tinygrad_nlp", "nlp_kernels")),
    "<primitive",
)


def check_forward(node: Node | None, function: Any, names: list[str], inputs: Any, outputs: Any) -> None:
    """Note where `node` was made and the checksums of what it keeps; raise if an output is not finite."""
    origin = _caller()
    if node is not None:
        watch = node.watched()
        watch.origin = origin
        watch.checksums = _checksums(node)
    bad = next((what for y in outputs if (what := _not_finite(y))), None)
    if bad is None:
        return
    for name, x in zip(names, inputs, strict=False):
        if what := _not_finite(x):
            raise AnomalyError(f"{function.__name__}: its operand {name} already holds {what}; called at {origin}")
    ranges = ", ".join(f"{n} in {_range(x)}" for n, x in zip(names, inputs, strict=False) if is_array(x) and x.size)
    raise AnomalyError(
        f"{function.__name__}: the result holds {bad}, from finite operands ({ranges}); called at {origin}"
    )


def check_gradient(dx: Any, node: Node, source: Node) -> None:
    """Raise if the gradient that `node` hands to `source` is not finite."""
    if what := _not_finite(getattr(dx, "data", dx) if not is_array(dx) else dx):
        origin = node.watch.origin if node.watch is not None else None
        raise AnomalyError(
            f"{node.function.__name__}: the gradient of its operand {operand(node, source)} holds {what}; "
            f"called at {origin or 'a line recorded outside detect_anomaly()'}"
        )


def check_kept(node: Node) -> None:
    """Raise if an array that `node` kept is no longer what it was."""
    watch = node.watch
    if watch is None or watch.checksums is None:
        return
    if _checksums(node) != watch.checksums:
        raise AnomalyError(
            f"{node.function.__name__}: an array that its gradient needs was changed in place after the forward pass; "
            f"called at {watch.origin}"
        )


def operand(node: Node, source: Node) -> str:
    """The name of the input of `node` that came from `source`."""
    names = getattr(node.function, "names", ())
    return next((names[i] for i, s in enumerate(node.sources) if s is source and i < len(names)), "?")


def _not_finite(x: Any) -> str | None:
    if isinstance(x, float) and not math.isfinite(x):
        return f"the number {x}"
    if not is_array(x) or not is_inexact(x.dtype) or bool(namespace(x).all(namespace(x).isfinite(x))):
        return None
    nans = int(namespace(x).sum(namespace(x).isnan(x)))
    return f"{nans} NaN of {x.size} values" if nans else f"Inf among {x.size} values"


def _range(x: Any) -> str:
    return f"[{float(x.min()):.6g}, {float(x.max()):.6g}]"


def _checksums(node: Node) -> list[int]:
    kept = node.kept if isinstance(node.kept, tuple) else ()
    return [zlib.crc32(np.ascontiguousarray(x).tobytes()) for x in arrays_in(kept) if type(x) is np.ndarray]


def _caller() -> str:
    """`file:line` of the first frame outside the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def arrays_in(kept: Any) -> Any:
    """The arrays in what a node keeps: rules keep a tuple each, fused functions their inputs, checkpoints Tensors."""
    for x in kept:
        if isinstance(x, (tuple, list)):
            yield from arrays_in(x)
        elif isinstance(x, Operators):
            yield x.data
        elif is_array(x):
            yield x
