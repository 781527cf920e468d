"""Adagrad and RMSprop: each coordinate's step is divided by the size of its past gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import Array, namespace
from tinygrad_nlp.optim.optimizer import Optimizer, filled, zeros


class Adagrad(Optimizer):
    """s ← s + g², θ ← θ - η/(1 + (t-1)δ) · g / (√s + ε), δ `lr_decay`, t from 1  (E55; Duchi et al. 2011).

    s begins as `initial_accumulator_value`. Weight decay is L2 regularisation: g is the gradient plus λθ. Raises
    TypeError and ValueError as Optimizer does, ValueError for a negative hyperparameter.

    >>> p = nn.Parameter([1.0])
    >>> p.grad = tn.Tensor([4.0])
    >>> optim.Adagrad([p], lr=0.25).step()
    >>> p
    Tensor([0.75], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "maximize": maximize}
        super().__init__(params, {**defaults, "initial_accumulator_value": initial_accumulator_value})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in ("lr_decay", "initial_accumulator_value"):
            self._require(group, name, lambda v: v >= 0, "not negative")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "sum": filled(p, group["initial_accumulator_value"])}

    def _update(self, data: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * data
        s = state["sum"]
        s += g * g
        lr = group["lr"] / (1 + state["step"] * group["lr_decay"])
        state["step"] += 1
        data -= lr * g / (namespace(s).sqrt(s) + group["eps"])


class RMSprop(Optimizer):
    """s ← ρs + (1-ρ)g², u = g / (√s + ε), θ ← θ - ηu  (E55; Tieleman and Hinton 2012).

    ρ is `alpha`. `centered` takes the variance s - (mean of g)²; `momentum` steps by b ← μb + u. Weight decay is L2
    regularisation: g is the gradient plus λθ. Raises TypeError and ValueError as Optimizer does, ValueError for a
    negative hyperparameter and ρ > 1.

    >>> p = nn.Parameter([1.0])
    >>> p.grad = tn.Tensor([4.0])
    >>> optim.RMSprop([p], lr=0.25, alpha=0.75).step()
    >>> p
    Tensor([0.5], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**defaults, "centered": centered, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._require(group, "momentum", lambda v: v >= 0, "not negative")
        self._require(group, "alpha", lambda v: 0 <= v <= 1, "in [0, 1]")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {"step": 0, "square_avg": zeros(p)}
        if group["momentum"]:
            state["momentum_buffer"] = zeros(p)
        if group["centered"]:
            state["grad_avg"] = zeros(p)
        return state

    def _update(self, data: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * data
        rho, s = group["alpha"], state["square_avg"]
        state["step"] += 1
        s *= rho
        s += (1 - rho) * (g * g)
        spread = s
        if group["centered"]:
            mean = state["grad_avg"]
            mean *= rho
            mean += (1 - rho) * g
            spread = namespace(s).maximum(s - mean * mean, 0)  # rounding may leave a variance of 0 negative
        u = g / (namespace(s).sqrt(spread) + group["eps"])
        if momentum := group["momentum"]:
            b = state["momentum_buffer"]
            b *= momentum
            b += u
            u = b
        data -= group["lr"] * u
