"""Every diagnosis of a wrong gradient is given for a planted bug of its kind, and none for what is right."""

import re

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp.autograd import namespace
from tinygrad_nlp.autograd.check import GradientError, check_grads

rng = np.random.default_rng(0)


def function(forward, *rules, names="x", broadcasts=False):
    """A primitive of x, or x, w, with a rule for each."""
    body = {"x": lambda x: forward(x), "x w": lambda x, w: forward(x, w)}[names]
    body.__name__ = "f"
    f = tn.primitive(broadcasts=broadcasts)(body)
    for name, rule in zip(names.split(), rules, strict=True):
        f.vjp(name)(rule)
    return f


def diagnosed(f, *xs, order=1, **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, xs, order=order, **options)
    error = caught.value
    assert f"it looks like: {error.diagnosis}" in str(error)
    assert f"gradient of order {error.order} by input" in str(error)
    return error


def array(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(x, axis=-1):
    e = namespace(x).exp(x - namespace(x).max(x, axis=axis, keepdims=True))
    return e / namespace(x).sum(e, axis=axis, keepdims=True)


def mean(x):
    return namespace(x).mean(x, axis=-1, keepdims=True)


def dot(a, b):
    return namespace(a).sum(a * b, axis=-1, keepdims=True)


def normalised(x):
    c = x - mean(x)
    return c / namespace(x).sqrt(mean(c * c) + 1e-5)


def std(x):
    return namespace(x).sqrt(mean((x - mean(x)) ** 2) + 1e-5)


def constant(x):
    return x.detach() if isinstance(x, tn.Tensor) else x


def where(condition, a, b):
    return namespace(a).where(condition, a, b)


def masked(x, columns=slice(1, None)):
    keep = np.zeros(4)
    keep[columns] = 1
    return x * keep


def taken(x, places):
    return x[np.array(places)]


def scattered(g, places, n):
    """Row places[i] receives g[i], and of several the last."""
    return namespace(g).stack([g[places.index(i)] if i in places else 0.0 * g[0] for i in range(n)], axis=0)


def slightly(x):
    """The softmax with an ε where it has none."""
    e = namespace(x).exp(x - namespace(x).max(x, axis=-1, keepdims=True))
    return e / (namespace(x).sum(e, axis=-1, keepdims=True) + 1e-3)


A = array(4, 2, seed=3)


def square(x):
    return x * x


def cumulative(g, columns):
    """g with its columns in another order."""
    return namespace(g).stack([g[:, c] for c in columns], axis=1)


# what the error looks like: a function with its wrong rules, where it is looked at
def log_likelihood(x):
    """Of the labels 0, 2, 1."""
    return namespace(x).log(softmax(x))[np.arange(3), np.array([0, 2, 1])]


def in_float32(x):
    return namespace(x).astype(namespace(x).astype(x, np.float32), np.float64)


PLANTED = {
    "the cotangent is forgotten": (function(square, lambda g, x: 2 * x), array(3, 4)),
    "right for one-hot cotangents and wrong for others": (
        function(square, lambda g, x: 2 * x * g * abs(dot(g, g)) ** 0.5),
        abs(array(3)) + 1,
    ),
    "float32 inside float64: a relative error of .e-0.*, and none for one-hot": (
        function(square, lambda g, x: 2 * x * in_float32(g)),
        array(3, 4),
    ),
    "float32 accumulation inside float64": (function(square, lambda g, x: 2 * g * in_float32(x)), array(3, 4)),
    "nothing flows back: the graph is cut": (function(square, lambda g, x: 0 * g), array(3, 4)),
    "the sign is flipped": (function(square, lambda g, x: -2 * g * x), array(3, 4)),
    r"wrong by a constant factor 1\.5": (function(square, lambda g, x: 3 * g * x), array(3, 4)),
    r"wrong by a constant factor 1 \+ 1e-06": (function(square, lambda g, x: (2 + 2e-6) * g * x), array(3, 4)),
    "transposed: the axes of the gradient are exchanged": (function(square, lambda g, x: (2 * g * x).T), array(3, 3)),
    "transposed: the axes of the cotangent are exchanged": (function(square, lambda g, x: 2 * g.T * x), array(3, 3)),
    "the product is with w where it should be with its transpose": (
        function(lambda x, w: x @ w, lambda g, w: g @ w, lambda g, x: x.T @ g, names="x w"),
        array(3, 3),
        array(3, 3, seed=2),
    ),
    "the cotangent is summed over the wrong axis: it keeps axis 0, the input goes along axis 1": (
        function(lambda x, w: x * w, lambda g, w: g * w, lambda g, x: namespace(g).sum(g * x, axis=1), names="x w"),
        array(3, 3),
        array(3),
    ),
    r"transposed: .* \(a bias summed over the wrong axis\)": (
        function(lambda x, w: x + w, lambda g: g, lambda g: namespace(g).sum(g, axis=1), names="x w"),
        array(3, 3),
        array(3),
    ),
    "the right numbers at wrong places": (
        function(lambda x: x[np.array([0, 2, 1, 2])], lambda g: scattered(g, [1, 0, 2], 3) + scattered(g[3:], [2], 3)),
        array(3),
    ),
    r"right only for \|x\| < 1": (
        function(square, lambda g, x: where(abs(x) < 1, 2 * g * x, 0.0 * g)),
        array(4, 4) * 1.5,
    ),
    "right only for x > 0": (function(square, lambda g, x: where(x > 0, 2 * g * x, g)), array(4, 4)),
    r"a gradient leaks into places that do not matter .*such as \[0, 0\]": (
        function(masked, lambda g: 1.0 * g),
        array(3, 4),
    ),
    "a gradient leaks between places that do not depend on each other": (
        function(lambda x: x @ np.tri(4), lambda g: g @ np.tri(4, k=1).T),
        array(3, 4),
    ),
    "among other errors, a gradient reaches places that do not matter": (
        function(lambda x: masked(x * x), lambda g, x: 2 * g + 0.1 * g * g.T),
        array(4, 4),
    ),
    "only the diagonal of the Jacobian is there": (function(softmax, lambda g, y: g * y * (1 - y)), array(3, 4)),
    r"the broadcast axis is not summed: one entry of output axis 0 stands for all": (
        function(lambda x, w: x + w, lambda g: g, lambda g: 1.0 * g[0], names="x w"),
        array(3, 4),
        array(4),
    ),
    r"duplicates lost: \[1, 0\] is read several times": (
        function(lambda x: x[np.array([0, 1, 1])], lambda g: scattered(g, [0, 1], 4)),
        array(4, 2),
    ),
    r"a part of the gradient is lost, at \[1, 0\] and 1 other places": (
        function(lambda x: x[np.array([0, 1])], lambda g: scattered(g, [0], 3)),
        array(3, 2),
    ),
    "the wrong axis: the rule mixes places along axis 0, the function along axis 1": (
        function(softmax, lambda g, y: y * (g - namespace(g).sum(g * y, axis=0, keepdims=True))),
        array(3, 4),
    ),
    "an index is off by one along axis 1": (
        function(square, lambda g, x: cumulative(2 * g * x, [3, 0, 1, 2])),
        array(3, 4),
    ),
    "what belongs to one place of a row is at another": (
        function(log_likelihood, lambda g, x: g[:, None] * (np.eye(4)[[1, 3, 2]] - softmax(x))),
        array(3, 4),
    ),
    "the gradient is divided by x: a factor x is missing": (function(square, lambda g, x: 2 * g), array(3, 4)),
    "the gradient is multiplied by x: a factor too many": (function(square, lambda g, x: 2 * g * x * x), array(3, 4)),
    r"the gradient is multiplied by \|x\|": (function(square, lambda g, x: 2 * g * x * abs(x)), array(3, 4)),
    "the gradient is multiplied by the sign of x": (function(square, lambda g, x: 2 * g * abs(x)), array(3, 4)),
    "the gradient is multiplied by x²": (function(square, lambda g, x: 2 * g * x**3), array(3, 4)),
    "the gradient is divided by x²: a factor x² is missing": (
        function(lambda x: x**3, lambda g, x: 3 * g),
        array(3, 4),
    ),
    "the cotangent is multiplied by y: a factor too many": (
        function(softmax, lambda g, y: y * (g * y - dot(g * y, y))),
        array(3, 4),
    ),
    "the cotangent is multiplied by w: a factor too many": (
        function(
            lambda x, w: x @ A * w,
            lambda g, w: g * w * w @ A.T,
            lambda g, x: namespace(g).sum(g * (x @ A), axis=0),
            names="x w",
        ),
        array(3, 4),
        array(2),
    ),
    "wrong by a factor for each row, the same along axis 1": (
        function(softmax, lambda g, y: y * (g - dot(g, y)) * np.array([[1.0], [2.0], [4.5]])),
        array(3, 4),
    ),
    "wrong by another factor for each element of the gradient": (
        function(softmax, lambda g, y: y * (g - dot(g, y)) * (1 + array(3, 4, seed=5) ** 2)),
        array(3, 4),
    ),
    "the mean term is dropped: the difference is constant along axis -1": (
        function(normalised, lambda g, x, y: (g - y * mean(g * y)) / std(x)),
        array(3, 5),
    ),
    r"the term x̂·mean\(x̂ …\) is dropped": (function(normalised, lambda g, x: (g - mean(g)) / std(x)), array(3, 5)),
    "the mean and the x̂ terms are dropped": (function(normalised, lambda g, x: g / std(x)), array(3, 5)),
    "the term y·⟨g, y⟩ is dropped": (function(softmax, lambda g, y: y * g), array(3, 4)),
    r"wrong by a factor for each row, .* from 1 - 0.00025 to 1 - 0.00013": (
        function(normalised, lambda g, x, y: (g - mean(g) - y * mean(g * y)) / (std(x) + 1e-4)),
        array(3, 5),
    ),
    "a small error, .* a small constant": (
        function(softmax, lambda g, x: slightly(x) * (g - dot(g, slightly(x)))),
        array(3, 4),
    ),
    r"no known pattern: 12 of 12 elements": (
        function(softmax, lambda g, y: g * np.cos(y) + namespace(g).sum(g) * y**2),
        array(3, 4),
    ),
}


@pytest.mark.parametrize("words", PLANTED)
def test_it_looks_like_what_was_planted(words):
    f, *xs = PLANTED[words]
    assert re.match(words, diagnosed(f, *xs).diagnosis)
