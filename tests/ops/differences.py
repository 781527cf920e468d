"""Central differences along random directions: an oracle that shares nothing with the library's own checker."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nlp import Tensor, enable_grad, grad

STEP = 6e-6  # the cube root of float64's rounding, where the errors of (f(x + h v) - f(x - h v)) / 2h balance


def check(f: Any, xs: Any, *, order: int = 2, rtol: float = 1e-5, atol: float = 1e-7, rng: Any) -> None:
    """Assert <v, Jᵀ g> = <g, f(x + h v) - f(x - h v)> / 2h for each input, then the same of Jᵀ g, to the order."""
    _check(f, [np.asarray(x) for x in xs], order, 1, rtol, atol, rng)


def several(ys: Any) -> tuple:
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def _check(f, xs, last, order, rtol, atol, rng):
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    with enable_grad():
        outputs = several(f(*leaves))
    gs = [rng.normal(size=y.shape) for y in outputs]
    live = [i for i, y in enumerate(outputs) if y.requires_grad]
    dxs = [np.zeros(x.shape) for x in xs]
    if live:
        found = grad([outputs[i] for i in live], leaves, [gs[i] for i in live], allow_unused=True)
        dxs = [dx.data for dx in found]
    scale = sum(float(np.abs(y.data * g).sum()) for y, g in zip(outputs, gs, strict=True))
    for i, x in enumerate(xs):
        v = rng.normal(size=x.shape)
        ahead, behind = (_inner(f, [*xs[:i], x + h * v, *xs[i + 1 :]], gs) for h in (STEP, -STEP))
        numeric, exact = (ahead - behind) / (2 * STEP), float((dxs[i] * v).sum())
        if not abs(exact - numeric) <= rtol * max(abs(exact), abs(numeric)) + atol * max(1.0, scale):
            raise AssertionError(
                f"gradient of order {order} by input {i} of shape {x.shape}: along a random direction the rule gives "
                f"{exact:.12g}, finite differences give {numeric:.12g}"
            )
    if order < last and live:

        def pulled_back(*args):
            ys = several(f(*args[: len(xs)]))
            kept = [ys[i] for i in live]
            return grad(kept, args[: len(xs)], args[len(xs) :], create_graph=True, allow_unused=True)

        _check(pulled_back, [*xs, *(gs[i] for i in live)], last, order + 1, rtol, atol, rng)


def _inner(f, xs, gs):
    """<g, f(x)>; with leaves, because f may itself take gradients."""
    ys = several(f(*(Tensor(x, requires_grad=True) for x in xs)))
    return sum(float((y.data * g).sum()) for y, g in zip(ys, gs, strict=True))
