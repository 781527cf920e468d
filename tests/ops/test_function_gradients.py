"""Every differentiable function: its gradients against finite differences, PyTorch, and itself in other layouts."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from differences import check
from drawn import generators
from functions import ALL, BY_NAME
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nlp
from tinygrad_nlp import Tensor, grad, ops

each = pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)


def test_the_table_has_every_differentiable_function():
    """New tensors and functions of integers aside, what is public is differentiated."""
    constants = {f"tinygrad_nlp.ops.{m}" for m in ("creation", "comparison", "dtypes", "searching", "sets")}
    public = {name: getattr(ops, name) for name in ops.__all__}
    assert set(ops.__all__) <= set(tinygrad_nlp.__all__)
    differentiable = {name for name, f in public.items() if inspect.isfunction(f) and f.__module__ not in constants}
    assert differentiable | {"asarray", "to_device"} == set(BY_NAME)
    assert len(ALL) == len(BY_NAME)


@each
@given(data=st.data(), rng=generators())
@settings(max_examples=50)
def test_finite_differences_to_order_two(function, data, rng):
    case = data.draw(function.cases)
    check(function.of(case), case.floats, order=2, rng=rng)


@pytest.mark.parametrize(
    "name", ["pow", "divide", "hypot", "prod", "std", "logsumexp", "matmul", "getitem", "softmax", "layer_norm"]
)
@given(data=st.data(), rng=generators())
@settings(max_examples=10)
def test_finite_differences_to_order_three(name, data, rng):
    case = data.draw(BY_NAME[name].cases)
    check(BY_NAME[name].of(case), case.floats, order=3, rtol=1e-4, rng=rng)


@pytest.mark.parametrize("function", [f for f in ALL if f.torch is not None], ids=lambda f: f.name)
@given(data=st.data(), rng=generators())
@settings(max_examples=25)
def test_torch_agrees(function, data, rng):
    torch = pytest.importorskip("torch")
    case = data.draw(function.cases)
    theirs = [torch.tensor(x.copy(), requires_grad=True) for x in case.floats]
    ys = several(function.by_torch(case, theirs))
    gs = [rng.normal(size=tuple(y.shape)) for y in ys]
    live = [(y, torch.tensor(g)) for y, g in zip(ys, gs, strict=True) if y.requires_grad]
    expected = [np.zeros(x.shape) for x in case.floats]
    if live:
        found = torch.autograd.grad([y for y, _ in live], theirs, [g for _, g in live], allow_unused=True)
        expected = [e if t is None else t.numpy() for e, t in zip(expected, found, strict=True)]
    for ours, theirs_ in zip(pulled_back(function, case, gs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs_, rtol=1e-11, atol=1e-12)


@pytest.mark.constant_cotangents("a stride of 0 repeats the first row, which may have one element")
@each
@given(data=st.data(), rng=generators())
@settings(max_examples=25)
def test_layouts_of_inputs_and_cotangents_do_not_matter(function, data, rng):
    """Strides that are negative, zero or wide: the same values and the same gradients to order two; nothing changed."""
    case = data.draw(function.cases)
    before = [x.copy() for x in case.args if isinstance(x, np.ndarray)]
    plain = type(case)(
        tuple(np.array(x, order="C") if isinstance(x, np.ndarray) else x for x in case.args), case.params
    )
    ys = several(function(*case.args, **case.params))
    gs = [rng.normal(size=y.shape) for y in ys]
    layout = data.draw(st.sampled_from(["reversed", "F", "repeated"]))
    strided = [in_layout(g, layout) for g in gs]
    gs = [np.array(g, order="C", ndmin=0) for g in strided]
    gs_before = [g.copy() for g in gs]
    for y, z in zip(ys, several(function(*plain.args, **plain.params)), strict=True):
        np.testing.assert_allclose(y.data, z.data, rtol=1e-13, atol=1e-13)
    for create_graph in (False, True):
        ours = pulled_back(function, case, strided, create_graph)
        theirs = pulled_back(function, plain, gs, create_graph)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    after = [x for x in case.args if isinstance(x, np.ndarray)]
    assert all(np.array_equal(x, b) for x, b in zip([*after, *strided], [*before, *gs_before], strict=True))


def in_layout(g, layout):
    g = np.asarray(g)
    if not g.ndim:
        return g
    if layout == "F":
        return np.asfortranarray(g)
    if layout == "reversed":
        return np.flip(np.flip(g).copy())
    return np.broadcast_to(g[:1], g.shape)


def several(ys):
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def pulled_back(function, case, gs, create_graph=False):
    """The gradients as arrays, zeros where an input has none; with `create_graph`, those of <gradients, gradients>."""
    leaves = [Tensor(x, requires_grad=True) for x in case.floats]
    used = [(y, g) for y, g in zip(several(function.of(case)(*leaves)), gs, strict=True) if y.node is not None]
    if not used:
        return [np.zeros(x.shape) for x in leaves]
    found = grad([y for y, _ in used], leaves, [g for _, g in used], create_graph=create_graph, allow_unused=True)
    if create_graph and any(g.node is not None for g in found):
        dependent = [g for g in found if g.node is not None]
        found = grad(dependent, leaves, [g.detach() for g in dependent], allow_unused=True)
    return [g.data for g in found]
