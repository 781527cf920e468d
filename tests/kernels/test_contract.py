"""Every hot path, every backend, both precisions, one contract. A new hot path adds `cases/<hot_path>.py`, no test."""

from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ALL, FUNCTIONS, generators, layouts
from contract import (
    assert_backward_is_the_derivative,
    assert_no_worse_than_the_problem,
    distance,
    draw_cotangents,
    evaluate,
    wide,
)
from hypothesis import given
from nlp_kernels import dispatch

SERVED = [(path, name) for path in ALL for name in dispatch.backends(path.name) if name not in dispatch.ON_GPU]


def test_every_hot_path_has_its_cases():
    assert {path.name for path in ALL} == set(dispatch.HOT_PATHS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("path", "backend"), SERVED, ids=lambda v: getattr(v, "name", v))
@given(data=st.data(), rng=generators())
def test_no_worse_than_the_problem_itself(path, backend, dtype, data, rng):
    case = data.draw(path.cases(dtype))
    cotangents = tuple(data.draw(layouts(c)) for c in draw_cotangents(path, case, rng))
    given = [x for x in (*case.inputs, *cotangents) if x is not None]
    before = [x.copy() for x in given]
    with dispatch.use_backend(backend, path.name):
        ours = evaluate(path.package, path, case, cotangents)
    assert all(np.array_equal(x, b) for x, b in zip(given, before, strict=True)), "an input was changed"
    assert all(a.dtype == dtype for a in ours.values() if a.dtype.kind == "f"), "a dtype was not kept"
    assert_no_worse_than_the_problem(ours, path, case, cotangents, peer=backend != "reference")


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name)
@given(data=st.data(), rng=generators())
def test_backward_is_the_derivative_of_forward(path, data, rng):
    assert_backward_is_the_derivative(path, data.draw(path.cases(np.float64)), rng)


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name)
@given(data=st.data(), rng=generators())
def test_saved_is_a_cache(path, data, rng):
    """`saved=None` recomputes: the same gradients, to the rounding of extended precision."""
    case = wide(data.draw(path.cases(np.float64)))
    cotangents = draw_cotangents(path, case, rng)
    cotangent = cotangents if len(cotangents) > 1 else cotangents[0]
    _, saved = path.reference.forward(*case.inputs, **case.hyper)
    kept = path.reference.backward(cotangent, *case.inputs, saved, **case.hyper)
    recomputed = path.reference.backward(cotangent, *case.inputs, None, **case.hyper)
    assert all(a is b is None or distance(a, b) == 0 for a, b in zip(kept, recomputed, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(
    ("path", "backend"), [s for s in SERVED if s[0] in FUNCTIONS], ids=lambda v: getattr(v, "name", v)
)
@given(data=st.data(), rng=generators())
def test_every_backend_computes_again_what_was_not_saved(path, backend, dtype, data, rng):
    case = data.draw(path.cases(dtype))
    cotangents = draw_cotangents(path, case, rng)
    n = len(case.inputs)
    forgetful = SimpleNamespace(
        forward=path.package.forward,
        backward=lambda dy, *given, **hyper: path.package.backward(dy, *given[:n], None, **hyper),
    )
    with dispatch.use_backend(backend, path.name):
        ours = evaluate(forgetful, path, case, cotangents)
    assert_no_worse_than_the_problem(ours, path, case, cotangents, peer=backend != "reference")
