"""Every public function says what it is, its shapes and its errors, and shows an example; the examples are true."""

from __future__ import annotations

import doctest
import inspect
import re

import numpy as np
import pytest
from mistakes import MISTAKES

import tinygrad_nlp
from tinygrad_nlp import ops

PUBLIC = [name for name in tinygrad_nlp.__all__ if inspect.isfunction(getattr(tinygrad_nlp, name))]


TRANSFORMS = "grad value_and_grad vjp jvp jacobian hessian hvp checkpoint primitive".split()
OF_ARRAYS = {*ops.names, *TRANSFORMS}


def prose_of(name):
    return inspect.getdoc(getattr(tinygrad_nlp, name)).partition(">>>")[0]


def examples_of(name):
    function = getattr(tinygrad_nlp, name)
    return doctest.DocTestParser().get_doctest(
        inspect.getdoc(function) or "", {"tn": tinygrad_nlp, "np": np}, name, inspect.getsourcefile(function), None
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_is_true(name):
    test = examples_of(name)
    assert test.examples, f"{name} has no example"
    assert prose_of(name).strip(), f"{name} says nothing"
    messages: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=messages.append)
    assert not messages, "".join(messages)


@pytest.mark.parametrize("name", [n for n in PUBLIC if n in OF_ARRAYS])
def test_the_shapes_are_given(name):
    assert "->" in prose_of(name), f"{name} says no shapes, as (N, C) -> (N,)"


@pytest.mark.parametrize("name", [n for n in PUBLIC if inspect.signature(getattr(tinygrad_nlp, n)).parameters])
def test_the_errors_are_given(name):
    """What takes arguments can be given wrong ones; `mistakes.py` has them, and so the claims are tested."""
    assert re.search(r"\bRaises \w+Error\b", " ".join(prose_of(name).split())), f"{name} says no errors"
    assert name in MISTAKES, f"{name}: its errors are not tested"


def test_a_false_example_is_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "false", None, None)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
