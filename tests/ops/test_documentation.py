"""Every public function says what it is, its shapes and its errors, and shows an example; the examples are true."""

from __future__ import annotations

import inspect

import documentation
import pytest
from mistakes import MISTAKES

import tinygrad_nlp
from tinygrad_nlp import DtypeError, ShapeError, ops

PUBLIC = [name for name in tinygrad_nlp.__all__ if inspect.isfunction(getattr(tinygrad_nlp, name))]
TRANSFORMS = "grad value_and_grad vjp jvp jacobian hessian hvp checkpoint primitive".split()
OF_ARRAYS = {*ops.names, *TRANSFORMS}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    """What takes arguments can be given wrong ones; `mistakes.py` has them, and so the claims are tested."""
    function = getattr(tinygrad_nlp, name)
    assert name in MISTAKES or not inspect.signature(function).parameters, f"{name}: its errors are not tested"
    documentation.tells_all(name, function, MISTAKES.get(name, {}), shapes=name in OF_ARRAYS)


def test_every_mistake_is_one_of_a_public_function():
    assert not MISTAKES.keys() - set(PUBLIC)


def silent(x): ...


def shapeless(x):
    """y = x. Raises ShapeError always.

    >>> 1 + 1
    2
    """


def told(x):
    """y = x.  (...) -> (...)  Raises ShapeError always.

    >>> 1 + 1
    2
    """


def unshown(x):
    """y = x.  (...) -> (...)  Raises ShapeError always."""


def false(x):
    """y = x.  (...) -> (...)  Raises ShapeError always.

    >>> 1 + 1
    3
    """


@pytest.mark.parametrize(
    ("function", "raised", "complaint"),
    [
        (silent, ShapeError, "silent says nothing"),
        (shapeless, ShapeError, "shapeless says no shapes"),
        (told, DtypeError, "told: these are not the errors it raises"),
        (unshown, ShapeError, "unshown has no example"),
        (false, ShapeError, r"Expected:\s+3\s+Got:\s+2"),
    ],
)
def test_what_a_docstring_lacks_is_found(function, raised, complaint):
    documentation.tells_all("told", told, {ShapeError: []})
    with pytest.raises(AssertionError, match=complaint):
        documentation.tells_all(function.__name__, function, {raised: []})
