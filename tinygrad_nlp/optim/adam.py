"""Adam and AdamW, by the kernel of `nlp_kernels.adamw`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nlp_kernels import adamw

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import Array
from tinygrad_nlp.optim.optimizer import Optimizer, like, zeros


class Adam(Optimizer):
    """m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², θ ← θ - η (m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + ε), t from 1  (E55).

    Here weight decay is L2 regularisation: g is the gradient plus λθ (Kingma and Ba 2015, arXiv:1412.6980). Raises
    TypeError and ValueError as Optimizer does, ValueError unless η, ε, λ >= 0 and 0 <= β₁, β₂ < 1.

    >>> p = nn.Parameter([1.0])
    >>> p.grad = tn.Tensor([4.0])
    >>> optim.Adam([p], lr=0.25).step()
    >>> p
    Tensor([0.75], requires_grad=True)
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._require(group, "betas", _are_rates, "two numbers in [0, 1)")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": zeros(p), "exp_avg_sq": zeros(p)}

    def _update_all(
        self, parts: list[tuple[Array, Array, dict[str, Any]]], group: dict[str, Any], grad_scale: Any
    ) -> None:
        alike: dict[Any, list[tuple[Array, Array, Array, Array]]] = {}  # parameters may have had fewer gradients
        for data, g, state in parts:
            state["step"] += 1
            row = data, g, state["exp_avg"], state["exp_avg_sq"]
            alike.setdefault((state["step"], data.dtype), []).append(row)
        for (t, _), parameters in alike.items():
            scale = None if grad_scale is None else like(grad_scale, parameters[0][0])
            adamw.step_all(parameters, scale, t=t, decoupled=self.decoupled, **numbers(group))

    def prepared(self) -> list[tuple[Callable[..., None], dict[str, Any], list[dict[str, Any]]]] | None:
        """How a captured step is told its numbers: for each launch (send, group, states of its parameters).

        `send(t=…, **numbers(group))` writes them where the launch reads them, outside of the graph; whoever replays a
        step counts it in the states. None where no kernel reads them from memory.
        """
        found = []
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                if p.requires_grad and p.grad is not None:
                    alike.setdefault((self.state[p]["step"], p.dtype), []).append(p)
            for parameters in alike.values():
                states = [self.state[p] for p in parameters]
                thetas = map(self.stepped, parameters)
                rows = [(x, x, s["exp_avg"], s["exp_avg_sq"]) for x, s in zip(thetas, states, strict=True)]
                send = adamw.sender(rows)
                if send is None:
                    return None
                found.append((send, group, states))
        return found


def numbers(group: dict[str, Any]) -> dict[str, float]:
    """What a kernel is told of a group, but for the count of steps."""
    names = {name: group[name] for name in ("lr", "eps", "weight_decay")}
    return names | {"beta1": group["betas"][0], "beta2": group["betas"][1]}


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← θ - η (m̂ / (√v̂ + ε) + λθ), m and v of the gradient alone  (E55).

    Loshchilov and Hutter 2019, arXiv:1711.05101. Raises TypeError and ValueError as Adam does.

    >>> p = nn.Parameter([1.0])
    >>> p.grad = tn.Tensor([4.0])
    >>> optim.AdamW([p], lr=0.25, weight_decay=1.0).step()
    >>> p
    Tensor([0.5], requires_grad=True)
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)


def _are_rates(betas: tuple[float, float]) -> bool:
    return len(betas) == 2 and all(0 <= b < 1 for b in betas)
