"""Learning-rate schedules: η_t as a function of the step t = 1, 2, …  (E55b)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_nlp.optim.optimizer import Optimizer


@dataclass(frozen=True)
class Constant:
    """η_t = η, after a linear warm-up η t / w where there is one."""

    lr: float
    warmup: int = 0

    def __call__(self, t: int) -> float:
        return self.lr * _rise(t, self.warmup)


@dataclass(frozen=True)
class WarmupCosine:
    """η_t = η t / w for t ≤ w, then η_min + ½ (η - η_min) (1 + cos π (t - w)/(T - w)), η_min from t = T on  (E55b).

    w `warmup`, T `steps`; Loshchilov and Hutter 2017, arXiv:1608.03983.
    """

    lr: float
    min_lr: float
    warmup: int
    steps: int

    def __call__(self, t: int) -> float:
        if t <= self.warmup:
            return self.lr * _rise(t, self.warmup)
        if t >= self.steps:
            return self.min_lr
        part = (t - self.warmup) / (self.steps - self.warmup)
        return self.min_lr + 0.5 * (self.lr - self.min_lr) * (1 + math.cos(math.pi * part))


@dataclass(frozen=True)
class InverseSqrt:
    """η_t = η min(t/w, √(w/t)): a linear warm-up to η at t = w, then falling as 1/√t  (E55b)."""

    lr: float
    warmup: int

    def __call__(self, t: int) -> float:
        return self.lr * _rise(t, self.warmup) * math.sqrt(max(self.warmup, 1) / max(t, self.warmup, 1))


@dataclass(frozen=True)
class Noam:
    """η_t = k d^(-1/2) min(t^(-1/2), t w^(-3/2))  (E55b; Vaswani et al. 2017, arXiv:1706.03762)."""

    d_model: int
    warmup: int
    factor: float = 1.0

    def __call__(self, t: int) -> float:
        _rise(t, 0)
        return self.factor * self.d_model**-0.5 * min(t**-0.5, t * self.warmup**-1.5)


class LRSchedule:
    """Sets `lr` of an optimiser's groups to η_t, times a group's `lr_scale` where it has one; `step()` after each step.

    The state is one integer, the t of the step to come.
    """

    def __init__(self, optimizer: Optimizer, rate: Callable[[int], float]):
        self.optimizer, self.rate, self.t = optimizer, rate, 1
        self._set()

    @property
    def lr(self) -> float:
        """η_t of the step to come."""
        return self.rate(self.t)

    def step(self) -> None:
        """Go on to the next step."""
        self.t += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = int(state["t"])
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.t) * group.get("lr_scale", 1.0)


def _rise(t: int, warmup: int) -> float:
    """min(1, t/w)"""
    if t < 1:
        raise ValueError(f"a schedule counts steps from 1, got {t}")
    return min(1.0, t / warmup) if warmup > 0 else 1.0
