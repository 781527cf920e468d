"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import Array
from tinygrad_nlp.optim.optimizer import Optimizer, zeros


class SGD(Optimizer):
    """g ← g + λθ;  v ← μv + (1-τ)g (the first v is g);  θ ← θ - ηv, or θ ← θ - η(g + μv) with `nesterov`  (E55).

    μ `momentum`, τ `dampening`, λ `weight_decay`; without momentum θ ← θ - ηg (Sutskever et al. 2013). Raises TypeError
    and ValueError as Optimizer does, ValueError unless η, μ, λ >= 0, and for `nesterov` without μ or with τ.

    >>> p = nn.Parameter([1.0])
    >>> p.grad = tn.Tensor([4.0])
    >>> optim.SGD([p], lr=0.125).step()
    >>> p
    Tensor([0.5], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "nesterov": nesterov, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._require(group, "momentum", lambda v: v >= 0, "not negative")
        plain = group["momentum"] > 0 and group["dampening"] == 0
        self._require(group, "nesterov", lambda v: plain or not v, "False without momentum or with dampening")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "momentum_buffer": zeros(p)} if group["momentum"] else {}

    def _update(self, data: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * data
        if momentum := group["momentum"]:
            v = state["momentum_buffer"]
            v *= momentum
            v += g if state["step"] == 0 else (1 - group["dampening"]) * g
            state["step"] += 1
            g = g + momentum * v if group["nesterov"] else v
        data -= group["lr"] * g
