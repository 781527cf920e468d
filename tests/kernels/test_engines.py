"""Every reference on NumPy, array_api_strict, PyTorch and JAX arrays; and the derivatives that the latter two find."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ALL, FUNCTIONS, Case, generators
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from engines import DIFFERENTIATING, ENGINES, Jax, positions, to
from hypothesis import given, settings


def examples(engine):
    """JAX compiles anew for each shape, a fifth of a second at the least."""
    return settings(max_examples=8) if isinstance(engine, Jax) else settings()


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_the_reference_runs_on_any_library(path, engine):
    @given(data=st.data(), rng=generators())
    @examples(engine)
    def check(data, rng):
        case = data.draw(path.cases(np.float64))
        cotangents = draw_cotangents(path, case, rng)

        def run(inputs, cs):
            return evaluate(path.reference, path, Case(inputs, case.hyper), cs)

        with engine.context():
            results = engine.call(run, to(engine, case.inputs), to(engine, cotangents))
            results = {name: engine.numpy(a) for name, a in results.items()}
        assert all(a.dtype == np.float64 for a in results.values() if a.dtype.kind == "f")
        assert_no_worse_than_the_problem(results, path, case, cotangents)

    check()


@pytest.mark.parametrize("engine", DIFFERENTIATING, ids=lambda engine: engine.name)
@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name)
def test_the_engines_own_derivative_is_ours(path, engine):
    @given(data=st.data(), rng=generators())
    @examples(engine)
    def check(data, rng):
        case = data.draw(path.cases(np.float64))
        cotangents = draw_cotangents(path, case, rng)
        at = positions(path, case)

        def forward(*differentiable):
            inputs = list(fixed)
            for i, x in zip(at, differentiable, strict=True):
                inputs[i] = x
            y, _ = path.reference.forward(*inputs, **case.hyper)
            return y if isinstance(y, tuple) else (y,)

        ours = evaluate(path.reference, path, case, cotangents)
        with engine.context():
            fixed = to(engine, case.inputs)
            _, dxs = engine.vjp(forward, [fixed[i] for i in at], to(engine, cotangents))
            theirs = {"d" + path.inputs[i]: engine.numpy(dx) for i, dx in zip(at, dxs, strict=True)}
        assert_no_worse_than_the_problem(ours | theirs, path, case, cotangents)

    check()
