"""Loading a state: everything is compared first, so that what does not fit changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from nlp_kernels.errors import DtypeError, TinygradError

from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import is_array, namespace, writes
from tinygrad_nlp.autograd.bfloat16 import is_numeric
from tinygrad_nlp.autograd.devices import moved
from tinygrad_nlp.autograd.node import tick
from tinygrad_nlp.autograd.tensor import as_array


class StateDictError(TinygradError, RuntimeError):
    """A state that does not fit a module: every missing and unexpected name, and every pair of shapes that differ."""


class IncompatibleKeys(NamedTuple):
    """What a state did not have for the module, and what it had too many."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(owner: str, targets: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Copy `state` into `targets` by name, in place. Raises StateDictError."""
    missing = [name for name in targets if name not in state]
    unexpected = [str(name) for name in state if name not in targets]
    arrays = {name: _plain(state[name]) for name in targets if name in state}
    wrong = [
        f"{name} has shape {x.shape}, the module's has {targets[name].shape}"
        if is_numeric(x.dtype)
        else f"{name} holds {x.dtype}, not numbers"
        for name, x in arrays.items()
        if x.shape != targets[name].shape or not is_numeric(x.dtype)
    ]
    problems = [f"missing: {', '.join(missing)}"] if strict and missing else []
    problems += [f"unexpected: {', '.join(unexpected)}"] if strict and unexpected else []
    problems += ["not fitting: " + "; ".join(wrong)] if wrong else []
    if problems:
        raise StateDictError(f"{owner}.load_state_dict, nothing was loaded\n  " + "\n  ".join(problems))
    for name, x in arrays.items():
        write(targets[name], x)
    return IncompatibleKeys(missing, unexpected)


def write(tensor: Tensor, values: Any) -> Tensor:
    """Overwrite a Tensor in place, cast to its dtype, and tell the tape: a graph that kept it will refuse a sweep.

    Raises DtypeError for what is no Tensor.
    """
    if not isinstance(tensor, Tensor):
        raise DtypeError(f"values are written into a Tensor, not {type(tensor).__name__}")
    data = tensor.data
    values = values if is_array(values) else np.asarray(values)
    data[...] = moved(namespace(values).astype(values, data.dtype, copy=False), tensor.device)
    writes.note(data, tick())
    return tensor


def _plain(value: Any) -> Any:
    return as_array(value) if isinstance(value, Tensor) else np.asarray(value)
