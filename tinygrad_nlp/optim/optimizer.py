"""What optimisers share: parameter groups, their state, and its storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from nlp_kernels.common.bfloat16 import BFLOAT16
from nlp_kernels.errors import ShapeError

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import Array, namespace, writes
from tinygrad_nlp.autograd.bfloat16 import compute_dtype
from tinygrad_nlp.autograd.node import tick

MASTER = "master"  # in a parameter's state


class Optimizer:
    """θ ← θ - update(∂L/∂θ), in place, for every parameter that has a gradient.

    `params` is an iterable of leaf Tensors, or of dicts {"params": …, hyperparameters of that group}. An optimiser
    states its hyperparameters in `defaults` (checked by `_check`), the state of a parameter in `_new_state`, and one
    step in `_update`. A parameter of bfloat16 has a master in its state, the same numbers in float32: these take the
    steps, however small, and the parameter is their rounding; weights that are loaded later need a new optimiser.
    Raises TypeError for what is no Tensor in a list, ValueError for an empty list, for a Tensor that is given twice or
    was computed, for hyperparameters that are unknown or out of range.

    >>> class Sign(optim.Optimizer):
    ...     def _update(self, data, g, state, group):
    ...         data -= group["lr"] * np.sign(g)
    >>> p = nn.Parameter([1.0, 1.0])
    >>> p.grad = tn.Tensor([0.2, -3.0])
    >>> Sign([p], {"lr": 0.5}).step()
    >>> p
    Tensor([0.5, 1.5], requires_grad=True)
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        if isinstance(params, (Tensor, Mapping)) or not isinstance(params, Iterable):
            raise TypeError(f"{self._name}: parameters come in a list, or groups of them in a list of dicts")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: the list of parameters is empty; pass model.parameters()")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [
            f"  { ({k: v for k, v in g.items() if k != 'params'}) }, {len(g['params'])} tensors"
            for g in self.param_groups
        ]
        return "\n".join([f"{self._name}(", *lines, ")"])

    # What an optimiser defines -------------------------------------------------------------------------------------

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for a hyperparameter out of range."""
        for name in ("lr", "eps", "weight_decay"):
            if name in group:
                self._require(group, name, lambda v: v >= 0, "not negative")

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {}

    def _update(self, data: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step: change `data` and the state's arrays in place."""
        raise NotImplementedError(f"{self._name} defines no _update()")

    # Use -----------------------------------------------------------------------------------------------------------

    def step(self, grad_scale: Any = None) -> None:
        """One step for every parameter that has a gradient, times grad_scale; the others are left as they are.

        grad_scale: what `clip_scale` gives, an array of shape () or a number, or None for 1.
        """
        for group in self.param_groups:
            ready = [p for p in group["params"] if p.requires_grad and p.grad is not None]
            for p in ready:
                if p not in self.state:
                    self.state[p] = self._state_of(p, group)
            parts = [(self.stepped(p), _gradient(p, group), self.state[p]) for p in ready]
            self._update_all(parts, group, grad_scale)
            for p in ready:
                if p.dtype is BFLOAT16:
                    p.data[...] = self.state[p][MASTER]
                writes.note(p.data, tick())

    def stepped(self, p: Tensor) -> Array:
        """What a step changes: the parameter itself, or its master."""
        return self.state[p][MASTER] if p.dtype is BFLOAT16 else p.data

    def _state_of(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """`_new_state`, and the master of a parameter that needs one."""
        master = {MASTER: namespace(p.data).astype(p.data, np.float32)} if p.dtype is BFLOAT16 else {}
        return self._new_state(p, group) | master

    def _update_all(
        self, parts: list[tuple[Array, Array, dict[str, Any]]], group: dict[str, Any], grad_scale: Any
    ) -> None:
        """One step of every (data, g, state) of a group; for one whose kernel takes many, or the factor."""
        for data, g, state in parts:
            self._update(data, g if is_one(grad_scale) else like(grad_scale, g) * g, state, group)

    def zero_grad(self) -> None:
        """Forget the gradients: `.grad` of every parameter becomes None."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.requires_grad:
                    p.grad = None

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Take over more parameters, with their own hyperparameters where the group names them."""
        group = dict(group)
        unknown = set(group) - {"params", "name", "lr_scale", *self.defaults}
        if "params" not in group or unknown:
            wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no 'params'"
            raise ValueError(f"{self._name}: a parameter group with {wrong}; it may have {', '.join(self.defaults)}")
        params = group["params"]
        params = list(params) if isinstance(params, Iterable) and not isinstance(params, Tensor) else [params]
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: parameter {i} is {type(p).__name__}, not a Tensor")
            if not p.is_leaf:
                raise ValueError(f"{self._name}: parameter {i}, of shape {p.shape}, is the result of a computation")
            if id(p) in known:
                raise ValueError(f"{self._name}: parameter {i}, of shape {p.shape}, is given twice")
            known.add(id(p))
        group = {**self.defaults, **group, "params": params}
        self._check(group)
        self.param_groups.append(group)

    def _require(self, group: dict[str, Any], name: str, holds: Callable[[Any], bool], rule: str) -> None:
        try:
            right = holds(group[name])
        except TypeError:  # a comparison with what is no number
            right = False
        if not right:
            raise ValueError(f"{self._name}: {name} must be {rule}, got {group[name]!r}")

    # Storage -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": {parameter's number: {name: array or int}}, "param_groups": [{…, "params": numbers}]}; copies."""
        numbers = {id(p): i for i, p in enumerate(self._all())}
        state = {numbers[id(p)]: {k: _host_copy(v) for k, v in values.items()} for p, values in self.state.items()}
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave: parameters are matched by their number, hyperparameters by group.

        Raises ShapeError for other groups or shapes, ValueError for the state of another optimiser; nothing is changed
        then.
        """
        groups = state_dict["param_groups"]
        ours, theirs = ([len(g["params"]) for g in gs] for gs in (self.param_groups, groups))
        if ours != theirs:
            raise ShapeError(f"{self._name}: a state of groups of {theirs} parameters, this one has groups of {ours}")
        new_groups = []
        for group, new in zip(self.param_groups, groups, strict=True):
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in new.items() if k != "params"}
            if missing := set(self.defaults) - set(values):
                raise ValueError(f"{self._name}: the state has no {', '.join(sorted(missing))}; another optimiser's?")
            merged = {**group, **values}
            self._check(merged)
            new_groups.append(merged)
        places = [(p, n, g) for old, new, g in zip(self.param_groups, groups, new_groups, strict=True)
                  for p, n in zip(old["params"], new["params"], strict=True)]  # fmt: skip
        loaded = {int(number): values for number, values in state_dict["state"].items()}
        new_state = {p: self._loaded(p, n, loaded[n], group) for p, n, group in places if n in loaded}
        for group, merged in zip(self.param_groups, new_groups, strict=True):
            group.update(merged)
        self.state = new_state

    def _loaded(self, p: Tensor, number: int, values: Mapping[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        """The state of one parameter, in its dtype and on its device."""
        state = self._state_of(p, group)
        if set(values) != set(state):
            raise ValueError(
                f"{self._name}: parameter {number} has the state {', '.join(values)}, expected {', '.join(state)}"
            )
        for name, fresh in state.items():
            if isinstance(fresh, int):
                state[name] = int(values[name])
            elif np.shape(values[name]) != fresh.shape:
                raise ShapeError(
                    f"{self._name}: {name} of parameter {number} has shape {np.shape(values[name])}, "
                    f"the parameter's is {fresh.shape}"
                )
            else:
                fresh[...] = namespace(fresh).asarray(values[name], dtype=fresh.dtype)
        return state

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _gradient(p: Tensor, group: dict[str, Any]) -> Array:
    """The gradient to descend along, in the dtype of its parameter, or of that one's master."""
    assert p.grad is not None
    g, dtype = p.grad.data, compute_dtype(p.dtype)
    if group.get("maximize") or g.dtype != dtype:
        g = namespace(g).asarray(-g if group.get("maximize") else g, dtype=dtype)
    return g


def is_one(grad_scale: Any) -> bool:
    """Whether a factor is seen to leave the gradient alone; one on a GPU is not looked at."""
    return grad_scale is None or (isinstance(grad_scale, (np.ndarray, float)) and bool(grad_scale == 1))


def like(grad_scale: Any, data: Array) -> Array:
    """The factor as an array of shape (), in the dtype and on the device of the data."""
    return namespace(data).asarray(grad_scale, dtype=data.dtype)


def _host_copy(value: Any) -> Any:
    return value if isinstance(value, int) else np.array(Tensor(value).numpy(), copy=True)


def filled(p: Tensor, value: float) -> Array:
    """An array of one value, like a parameter's or its master's."""
    return namespace(p.data).full_like(p.data, value, dtype=compute_dtype(p.dtype))


def zeros(p: Tensor) -> Array:
    """An array of 0, like a parameter's or its master's."""
    return filled(p, 0)
