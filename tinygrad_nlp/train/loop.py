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


class StepByStep:
    """One training step: the gradients of the next batch, then the update by them."""

    def __init__(self, model: Module, optimizer: Optimizer, batch_loss: Callable[[], Any], clip: float):
        self.model, self.optimizer, self.batch_loss, self.clip = model, optimizer, batch_loss, clip
        self.parameters = list(model.parameters())
        self.scale: Any = None

    def gradients(self) -> tuple[float, float]:
        """(loss, norm of the gradient) of the next batch; `.grad` of the parameters is not clipped."""
        return self._gradients_of(self.batch_loss)

    def update(self) -> None:
        """θ ← θ − update(clip(g), η)"""
        self.optimizer.step(grad_scale=self.scale)

    def _gradients_of(self, loss: Callable[[], Any]) -> tuple[float, float]:
        told = np.empty(2)
        self.scale = self.compute(loss, told)
        return float(told[0]), float(told[1])

    def compute(self, loss_of_batch: Callable[[], Any], told: Any) -> Any:
        """Gradients, and what `update` clips them by; loss and norm are written into `told`."""
        self.optimizer.zero_grad()
        loss = loss_of_batch()
        loss.backward()
        norm, scale = clip_scale(self.parameters, self.clip or math.inf)
        for i, value in enumerate((loss.data, norm)):
            told[i] = value.item() if type(told) is np.ndarray else value
        return scale


def training_steps(
    model: Module,
    optimizer: Optimizer,
    batch_loss: Callable[[], Any],
    schedule: Callable[[int], float],
    *,
    first: int,
    last: int,
    clip: float = 0.0,
    by: StepByStep | None = None,
) -> Iterator[Step]:
    """Steps `first … last` of θ ← θ − update(clip(∂L/∂θ), η_t) for any model, optimiser (E55) and loss.

    `batch_loss()` draws a batch and returns its loss; `schedule(t)` is the learning rate of step t, counted from 1
    (E55b); `clip` bounds the norm of the whole gradient (E22), 0 leaves it. `by` makes the steps in another way. A loss
    or gradient that is not finite raises `DivergedError`, a `UserError`, before it reaches the weights.
    """
    step = by or StepByStep(model, optimizer, batch_loss, clip)
    for number in range(first, last + 1):
        began = time.perf_counter()
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = schedule(number)
        with np.errstate(over="ignore", invalid="ignore"):  # divergence gets one answer, below
            loss, norm = step.gradients()
        refuse_divergence(number, loss=loss, gradient=norm)
        step.update()
        yield Step(number, loss, schedule(number), norm, time.perf_counter() - began)


def refuse_divergence(step: int, **values: float) -> None:
    """Raise `DivergedError` when one of the values is NaN or infinite."""
    if not all(map(math.isfinite, values.values())):
        what = " and ".join(f"{name} {value}" for name, value in values.items())
        remedy = "begin again with a smaller --lr or a longer --warmup"
        raise DivergedError(f"training has diverged: {what} at step {step}; {remedy}", step)
