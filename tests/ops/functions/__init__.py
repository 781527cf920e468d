"""The table of all differentiable functions: for each, the calls to draw and who else computes it.

Every test of `tests/ops` runs over `ALL`; a new function adds a row to one of the files here, and no test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from drawn import Case

import tinygrad_nlp


def _plain(f: Callable, *args: Any, **params: Any) -> Any:
    return f(*args, **params)


@dataclass(frozen=True, repr=False)
class Function:
    """`ours`, `numpy` and `torch` are called alike: call(f, *args, **params); None where nobody else has it."""

    name: str
    cases: st.SearchStrategy[Case]
    numpy: Callable | str | None = ""  # "" stands for the function of the same name
    torch: Callable | str | None = ""
    call: Callable = _plain
    broadcasts: bool = False  # elementwise: its inputs broadcast, numbers stand for arrays

    def __repr__(self) -> str:
        return self.name

    @property
    def ours(self) -> Callable:
        return getattr(tinygrad_nlp, self.name)

    def __call__(self, *args: Any, **params: Any) -> Any:
        return self.call(self.ours, *args, **params)

    def of(self, case: Case) -> Callable:
        """The call as a function of its differentiable inputs alone."""
        return lambda *xs: self(*case.with_floats(xs), **case.params)

    def by_numpy(self, case: Case) -> Any:
        f = getattr(np, self.numpy or self.name) if isinstance(self.numpy, str) else self.numpy
        return self.call(f, *case.args, **case.params)

    def by_torch(self, case: Case, tensors: list) -> Any:
        pytest.importorskip("torch")
        from array_api_compat import torch as xp

        f = getattr(xp, self.torch or self.name) if isinstance(self.torch, str) else self.torch
        rest = [xp.asarray(x.copy()) if isinstance(x, np.ndarray) else x for x in case.args]
        for i, x in zip(case.places, tensors, strict=True):
            rest[i] = x
        return self.call(f, *rest, **case.params)


def _all() -> tuple[Function, ...]:
    from functions import cumulative, elementwise, hot_paths, indexing, matrices, reductions, shapes

    modules = (elementwise, reductions, cumulative, matrices, shapes, indexing, hot_paths)
    return tuple(f for m in modules for f in m.FUNCTIONS)


ALL = _all()
BY_NAME = {f.name: f for f in ALL}
