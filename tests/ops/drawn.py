"""What the tests of the functions draw: shapes, axes, values inside a domain, and memory layouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

LAYOUTS = ("C", "F", "strided", "reversed")


@dataclass(frozen=True)
class Case:
    """One call: the positional arguments, of which the floating-point arrays are differentiable, and the parameters."""

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> list[int]:
        """Where the differentiable arguments are."""
        return [i for i, x in enumerate(self.args) if is_float(x)]

    @property
    def floats(self) -> list[np.ndarray]:
        return [self.args[i] for i in self.places]

    def with_floats(self, xs: Any) -> tuple:
        """The arguments with other arrays (or Tensors) in the differentiable places."""
        given = dict(zip(self.places, xs, strict=True))
        return tuple(given.get(i, x) for i, x in enumerate(self.args))


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


@st.composite
def generators(draw):
    """A NumPy generator: Hypothesis chooses shapes and a seed, the generator the numbers."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def shapes(min_dims=0, max_dims=3, min_side=0, max_side=4):
    """0-dimensional, empty and size-1 included."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable(n: int):
    """n shapes that broadcast together."""
    return hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, min_side=0, max_side=3).map(
        lambda s: s.input_shapes
    )


@st.composite
def axes(draw, shape, *, several=True, none=True):
    """None, one axis or some axes, counted from either end."""
    n = len(shape)
    choices = [st.none()] if none or not n else []
    if n:
        choices.append(st.integers(-n, n - 1))
        if several:
            choices.append(
                st.lists(st.integers(0, n - 1), unique=True, max_size=n).map(
                    lambda a: tuple(i - n if i % 2 else i for i in a)
                )
            )
    return draw(st.one_of(choices))


@st.composite
def laid_out(draw, x, *, repeated=False):
    """A view with the values of x: C or Fortran order, every second entry of a larger array, negative strides.

    With `repeated` also strides of 0: the first entry of an axis repeated along it.
    """
    x = np.asarray(x)
    if x.ndim == 0:
        return x
    kind = draw(st.sampled_from((*LAYOUTS, "repeated") if repeated and x.size else LAYOUTS))
    match kind:
        case "F":
            return np.asfortranarray(x)
        case "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        case "reversed":
            return np.flip(np.flip(x).copy())
        case "repeated":
            axis = draw(st.integers(0, x.ndim - 1))
            return np.broadcast_to(np.take(x, [0], axis=axis), x.shape)
    return x


@st.composite
def uniform(draw, shape, lo=-3.0, hi=3.0, *, rng=None, repeated=True):
    """Numbers from lo to hi."""
    rng = rng or draw(generators())
    return draw(laid_out(rng.uniform(lo, hi, shape), repeated=repeated))


@st.composite
def distinct(draw, *shapes):
    """Arrays whose numbers all differ, from each other and from 0, by more than a finite-difference step."""
    rng = draw(generators())
    sizes = [int(np.prod(s)) for s in shapes]
    grid = 0.1 * (rng.permutation(sum(sizes)) - sum(sizes) // 2) + rng.uniform(0.02, 0.08, sum(sizes))
    parts = np.split(grid, np.cumsum(sizes)[:-1])
    return tuple(draw(laid_out(p.reshape(s))) for p, s in zip(parts, shapes, strict=True))
