"""The inputs that every test of a hot path draws: one file per hot path, and nothing else to add for a new one.

`cases/<hot_path>.py` defines `HOT_PATH`: the names of what goes in and comes out, and a Hypothesis strategy that draws
NumPy inputs and hyperparameters: empty and size-1 axes, offsets, huge magnitudes, masks, views of any layout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np


@dataclass(frozen=True)
class Case:
    inputs: tuple[Any, ...]  # NumPy arrays in forward order, or None where an optional input is absent
    hyper: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self):
        return next(x.dtype for x in self.inputs if is_float(x))


@dataclass(frozen=True)
class HotPath:
    name: str
    inputs: tuple[str, ...]  # in forward order
    differentiable: tuple[str, ...]  # those of them that have a gradient; () for kind "update"
    cases: Callable[..., st.SearchStrategy[Case]]  # cases(dtype) draws a Case
    outputs: tuple[str, ...] = ("y",)
    kind: str = "function"  # or "update": step(...) -> new values, no gradient

    @property
    def package(self) -> ModuleType:
        return import_module(f"nlp_kernels.{self.name}")

    @property
    def reference(self) -> ModuleType:
        return import_module(f"nlp_kernels.{self.name}.reference")


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


@st.composite
def generators(draw):
    """A NumPy generator: Hypothesis chooses shapes and kinds and a seed, the generator the numbers."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def sizes(largest):
    """An axis: often empty or of size 1, where kernels go wrong."""
    return st.one_of(st.integers(2, largest), st.sampled_from([0, 1]))


@st.composite
def floats(draw, rng, shape, dtype, *, scales=(1.0,), offsets=(0.0,)):
    """Normal numbers, times a scale, plus an offset, in any memory layout."""
    scale, offset = draw(st.sampled_from(scales)), draw(st.sampled_from(offsets))
    return draw(layouts((rng.normal(size=shape) * scale + offset).astype(dtype)))


@st.composite
def layouts(draw, x):
    """A view with the values of x: C or Fortran order, every second entry of a larger array, or reversed strides."""
    if np.ndim(x) == 0:
        return np.asarray(x)
    match draw(st.sampled_from(["C", "F", "strided", "reversed"])):
        case "F":
            return np.asfortranarray(x)
        case "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        case "reversed":
            return np.flip(np.flip(x).copy())
    return x


@st.composite
def masks(draw, rng, shape, *, p=0.6):
    """True = keep: random, with fully masked and fully kept rows."""
    keep = rng.random(shape) < p
    rows = rng.random((*shape[:-1], 1))
    keep = (keep | (rows > 0.8)) & (rows > draw(st.sampled_from([0.0, 0.3])))
    return draw(layouts(keep))


def _all() -> tuple[HotPath, ...]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    return tuple(import_module(f"cases.{name}").HOT_PATH for name in names)


ALL = _all()
FUNCTIONS = tuple(path for path in ALL if path.kind == "function")
