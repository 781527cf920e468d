"""Finite-difference checks: a random direction, a random cotangent, to any order  (E60)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nlp.autograd.functional import grad
from tinygrad_nlp.autograd.modes import enable_grad
from tinygrad_nlp.autograd.tensor import Tensor

STEP = 6e-6  # the cube root of float64's rounding, where the errors of (f(x + h) - f(x - h)) / 2h balance


def check_grads(
    f: Callable,
    inputs: Sequence[Any],
    *,
    order: int = 2,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    rng: np.random.Generator | None = None,
) -> None:
    """Assert <v, J^T g> = (<g, f(x + h v)> - <g, f(x - h v)>) / 2h + O(h^2) for each input, then for J^T g itself.

    `v` and `g` are random: a constant cotangent, as in f(x).sum(), is blind to most wrong gradients. Everything is
    computed in float64. Raises AssertionError naming the input, the order and both values.
    """
    _check(f, [np.asarray(x, np.float64) for x in inputs], order, order, rtol, atol, rng or np.random.default_rng(0))


def _check(f, xs, order, orders, rtol, atol, rng) -> None:
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    with enable_grad():
        outputs = _several(f(*leaves))
    gs = [rng.normal(size=y.shape) for y in outputs]
    used = [(y, g) for y, g in zip(outputs, gs, strict=True) if y.node is not None]
    exact = grad([y for y, _ in used], leaves, [g for _, g in used], allow_unused=True) if used else leaves
    for i, x in enumerate(xs):
        v = rng.normal(size=x.shape)

        def along(step, i=i, v=v):
            ys = _several(f(*(Tensor(z + step * v if j == i else z, requires_grad=True) for j, z in enumerate(xs))))
            return sum(float((y.data * g).sum()) for y, g in zip(ys, gs, strict=True))

        numeric = (along(STEP) - along(-STEP)) / (2 * STEP)
        ours = float((exact[i].data * v).sum()) if used else 0.0
        scale = sum(float(np.abs(y.data * g).sum()) for y, g in zip(outputs, gs, strict=True))
        if not abs(ours - numeric) <= rtol * max(abs(ours), abs(numeric)) + atol * max(1.0, scale):
            raise AssertionError(
                f"gradient of order {orders - order + 1} by input {i} of shape {x.shape}: along a random direction the "
                f"rule gives {ours:.12g}, finite differences give {numeric:.12g}"
            )
    if order > 1 and used:

        def pulled_back(*args):
            primals = args[: len(xs)]
            ys = [y for y in _several(f(*primals)) if y.node is not None]
            return grad(ys, primals, args[len(xs) :], create_graph=True, allow_unused=True)

        _check(pulled_back, [*xs, *(g for _, g in used)], order - 1, orders, rtol, atol, rng)


def _several(ys: Any) -> tuple:
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)
