"""Every differentiable function of bfloat16: what it gives in float32, rounded; values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Case, generators
from functions import ALL
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad

FLOAT32 = {"astype"}  # told the dtype of the result
LOSSES = {"cross_entropy"}


def several(ys):
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def representable(case):
    """The case in float32, with numbers that bfloat16 has."""
    rounded = (x.astype(tn.bfloat16).astype(np.float32) if i in case.places else x for i, x in enumerate(case.args))
    return Case(tuple(rounded), case.params)


def assert_rounding(narrow, wide):
    """The same numbers but for a rounding of each, and of what a function made of others rounds between them."""
    wide = np.asarray(wide, np.float32)
    scale = np.abs(wide[np.isfinite(wide)]).max(initial=1e-30)
    np.testing.assert_allclose(np.asarray(narrow, np.float32), wide, rtol=2**-6, atol=2**-6 * scale)


@pytest.mark.parametrize("function", [f for f in ALL if f.name not in FLOAT32], ids=lambda f: f.name)
@given(data=st.data(), rng=generators())
@settings(
    max_examples=5, phases=[Phase.generate]
)  # shrinking one function's failures would take as long as all of them
def test_bfloat16_is_float32_rounded(function, data, rng):
    case, found = representable(data.draw(function.cases)), {}
    seed = int(rng.integers(2**32))
    for dtype in (tn.bfloat16, tn.float32):
        leaves = [Tensor(x.astype(dtype), requires_grad=True) for x in case.floats]
        ys = several(function.of(case)(*leaves))
        used, draw = [y for y in ys if y.node is not None], np.random.default_rng(seed)
        gs = [draw.normal(size=y.shape).astype(tn.bfloat16).astype(y.dtype) for y in used]
        found[dtype] = ys, grad(used, leaves, gs, allow_unused=True) if used else ()
    (narrow, gradients), (wide, wide_gradients) = found.values()
    for y, z in zip(narrow, wide, strict=True):
        assert y.dtype == (tn.bfloat16 if z.dtype == tn.float32 and function.name not in LOSSES else z.dtype)
        assert_rounding(y.data, z.data)
    for dx, dz in zip(gradients, wide_gradients, strict=True):
        assert dx.dtype == tn.bfloat16
        assert_rounding(dx.data, dz.data)
