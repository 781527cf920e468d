"""Functions of each element: domains away from poles and kinks, which `test_kinks.py` has."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import scipy.special
from drawn import Case, broadcastable, distinct, generators, laid_out, shapes, uniform

from functions import Function


@st.composite
def one(draw, lo, hi):
    return Case((draw(uniform(draw(shapes()), lo, hi)),))


@st.composite
def one_distinct(draw):
    return Case(draw(distinct(draw(shapes()))))


@st.composite
def several(draw, *domains):
    drawn = draw(broadcastable(len(domains)))
    return Case(tuple(draw(uniform(s, *d)) for s, d in zip(drawn, domains, strict=True)))


@st.composite
def two_distinct(draw):
    return Case(draw(distinct(*draw(broadcastable(2)))))


@st.composite
def chosen(draw):
    """where(condition, a, b)"""
    c, a, b = draw(broadcastable(3))
    condition = draw(laid_out(draw(generators()).random(c) < 0.5, repeated=True))
    return Case((condition, draw(uniform(a)), draw(uniform(b))))


@st.composite
def clipped(draw):
    """clip(x, min, max), either bound a number, an array or missing"""
    shapes = draw(broadcastable(3))
    x, low, high = draw(distinct(np.broadcast_shapes(*shapes), *shapes[1:]))
    bound = st.sampled_from(["array", "number", "missing"])
    low = {"array": low, "number": -0.1, "missing": None}[draw(bound)]
    high = {"array": high, "number": 0.1, "missing": None}[draw(bound)]
    return Case((x, low, high))


@st.composite
def divided(draw):
    """remainder(a, b) where a/b stays away from whole numbers"""
    a, b = draw(broadcastable(2))
    rng = draw(generators())
    whole, part = rng.integers(-4, 4, a), rng.uniform(0.1, 0.4, a)
    return Case((draw(laid_out(whole + part)), draw(laid_out(rng.choice([-1.0, -0.5, 0.5, 1.0], b)))))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _functional(name, **fixed):
    def call(x):
        from torch.nn import functional

        return getattr(functional, name)(x, **fixed)

    return call


def _special(name):
    def call(x):
        import torch

        return getattr(torch.special, name)(x)

    return call


def torch_clip(x, low, high):
    import torch

    as_tensor = [b if b is None or isinstance(b, torch.Tensor) else torch.tensor(b) for b in (low, high)]
    return x + 0 if low is high is None else torch.clip(x, *as_tensor)


def torch_remainder(a, b):
    return a - b * (a / b).detach().floor()


def torch_hypot(a, b):
    import torch

    return torch.hypot(a, b)


def torch_copysign(a, b):
    import torch

    return torch.copysign(a, b)


DOMAINS = {
    "negative": (-3, 3),
    "positive": (-3, 3),
    "square": (-3, 3),
    "reciprocal": (0.3, 3),
    "sqrt": (0.2, 3),
    "exp": (-3, 3),
    "expm1": (-3, 3),
    "log": (0.2, 4),
    "log1p": (-0.7, 3),
    "log2": (0.2, 4),
    "log10": (0.2, 4),
    "sin": (-3, 3),
    "cos": (-3, 3),
    "tan": (-1.2, 1.2),
    "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9),
    "atan": (-3, 3),
    "sinh": (-3, 3),
    "cosh": (-3, 3),
    "tanh": (-3, 3),
    "asinh": (-3, 3),
    "acosh": (1.2, 4),
    "atanh": (-0.9, 0.9),
}

FUNCTIONS = [
    *(Function(name, one(*domain), broadcasts=True) for name, domain in DOMAINS.items()),
    Function("sigmoid", one(-3, 3), numpy=scipy.special.expit, broadcasts=True),
    Function(
        "softplus", one(-3, 3), numpy=lambda x: np.logaddexp(x, 0), torch=_functional("softplus"), broadcasts=True
    ),
    Function(
        "log_sigmoid", one(-3, 3), numpy=scipy.special.log_expit, torch=_functional("logsigmoid"), broadcasts=True
    ),
    Function("erf", one(-3, 3), numpy=scipy.special.erf, broadcasts=True),
    Function("gelu", one(-3, 3), numpy=lambda x: x * scipy.special.ndtr(x), torch=_functional("gelu"), broadcasts=True),
    Function("gelu_tanh", one(-3, 3), numpy=gelu_tanh, torch=_functional("gelu", approximate="tanh"), broadcasts=True),
    Function("relu", one_distinct(), numpy=lambda x: np.maximum(x, 0), broadcasts=True),
    Function("abs", one_distinct(), broadcasts=True),
    Function("conj", one(-3, 3), broadcasts=True),
    Function("real", one(-3, 3), broadcasts=True),
    Function("copysign", two_distinct(), torch=torch_copysign, broadcasts=True),
    Function("add", several((-3, 3), (-3, 3)), broadcasts=True),
    Function("subtract", several((-3, 3), (-3, 3)), broadcasts=True),
    Function("multiply", several((-3, 3), (-3, 3)), broadcasts=True),
    Function("divide", several((-3, 3), (0.4, 3)), broadcasts=True),
    Function("pow", several((0.3, 2), (-2, 2)), broadcasts=True),
    Function("logaddexp", several((-3, 3), (-3, 3)), broadcasts=True),
    Function("atan2", several((-3, 3), (0.3, 3)), broadcasts=True),
    Function("hypot", several((0.2, 3), (-3, 3)), torch=torch_hypot, broadcasts=True),
    Function("maximum", two_distinct(), broadcasts=True),
    Function("minimum", two_distinct(), broadcasts=True),
    Function("remainder", divided(), torch=torch_remainder, broadcasts=True),
    Function("clip", clipped(), torch=torch_clip, broadcasts=True),
    Function("where", chosen(), broadcasts=True),
]
