"""The training loop, one step at a time; whoever iterates decides when to evaluate, save and stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp.nn import Module
from tinygrad_nlp.optim import Optimizer, clip_scale


class DivergedError(UserError):
    """A loss or gradient that is not finite, and the step at which it came."""

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Step:
    """What one step did: the loss before its update, the norm of the gradient before clipping, and the time it took."""

    number: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


def training_steps(
    model: Module,
    optimizer: Optimizer,
    batch_loss: Callable[[], Any],
    schedule: Callable[[int], float],
    *,
    first: int,
    last: int,
    clip: float = 0.0,
) -> Iterator[Step]:
    """Steps `first … last` of θ ← θ − update(clip(∂L/∂θ), η_t) for any model, optimiser (E55) and loss.

    `batch_loss()` draws a batch and returns its loss; `schedule(t)` is the learning rate of step t, counted from 1
    (E55b); `clip` bounds the norm of the whole gradient (E22), 0 leaves it. A loss or gradient that is not finite
    raises `DivergedError`, a `UserError`, before it reaches the weights.
    """
    parameters = list(model.parameters())
    for number in range(first, last + 1):
        began = time.perf_counter()
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = schedule(number)
        optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"):  # divergence gets one answer, below
            loss = batch_loss()
            loss.backward()
            norm, scale = clip_scale(parameters, clip or math.inf)
        refuse_divergence(number, loss=float(loss.item()), gradient=float(norm))
        optimizer.step(grad_scale=scale)
        yield Step(number, float(loss.item()), schedule(number), float(norm), time.perf_counter() - began)


def refuse_divergence(step: int, **values: float) -> None:
    """Raise `DivergedError` when one of the values is NaN or infinite."""
    if not all(map(math.isfinite, values.values())):
        what = " and ".join(f"{name} {value}" for name, value in values.items())
        remedy = "begin again with a smaller --lr or a longer --warmup"
        raise DivergedError(f"training has diverged: {what} at step {step}; {remedy}", step)
