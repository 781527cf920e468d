"""Plant a bug in a reference or a CUDA kernel, and see it found: tests that cannot fail prove nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import HotPath, generators
from contract import assert_backward_is_the_derivative, assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import Phase, given, settings
from nlp_kernels.common.cuda import Source
from nlp_kernels.simulator import SimulatorError, simulate, translate

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
QUIET = {"deadline": None, "database": None, "derandomize": True, "phases": [Phase.generate]}


def plant(reference: ModuleType, right: str, wrong: str) -> ModuleType:
    """The reference with one piece of its text replaced."""
    text = Path(str(reference.__file__)).read_text()
    assert text.count(right) >= 1, f"{reference.__name__} has no {right!r}"
    mutant = module_from_spec(spec_from_loader(f"mutant of {reference.__name__}", loader=None))
    exec(compile(text.replace(right, wrong), mutant.__name__, "exec"), mutant.__dict__)
    return mutant


def assert_derivative_catches(path: HotPath, right: str, wrong: str) -> None:
    """The finite differences of the contract refuse the mutant's backward, and pass the reference's."""
    mutant = plant(path.reference, right, wrong)

    def check(kernel, examples=100):
        @given(case=path.cases(np.float64), rng=generators())
        @settings(**QUIET, max_examples=examples)
        def differences(case, rng):
            assert_backward_is_the_derivative(path, case, rng, kernel)

        differences()

    check(path.reference)
    with pytest.raises(AssertionError, match="along a random direction"):
        check(mutant, examples=1000)  # the first one that fails ends it


def assert_accuracy_catches(path: HotPath, right: str, wrong: str) -> None:
    """The contract's comparison with extended precision refuses the mutant, and passes the reference."""
    mutant = plant(path.reference, right, wrong)

    def check(kernel, examples=100):
        @given(data=st.data(), rng=generators())
        @settings(**QUIET, max_examples=examples)
        def comparison(data, rng):
            case = data.draw(path.cases(np.float32))
            cotangents = draw_cotangents(path, case, rng)
            ours = evaluate(kernel, path, case, cotangents)
            assert_no_worse_than_the_problem(ours, path, case, cotangents, peer=False)

        comparison()

    check(path.reference)
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="is off by"):
        check(mutant, examples=1000)  # the first one that fails ends it


class Mutant(Source):
    """A CUDA source, or one of its headers, with one piece of its text replaced; `instances` of it are compiled."""

    def __init__(self, source: Source, right: str, wrong: str, instances: tuple[str, ...]):
        super().__init__(str(source.path), *instances)
        text = translate.flatten(source.code, [])
        assert right in text, f"{source.path} has no {right!r}"
        self._text = text.replace(right, wrong)

    @property
    def code(self) -> str:
        return self._text


def shown(bugs: dict[str, Any]) -> list[str]:
    """The names of every third bug, always the same; HYPOTHESIS_PROFILE=thorough shows all of them."""
    return list(bugs)[:: 1 if THOROUGH else 3]


def assert_simulator_catches(
    launcher: Any, bug: tuple[str, str, str], instances: tuple[str, ...], run: Callable[[], Any], monkeypatch: Any
) -> None:
    """`run` launches kernels of `launcher` without complaint, and with the bug (right, wrong, message) it is named."""
    right, wrong, message = bug
    orders, source = ("forward", "random:1"), launcher.SOURCE
    for order in orders:
        with simulate(order):
            run()
    monkeypatch.setattr(launcher, "SOURCE", Mutant(source, right, wrong, instances))
    for order in orders:
        with pytest.raises((SimulatorError, AssertionError), match=message), simulate(order):
            run()
