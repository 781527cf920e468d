"""Every public function says what it is and shows an example, and the examples are true."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import tinygrad_nlp

PUBLIC = [name for name in tinygrad_nlp.__all__ if inspect.isfunction(getattr(tinygrad_nlp, name))]


def examples_of(name):
    function = getattr(tinygrad_nlp, name)
    return doctest.DocTestParser().get_doctest(
        inspect.getdoc(function) or "", {"tn": tinygrad_nlp, "np": np}, name, inspect.getsourcefile(function), None
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_is_true(name):
    test = examples_of(name)
    assert test.examples, f"{name} has no example"
    assert inspect.getdoc(getattr(tinygrad_nlp, name)).partition(">>>")[0].strip(), f"{name} says nothing"
    messages: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=messages.append)
    assert not messages, "".join(messages)


def test_a_false_example_is_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "false", None, None)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
