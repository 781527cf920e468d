"""Learning-rate schedules: η_t as a function of the step t = 1, 2, …  (E55b)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_nlp.optim.optimizer import Optimizer


class WarmedUp:
    """What schedules share: the check of their warm-up."""

    warmup: int
    shortest = 0

    def __post_init__(self) -> None:
        if not self.warmup >= self.shortest:
            raise ValueError(f"{type(self).__name__}: warmup must be at least {self.shortest}, got {self.warmup}")


@dataclass(frozen=True)
class Constant(WarmedUp):
    """η_t = η, after a linear warm-up η t / w where there is one.  t -> η_t

    Raises ValueError for w < 0, t < 1.

    >>> rate = optim.Constant(0.5, warmup=2)
    >>> rate(1), rate(2), rate(3)
    (0.25, 0.5, 0.5)
    """

    lr: float
    warmup: int = 0

    def __call__(self, t: int) -> float:
        return self.lr * _rise(t, self.warmup)


@dataclass(frozen=True)
class WarmupCosine(WarmedUp):
    """η_t = η t / w for t ≤ w, then η_min + ½ (η - η_min) (1 + cos π (t - w)/(T - w)), η_min from t = T on  (E55b).

    t -> η_t; w `warmup`, T `steps`; Loshchilov and Hutter 2017, arXiv:1608.03983. Raises ValueError for w < 0, t < 1.

    >>> rate = optim.WarmupCosine(lr=1.0, min_lr=0.0, warmup=2, steps=6)
    >>> rate(1), rate(2), rate(4), rate(6)
    (0.5, 1.0, 0.5, 0.0)
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
class InverseSqrt(WarmedUp):
    """η_t = η min(t/w, √(w/t)): a linear warm-up to η at t = w, then falling as 1/√t  (E55b).  t -> η_t

    Raises ValueError for w < 0, t < 1.

    >>> rate = optim.InverseSqrt(lr=1.0, warmup=2)
    >>> rate(1), rate(2), rate(8)
    (0.5, 1.0, 0.5)
    """

    lr: float
    warmup: int

    def __call__(self, t: int) -> float:
        return self.lr * _rise(t, self.warmup) * math.sqrt(max(self.warmup, 1) / max(t, self.warmup, 1))


@dataclass(frozen=True)
class Noam(WarmedUp):
    """η_t = k d^(-1/2) min(t^(-1/2), t w^(-3/2))  (E55b; Vaswani et al. 2017, arXiv:1706.03762).  t -> η_t

    Raises ValueError for d < 1, w < 1, t < 1.

    >>> rate = optim.Noam(d_model=4, warmup=4)
    >>> rate(2), rate(4), rate(16)
    (0.125, 0.25, 0.125)
    """

    shortest = 1

    d_model: int
    warmup: int
    factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.d_model >= 1:
            raise ValueError(f"Noam: d_model must be at least 1, got {self.d_model}")

    def __call__(self, t: int) -> float:
        _rise(t, 0)
        return self.factor * self.d_model**-0.5 * min(t**-0.5, t * self.warmup**-1.5)


class LRSchedule:
    """Sets `lr` of an optimiser's groups to η_t, times a group's `lr_scale` where it has one; `step()` after each step.

    The state is one integer, the t of the step to come, from 1. Raises TypeError for what is no Optimizer and for a
    rate that is no function of t.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])])
    >>> schedule = optim.LRSchedule(optimizer, optim.Constant(0.5, warmup=2))
    >>> schedule.step()
    >>> schedule.t, optimizer.param_groups[0]["lr"]
    (2, 0.5)
    """

    def __init__(self, optimizer: Optimizer, rate: Callable[[int], float]):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"LRSchedule drives an Optimizer, not {type(optimizer).__name__}")
        if not callable(rate):
            raise TypeError(f"LRSchedule: the rate is a function of t, such as optim.Constant(0.1), not {rate!r}")
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
        """{"t": the step to come}"""
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a state."""
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
