"""A gradient handed out aliases nothing: writing to it changes no input, no cotangent, no kept array, no other one."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import generators
from functions import ALL
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, checkpoint, grad, primitive

each = pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)


def several(ys):
    return tuple(ys) if isinstance(ys, (tuple, list)) else (ys,)


def assert_apart(gradients, others):
    """No gradient shares memory with another or with anything else, and each may be written to."""
    arrays = [g.data for g in gradients]
    for i, g in enumerate(arrays):
        assert g.flags.writeable
        for other in (*arrays[:i], *others):
            assert not np.may_share_memory(g, other)


@each
@pytest.mark.parametrize("how", ["grad", "create_graph", "backward", "backward twice"])
@given(data=st.data(), rng=generators())
@settings(max_examples=12)
def test_gradients_alias_nothing(function, how, data, rng):
    case = data.draw(function.cases)
    leaves = [Tensor(x, requires_grad=True) for x in case.floats]
    ys = [y for y in several(function.of(case)(*leaves)) if y.node is not None]
    gs = [Tensor(rng.normal(size=y.shape)) for y in ys]
    others = [x for x in case.args if isinstance(x, np.ndarray)] + [t.data for t in (*ys, *gs)]
    if not ys:
        return
    if how.startswith("backward"):
        for _ in range(1 + (how == "backward twice")):
            for y, g in zip(ys, gs, strict=True):
                y.backward(g, retain_graph=True)
        assert_apart([x.grad for x in leaves if x.grad is not None], others)
    else:
        assert_apart(grad(ys, leaves, gs, create_graph=how == "create_graph", allow_unused=True), others)


@primitive(several=True)
def exchanged(a, b):
    return b + 0, a + 0


@exchanged.vjp("a")
def _(gs):
    return gs[1]


@exchanged.vjp("b")
def _(gs):
    return gs[0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: (a + b, a - b),
        lambda a, b: checkpoint(tn.add, a, b),
        exchanged,
        lambda a, b: tn.concat([a, b]),
        lambda a, b: tn.unstack(tn.stack([a, b])),
        lambda a, b: (a, b),
        lambda a, b: tn.linear(a[None], tn.ones((3, 3), dtype=tn.float64), None, b[None])[0],
        lambda a, b: tn.layer_norm(a, b, b, a),
    ],
    ids=["sum", "two sums", "checkpoint", "several", "concat", "stack", "itself", "linear", "layer norm"],
)
def test_cotangents_that_pass_through_unchanged(f, create_graph):
    rng = np.random.default_rng(0)
    a, b = (Tensor(rng.normal(size=3), requires_grad=True) for _ in range(2))
    ys = several(f(a, b))
    gs = [Tensor(rng.normal(size=y.shape), requires_grad=create_graph) for y in ys]
    before = [g.data.copy() for g in gs]
    dxs = grad(ys, [a, b], gs, create_graph=create_graph)
    assert_apart(dxs, [a.data, b.data, *(y.data for y in ys), *(g.data for g in gs)])
    assert all(np.array_equal(g.data, g0) for g, g0 in zip(gs, before, strict=True))


def test_accumulation_writes_to_no_cotangent():
    """Gradients that meet in one tensor are summed in place only where the sweep made the array."""
    rng = np.random.default_rng(1)
    x = Tensor(rng.normal(size=(2, 3)), requires_grad=True)
    g, h = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    kept = [g.copy(), h.copy()]
    checkpointed = checkpoint(lambda x: x + 0, x)
    for ys in ((x + 0, x * 1.0), (checkpointed, x * 2.0), (*exchanged(x, x),)):
        grad(list(ys), x, [g, h])
        np.testing.assert_array_equal(g, kept[0])
        np.testing.assert_array_equal(h, kept[1])
