"""Hypothesis strategies for what gradients go wrong on: shapes, values, memory layouts."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygrad_nlp.autograd.checking.draws import LARGEST, LAYOUTS, VALUES, Shape
from tinygrad_nlp.autograd.checking.draws import values as drawn_values

Shapes = st.SearchStrategy[Shape] | Shape


def shapes(*, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes of arrays: scalars, empty ones and axes of size 1 among them, unless excluded."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable_shapes(
    n: int = 2, *, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """n shapes that broadcast together, as (3, 1), (4,) and () do."""
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=max_dims, min_side=min_side, max_side=max_side)
    return drawn.map(lambda found: found.input_shapes)


@st.composite
def arrays(
    draw: Any, shape: Shapes, dtype: Any = np.float64, *, values: Any = "ordinary", layout: Any = None
) -> np.ndarray:
    """An array of a shape, or of shapes from a strategy.

    `values`: ordinary, positive, huge, tiny, ties, kinks or integers, or several to choose from. "huge" and "tiny" draw
    one power of ten for the whole array, "ties" the same three numbers in every array, half of "kinks" is 0 or ±1.
    `layout`: contiguous, transposed, strided, reversed or broadcast, several, or None for any but "broadcast", which
    repeats the first entry of the first axis and so changes the values.
    """
    shape, dtype = _shape(draw, shape), np.dtype(dtype)
    if dtype not in LARGEST:
        raise ValueError(f"dtype={dtype}: floating-point arrays are drawn, float32 or float64")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = drawn_values(_one_of(draw, values, VALUES, "values"), rng, shape, dtype)
    names = [name for name in LAYOUTS if name != "broadcast"] if layout is None else layout
    return LAYOUTS[_one_of(draw, names, LAYOUTS, "layout")](x)


@st.composite
def cotangents(draw: Any, shape: Shapes, dtype: Any = np.float64, *, layout: Any = tuple(LAYOUTS)) -> np.ndarray:
    """A cotangent for an output of a shape: random, in any memory layout, never one number everywhere."""
    shape = _shape(draw, shape)
    size = int(np.prod(shape))
    if "broadcast" in layout and size == (shape[0] if shape else 1) > 1:  # repeated, it would be constant
        layout = [name for name in ([layout] if isinstance(layout, str) else layout) if name != "broadcast"]
    return draw(arrays(shape, dtype, layout=layout or "contiguous"))


def _shape(draw: Any, shape: Any) -> Shape:
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"shape={shape!r} is neither a tuple of sizes nor a strategy of such tuples")
    return shape


def _one_of(draw: Any, chosen: Any, known: dict, what: str) -> str:
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    for name in names:
        if name not in known:
            raise ValueError(f"{what}={name!r} is not one of {', '.join(known)}")
    if not names:
        raise ValueError(f"{what}={chosen!r} leaves nothing to draw; there are {', '.join(known)}")
    return draw(st.sampled_from(names))
