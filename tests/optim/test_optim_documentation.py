"""Optimisers and schedules: each says its equation, its errors and an example, and all of it is true."""

from __future__ import annotations

import math

import documentation
import numpy as np
import pytest

from tinygrad_nlp import DtypeError, Tensor, nn, optim

P = nn.Parameter([1.0])
PUBLIC = {name: thing for name in optim.__all__ if isinstance(thing := getattr(optim, name), type)}
PUBLIC["clip_scale"] = optim.clip_scale  # the others that clip are of nn.utils


def optimizers(name, *ranges):
    """What every optimiser refuses, and hyperparameters out of range; a word is out of each range."""

    def made(params, **options):
        defaults = ({"lr": 1.0, **options},) if name == "Optimizer" else ()
        return lambda: PUBLIC[name](params, *defaults, **({} if defaults else options))

    return {
        TypeError: [made(params) for params in (P, None, nn.Linear(1, 1), [np.ones(2)], [{"params": 3}])],
        ValueError: [
            *(made(params) for params in ([], [P, P], [Tensor(P) * P], [{"lr": 1.0}], [{"params": P, "speed": 1.0}])),
            *(made([P], **options) for options in ({"lr": -1.0}, {"lr": math.nan}, {"lr": "fast"}, *ranges)),
        ],
    }


def rates(kind, *wrong, good):
    return {ValueError: [*(lambda w=w: kind(*w) for w in wrong), *(lambda t=t: kind(*good)(t) for t in (0, -1))]}


RATES = ("Constant", "InverseSqrt", "Noam", "WarmupCosine")
BETAS = [{"betas": b} for b in ((0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9, ("a", "b"))]
POSITIVE = [{name: value} for name in ("eps", "weight_decay") for value in (-1.0, "a")]
MISTAKES = {
    "Optimizer": optimizers("Optimizer"),
    "SGD": optimizers(
        "SGD", {"momentum": -1.0}, {"momentum": "a"}, {"weight_decay": -1.0},
        {"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    ),
    "Adam": optimizers("Adam", *BETAS, *POSITIVE),
    "AdamW": optimizers("AdamW", *BETAS, *POSITIVE),
    "Adagrad": optimizers("Adagrad", *POSITIVE, {"lr_decay": -1.0}, {"initial_accumulator_value": -1.0}),
    "RMSprop": optimizers("RMSprop", *POSITIVE, {"momentum": -1.0}, {"alpha": 2.0}, {"alpha": "a"}),
    "Constant": rates(optim.Constant, (1.0, -1), good=(1.0,)),
    "WarmupCosine": rates(optim.WarmupCosine, (1.0, 0.0, -1, 5), good=(1.0, 0.0, 0, 5)),
    "InverseSqrt": rates(optim.InverseSqrt, (1.0, -1), good=(1.0, 0)),
    "Noam": rates(optim.Noam, (0, 4), (-2, 4), (4, 0), (4, -1), good=(4, 4)),
    "clip_scale": {
        ValueError: [lambda: optim.clip_scale(P, -1.0), lambda: optim.clip_scale(P, math.nan)],
        DtypeError: [lambda: optim.clip_scale(3, 1.0), lambda: optim.clip_scale([P.data], 1.0)],
    },
    "LRSchedule": {
        TypeError: [
            lambda: optim.LRSchedule(3, optim.Constant(1.0)), lambda: optim.LRSchedule(optim.SGD([P]), 0.1),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    documentation.tells_all(name, PUBLIC[name], MISTAKES[name], shapes=name in RATES)
    assert name == "LRSchedule" or any(sign in documentation.prose(PUBLIC[name]) for sign in "=←"), "no equation"


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    assert documentation.message_of(error, call).startswith((name, "a schedule counts steps from 1"))
