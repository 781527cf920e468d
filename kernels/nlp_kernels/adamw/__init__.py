"""The AdamW step, a hot path of kind *update*, and its clip factor. Derivation: README.md. Readable: reference.py."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nlp_kernels.adamw import reference
from nlp_kernels.common import check
from nlp_kernels.common.bfloat16 import BFLOAT16, widened
from nlp_kernels.common.cuda import address
from nlp_kernels.dispatch import select
from nlp_kernels.errors import DtypeError

__all__ = ["clip_scale", "reference", "sender", "step", "step_all"]

PIECE = 32768  # entries that the reference steps at a time, in place


def step(
    theta: Any,
    g: Any,
    m: Any,
    v: Any,
    grad_scale: Any = None,
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
    grad_scale: an array of shape () where the others are, as `clip_scale` gives it, that multiplies g first; or None.
    With `out`, often the inputs themselves, the new values are written into its three arrays, which are returned.
    Raises ShapeError, DtypeError, ValueError for t < 1.
    """
    function, arrays = "adamw.step", {"theta": theta, "g": g, "m": m, "v": v}
    if theta.dtype is BFLOAT16:
        raise DtypeError(f"{function}: theta is bfloat16, in which small steps are lost; step a float32 copy of it")
    _check_scale(function, grad_scale, theta)
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
    module = select("adamw", *inputs, grad_scale, **hyper)
    if out is None:
        return module.step(*inputs, grad_scale, **hyper)
    if _takes_out(module.step) and _may_be_written(out, *inputs):
        return module.step(*inputs, grad_scale, **hyper, out=out)
    for piece in _pieces(theta) if module is reference and type(theta) is np.ndarray else (...,):
        new = module.step(*(x[piece] for x in inputs), grad_scale, **hyper)
        for target, values in zip(out, new, strict=True):
            target[piece] = values
    return out


def step_all(parameters: Sequence[tuple[Any, Any, Any, Any]], grad_scale: Any = None, *, t: int, **hyper: Any) -> None:
    """`step` in place for each (theta, g, m, v) of a list, with the same t, grad_scale and hyperparameters.

    One call of a kernel where the backend has one for many parameters and they are C-contiguous and of one dtype: the
    biases of a network are many and small. Raises as `step` does.
    """
    if t >= 1 and parameters:
        first = parameters[0][0]
        module = select("adamw", *parameters[0], grad_scale, t=t, **hyper)
        if hasattr(module, "step_all") and all(_alike(row, first) for row in parameters):
            _check_scale("adamw.step_all", grad_scale, first)
            module.step_all(parameters, grad_scale, t=t, **hyper)
            return
    for theta, g, m, v in parameters:
        step(theta, g, m, v, grad_scale, t=t, **hyper, out=(theta, m, v))


def sender(parameters: Sequence[tuple[Any, Any, Any, Any]]) -> Callable[..., None] | None:
    """What sends t and the hyperparameters to where `step_all` of this list reads them: send(t=…, lr=…, …).

    For whoever captures `step_all` in a CUDA graph, in which no argument changes. None where nothing is read from
    memory: the arguments of each call count.
    """
    first = parameters[0][0]
    module = select("adamw", *parameters[0], None)
    if type(first) is np.ndarray or not hasattr(module, "plan_of") or not all(_alike(row, first) for row in parameters):
        return None
    return module.plan_of(parameters).prepare


def clip_scale(gradients: Sequence[Any], max_norm: float) -> tuple[Any, Any]:
    """‖g‖ over all gradients together, and s = min(1, c/‖g‖), 1 where ‖g‖ is not finite (E22).  -> (norm, scale)

    gradients: at least one array, of any shapes; c `max_norm`. Both results are arrays of shape () where the gradients
    are, so that no GPU is waited for: norm in float64, scale in the gradients' dtype, of several the widest, float32
    for bfloat16. Raises DtypeError.
    """
    for i, g in enumerate(gradients):
        check.floating("adamw.clip_scale", **{f"gradients[{i}]": g})
    gradients = [check.contiguous(widened(g)) for g in gradients]
    module = select("adamw", gradients[0])
    return (module if hasattr(module, "clip_scale") else reference).clip_scale(gradients, max_norm)


def _check_scale(function, grad_scale, theta):
    if grad_scale is not None:
        check.floating(function, theta=theta, grad_scale=grad_scale)
        check.shape(function, "grad_scale", grad_scale, ())


def _alike(row, first):
    """Four arrays of one shape, in C order, of the library and dtype of `first`; all but the gradient writeable."""
    shape, kind, dtype = row[0].shape, type(first), first.dtype
    for x in row:
        if type(x) is not kind or x.shape != shape or x.dtype != dtype or not x.flags.c_contiguous:
            return False
    theta, _, m, v = row
    return kind is not np.ndarray or (theta.flags.writeable and m.flags.writeable and v.flags.writeable)


@functools.cache
def _takes_out(step):
    """A backend writes into `out` if its step has a parameter of this name; the result of any other is copied."""
    return "out" in inspect.signature(step).parameters


def _may_be_written(out, theta, g, m, v):
    """Whether a kernel may write into `out` while it reads: each array is its own input, or none of the inputs."""
    for target, x in zip(out, (theta, m, v), strict=True):
        if target is not x and (
            type(target) is not type(x)
            or not target.flags.c_contiguous
            or any(_overlap(target, other) for other in (theta, g, m, v))
        ):
            return False
    return True


def _overlap(a, b):
    """Whether two C-contiguous arrays have memory in common."""
    return address(a) < address(b) + b.nbytes and address(b) < address(a) + a.nbytes


def _pieces(x):
    """Slices of the first axis: the step is elementwise, and a piece's intermediate results stay in the cache."""
    rows = max(1, PIECE * x.shape[0] // x.size) if x.size and x.ndim else 0
    return [slice(i, i + rows) for i in range(0, x.shape[0], rows)] if rows else [...]
