"""What a docstring must say, and that it is true: a definition, shapes, the errors and an example, which runs."""

from __future__ import annotations

import doctest
import inspect
import re

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import nn, optim, text
from tinygrad_nlp.models import decoding
from tinygrad_nlp.nn import functional, init
from tinygrad_nlp.nn.utils import rnn

NAMES = {"tn": tn, "np": np, "nn": nn, "F": functional, "init": init, "optim": optim, "decoding": decoding}
NAMES |= {"rnn": rnn, "text": text}


def prose(thing):
    """The docstring before its example, as one line."""
    return " ".join((inspect.getdoc(thing) or "").partition(">>>")[0].split())


def errors(thing):
    """The errors that a docstring says are raised."""
    told = re.search(r"\bRaises (.*?)\.(\s|$)", prose(thing))
    return set(re.findall(r"\w+Error", told[1])) if told else set()


def tells_all(name, thing, mistakes, *, shapes=True):
    """Assert the rule; the errors are those of `mistakes`, {error: calls that raise it}, no more and no fewer."""
    assert prose(thing), f"{name} says nothing"
    assert not shapes or "->" in prose(thing), f"{name} says no shapes, as (N, C) -> (N,)"
    assert errors(thing) == {error.__name__ for error in mistakes}, f"{name}: these are not the errors it raises"
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(thing), NAMES, name, None, None)
    assert example.examples, f"{name} has no example"
    messages: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=messages.append)
    assert not messages, "".join(messages)


def each(mistakes):
    """Every call of {name: {error: calls}} as a test's parameters `name, error, call`."""
    cases = [
        pytest.param(name, error, call, id=f"{name}-{error.__name__}-{i}")
        for name, errors in sorted(mistakes.items())
        for error, calls in errors.items()
        for i, call in enumerate(calls)
    ]
    return pytest.mark.parametrize(("name", "error", "call"), cases)


def message_of(error, call):
    """What a call says that raises this error: that very class, not one below it."""
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    return str(caught.value)
