"""Every differentiable function on CuPy arrays, of its stand-in or a GPU: values and gradients as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Case, generators
from functions import ALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad

CLOSE = {"rtol": 1e-11, "atol": 1e-12}


def several(ys):
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def moved(x, device):
    """An argument with its arrays as Tensors on a device."""
    if isinstance(x, np.ndarray):
        return Tensor(x).to(device)
    return type(x)(moved(item, device) for item in x) if type(x) in (tuple, list) and len(x) else x


def gradients(function, case, gs, device):
    """Values, first gradients and those of <gradients, gradients>, as arrays of the host, None where there is none."""
    if function.name == "to_device":
        case = Case((case.args[0], device))
    elsewhere = Case(tuple(moved(x, device) for x in case.args), {k: moved(v, device) for k, v in case.params.items()})
    leaves = [Tensor(x).to(device).requires_grad_() for x in case.floats]
    args = list(elsewhere.args)
    for place, leaf in zip(case.places, leaves, strict=True):
        args[place] = leaf
    ys = several(function(*args, **elsewhere.params))
    assert {y.device for y in ys} <= {device}
    used = [(y, Tensor(g).to(device)) for y, g in zip(ys, gs, strict=True) if y.node is not None]
    if not used:
        return [ys]
    dxs = grad([y for y, _ in used], leaves, [g for _, g in used], retain_graph=True, allow_unused=True)
    again = grad([y for y, _ in used], leaves, [g for _, g in used], create_graph=True, allow_unused=True)
    dependent = [dx for dx in again if dx.node is not None]
    ddxs = grad(dependent, leaves, [dx.detach() for dx in dependent], allow_unused=True) if dependent else ()
    assert {dx.device for dx in (*dxs, *again, *ddxs)} <= {device}
    return [ys, dxs, again, ddxs]


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)
@pytest.mark.constant_cotangents("a gradient may be the same in all of its few places")
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), rng=generators())
def test_values_and_gradients_to_order_two_are_the_cpus(function, data, rng, any_cupy):
    case = data.draw(function.cases)
    gs = [rng.normal(size=y.shape) for y in several(function(*case.args, **case.params))]
    with tn.use_backend("reference"):
        here, there = (gradients(function, case, gs, device) for device in ("cpu", "cuda:0"))
    for ours, theirs in zip(there, here, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a.detach().numpy() if a.device == "cpu" else a.data.get(), b.data, **CLOSE)
