"""`random` and `models.decoding`: what draws numbers and tokens says its shapes, errors and an example, all true."""

from __future__ import annotations

import inspect

import documentation
import numpy as np
import pytest

from tinygrad_nlp import DtypeError, ShapeError
from tinygrad_nlp.models import decoding
from tinygrad_nlp.random import Generator

DRAWS = {
    name: method for name, method in vars(Generator).items() if inspect.isfunction(method) and not name.startswith("_")
}
DECODING = {
    name: f for name, f in vars(decoding).items() if inspect.isfunction(f) and f.__module__ == decoding.__name__
}
PUBLIC = {"Generator": Generator, **DRAWS, **DECODING}
P, G = [[0.5, 0.5]], Generator(1)


def calls(function, *cases):
    return [lambda case=case: function(*case) for case in cases]


def decodes(logits=P, **setting):
    return lambda: decoding.next_token_probabilities(logits, **setting)


MISTAKES = {
    "Generator": {ValueError: calls(Generator, (-1,), (2**64,), (1.5,), ("a",))},
    "reserve": {ValueError: calls(G.reserve, (-1,))},
    "uniform": {
        ShapeError: calls(G.uniform, (-1,), ((2, -1),)),
        ValueError: calls(G.uniform, (2, 1.0, 0.0), (2, np.nan, 1.0)),
        DtypeError: [*calls(G.uniform, ("a",), (1.5,), ((2, None),), (2, "a"), (2, 0.0, "a")),
                     lambda: G.uniform(2, dtype=np.int64)],
    },
    "normal": {
        ShapeError: calls(G.normal, (-1,)),
        ValueError: calls(G.normal, (2, 0.0, -1.0)),
        DtypeError: [*calls(G.normal, ("a",), (1.5,), (2, "a"), (2, 0.0, "a")), lambda: G.normal(2, dtype=np.int64)],
    },
    "integers": {
        ShapeError: calls(G.integers, (0, 2, -1)),
        ValueError: calls(G.integers, (2, 2), (3, 2), (0, 2**53 + 1)),
        DtypeError: calls(G.integers, ("a", 2), (0, "a"), (0, 2, 1.5)),
    },
    "permutation": {ShapeError: calls(G.permutation, (-1,)), DtypeError: calls(G.permutation, (1.5,), ("a",))},
    "choice": {
        ShapeError: calls(G.choice, ([],), (P,), (1.0,)),
        ValueError: calls(G.choice, ([-1.0, 2.0],), ([0.0, 0.0],), ([np.nan, 1.0],), ([1.0, np.inf],)),
    },
    "next_token_probabilities": {
        ShapeError: [decodes(x) for x in (P[0], 1.0, [[]])],
        ValueError: [
            decodes(temperature=-1), decodes(temperature=np.nan), decodes(top_k=0), decodes(top_p=0),
            decodes(top_p=1.1), *(decodes([[1.0, 2.0], x]) for x in ([np.nan, 0], [np.inf, 0], [-np.inf] * 2)),
        ],
    },
    "draw": {
        ShapeError: calls(decoding.draw, (P[0], G), ([[]], G)),
        ValueError: calls(decoding.draw, *(([[1, 1], x], G) for x in ([0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]))),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    documentation.tells_all(name, PUBLIC[name], MISTAKES[name], shapes=name != "Generator")


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    subject = {"Generator": "a seed", "next_token_probabilities": "decoding"}.get(name, name)
    assert documentation.message_of(error, call).startswith(subject)


def test_a_refused_draw_takes_nothing_from_the_stream():
    generator = Generator(1)
    for bad in (-1, -8):
        with pytest.raises(ShapeError):
            generator.uniform(bad)
    assert generator.counter == 0
