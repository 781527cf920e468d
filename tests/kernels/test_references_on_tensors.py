"""The references on the library's own tensors: the same values, the gradients derived by hand, and the order above."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ALL, FUNCTIONS, Case, HotPath, generators
from contract import (
    assert_backward_is_the_derivative,
    assert_no_worse_than_the_problem,
    draw_cotangents,
    evaluate,
)
from engines import positions
from hypothesis import given, settings
from planted import QUIET

from tinygrad_nlp import Tensor, grad
from tinygrad_nlp.ops.fused import Fused

by_name = pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name)


@dataclass(frozen=True)
class Gradient(HotPath):
    """The gradient of a hot path, for the contract a function like any other."""

    reference: Any = None


def vjp(function, inputs, at, cotangents, **options):
    """The gradients that the tape finds for the inputs at some positions of a function that returns a tuple."""
    inputs = [Tensor(x, requires_grad=i in at) if isinstance(x, np.ndarray) else x for i, x in enumerate(inputs)]
    return gradients(function(*inputs), [inputs[i] for i in at], cotangents, **options)


def gradients(ys, leaves, cotangents, **options):
    live = [(y, g) for y, g in zip(ys, cotangents, strict=True) if y.requires_grad]
    if not live:  # outputs that depend on no input: all rows masked, say
        return tuple(Tensor(np.zeros_like(x.data)) for x in leaves)
    return grad([y for y, _ in live], leaves, [g for _, g in live], allow_unused=True, **options)


def several(y):
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
@given(data=st.data(), rng=generators())
def test_the_reference_runs_on_tensors(path, data, rng):
    case = data.draw(path.cases(np.float64))
    cotangents = draw_cotangents(path, case, rng)
    inputs = tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in case.inputs)
    results = evaluate(path.reference, path, Case(inputs, case.hyper), tuple(map(Tensor, cotangents)))
    assert_no_worse_than_the_problem({name: a.data for name, a in results.items()}, path, case, cotangents)


@by_name
@given(data=st.data(), rng=generators())
def test_the_tapes_own_derivative_is_ours(path, data, rng):
    """The reference's forward, differentiated operation by operation, against the backward derived by hand."""
    case = data.draw(path.cases(np.float64))
    cotangents, at = draw_cotangents(path, case, rng), positions(path, case)

    def forward(*inputs):
        return several(path.reference.forward(*inputs, **case.hyper)[0])

    results = evaluate(path.reference, path, case, cotangents)
    dxs = vjp(forward, case.inputs, at, cotangents)
    results |= {"d" + path.inputs[i]: dx.data for i, dx in zip(at, dxs, strict=True)}
    assert_no_worse_than_the_problem(results, path, case, cotangents)


@by_name
@given(data=st.data(), rng=generators())
def test_second_order_of_the_reference(path, data, rng):
    """The tape differentiates the backward derived by hand; finite differences of that backward confirm it."""
    case = data.draw(path.cases(np.float64))
    assert_second_order(path, case, rng, lambda dy, inputs: path.reference.backward(dy, *inputs, None, **case.hyper))


@by_name
@given(data=st.data(), rng=generators())
def test_second_order_of_the_fused_function(path, data, rng):
    """A kernel gives value and first gradient, the reference what is above: what users of the library differentiate."""
    case = data.draw(path.cases(np.float64))
    at = positions(path, case)
    differentiable = tuple(i for i, name in enumerate(path.inputs) if name in path.differentiable)
    fused = Fused(path.package, " ".join(path.inputs), differentiable)

    def backward(dy, inputs):
        ys = several(fused(*inputs, **case.hyper))
        return gradients(ys, [inputs[i] for i in at], several(dy), create_graph=True)

    assert_second_order(path, case, rng, backward)


@pytest.mark.parametrize("path", [p for p in FUNCTIONS if p.name in ("layer_norm", "attention")], ids=lambda p: p.name)
def test_saved_taken_for_a_constant_is_caught(path):
    """A mean or a log-sum-exp depends on the inputs; as numbers they leave first gradients right, second ones wrong."""

    @given(data=st.data(), rng=generators())
    @settings(**QUIET)
    def check(data, rng):
        case = data.draw(path.cases(np.float64))

        def backward(dy, inputs):
            numbers = [x.data if isinstance(x, Tensor) else x for x in inputs]
            saved = path.reference.forward(*numbers, **case.hyper)[1]
            return path.reference.backward(dy, *inputs, tuple(map(Tensor, saved)), **case.hyper)

        assert_second_order(path, case, rng, backward)

    with pytest.raises(AssertionError, match="along a random direction"):
        check()


def assert_second_order(path, case, rng, backward):
    """Finite differences of the gradients, as a function of cotangents and inputs, against what the tape finds.

    `backward(dy, inputs)` is differentiated on Tensors; the differences are those of the reference's, on arrays.
    """
    cotangents = draw_cotangents(path, case, rng)
    n = len(cotangents)

    def split(args):
        return (args[:n] if n > 1 else args[0]), args[n:]

    def of_arrays(*args):
        dy, inputs = split(args)
        return tuple(dx for dx in path.reference.backward(dy, *inputs, None, **case.hyper) if dx is not None), None

    def of_tensors(*args):
        return tuple(dx for dx in backward(*split(args)) if dx is not None)

    def derivative(ddxs, *args):
        return tuple(dx.data for dx in vjp(of_tensors, args[:-1], at, tuple(map(Tensor, ddxs))))

    at = [*range(n), *(n + i for i in positions(path, case))]
    names = [f"g{i}" for i in range(n)] + list(path.inputs)
    outputs = tuple("d" + path.inputs[i] for i in positions(path, case))
    kernel = SimpleNamespace(forward=of_arrays, backward=derivative)
    gradient = Gradient(path.name, tuple(names), tuple(names[i] for i in at), path.cases, outputs, reference=kernel)
    assert_backward_is_the_derivative(gradient, Case((*cotangents, *case.inputs)), rng)
