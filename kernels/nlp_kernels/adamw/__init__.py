"""The AdamW step, a hot path of kind *update*. Derivation: README.md. Readable: reference.py."""

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from nlp_kernels.adamw import reference
from nlp_kernels.common import check
from nlp_kernels.dispatch import select

__all__ = ["reference", "step", "step_all"]

PIECE = 32768  # entries that the reference steps at a time, in place


def step(
    theta: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool = True,
    out: tuple[Any, Any, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """θ ← θ - η (m̂ / (√v̂ + ε) + λθ), m and v the running means of g and g² (E55).  -> (theta, m, v)

    Arrays of any one shape; the step number t counts from 1. `decoupled=False` adds λθ to g instead (Adam with L2).
    With `out`, often the inputs themselves, the new values are written into its three arrays, which are returned.
    Raises ShapeError, DtypeError, ValueError for t < 1.
    """
    function, arrays = "adamw.step", {"theta": theta, "g": g, "m": m, "v": v}
    if out is not None:
        written = zip(out, (theta, m, v), strict=True)
        arrays |= {f"out[{i}]": target for i, (target, x) in enumerate(written) if target is not x}
    check.floating(function, **arrays)
    shape = theta.shape
    for name, x in arrays.items():
        check.shape(function, name, x, shape)
    if t < 1:
        raise ValueError(f"{function}: t is {t}, but steps count from 1")
    inputs = tuple(map(check.contiguous, (theta, g, m, v)))
    hyper = {"t": t, "lr": lr, "beta1": beta1, "beta2": beta2}
    hyper |= {"eps": eps, "weight_decay": weight_decay, "decoupled": decoupled}
    module = select("adamw", *inputs, **hyper)
    if out is None:
        return module.step(*inputs, **hyper)
    if _takes_out(module.step) and _may_be_written(out, *inputs):
        return module.step(*inputs, **hyper, out=out)
    for piece in _pieces(theta) if module is reference and type(theta) is np.ndarray else (...,):
        new = module.step(*(x[piece] for x in inputs), **hyper)
        for target, values in zip(out, new, strict=True):
            target[piece] = values
    return out


def step_all(parameters: Sequence[tuple[Any, Any, Any, Any]], *, t: int, **hyper: Any) -> None:
    """`step` in place for each (theta, g, m, v) of a list, with the same t and hyperparameters.

    One call of a kernel where the backend has one for many parameters and they are C-contiguous and of one dtype: the
    biases of a network are many and small. Raises as `step` does.
    """
    if t >= 1 and parameters:
        module = select("adamw", *parameters[0], t=t, **hyper)
        if hasattr(module, "step_all") and all(_alike(row, parameters[0][0].dtype) for row in parameters):
            module.step_all(parameters, t=t, **hyper)
            return
    for theta, g, m, v in parameters:
        step(theta, g, m, v, t=t, **hyper, out=(theta, m, v))


def _alike(row, dtype):
    """Four arrays of one shape and this dtype, in C order, of which all but the gradient may be written."""
    shape = row[0].shape
    for x in row:
        if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype or not x.flags.c_contiguous:
            return False
    theta, _, m, v = row
    return theta.flags.writeable and m.flags.writeable and v.flags.writeable


@functools.cache
def _takes_out(step):
    """A backend writes into `out` if its step has a parameter of this name; the result of any other is copied."""
    return "out" in inspect.signature(step).parameters


def _may_be_written(out, theta, g, m, v):
    """Whether a kernel may write into `out` while it reads: each array is its own input, or none of the inputs."""
    for target, x in zip(out, (theta, m, v), strict=True):
        if target is not x and (
            type(target) is not np.ndarray
            or not target.flags.c_contiguous
            or any(np.may_share_memory(target, other) for other in (theta, g, m, v))
        ):
            return False
    return True


def _pieces(x):
    """Slices of the first axis: the step is elementwise, and a piece's intermediate results stay in the cache."""
    rows = max(1, PIECE * x.shape[0] // x.size) if x.size and x.ndim else 0
    return [slice(i, i + rows) for i in range(0, x.shape[0], rows)] if rows else [...]
