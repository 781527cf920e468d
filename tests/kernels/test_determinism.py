"""The same bits from run to run, and for any number of threads: every CPU kernel, at sizes that are cut into parts."""

import re
from pathlib import Path

import numpy as np
import pytest
from nlp_kernels import (
    adamw,
    attention,
    cross_entropy,
    dispatch,
    embedding,
    gru,
    layer_norm,
    lstm,
    matmul,
    rnn,
    softmax,
)
from nlp_kernels.common import threads
from nlp_kernels.dispatch import use_backend

RNG = np.random.default_rng(0)
PAGE = (Path(__file__).parents[2] / "kernels" / "README.md").read_text()
TABLE = dict(re.findall(r"^\| (\w+) \| (any number of threads|the same number of threads) \|", PAGE, re.MULTILINE))
HYPER = {"t": 3, "lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}


def draw(dtype, *shape):
    return RNG.normal(size=shape).astype(dtype)


def of_function(kernel, inputs, cotangents, **hyper):
    """Everything that forward and backward give."""
    y, saved = kernel.forward(*inputs, **hyper)
    gradients = kernel.backward(cotangents if len(cotangents) > 1 else cotangents[0], *inputs, saved, **hyper)
    return [*(y if isinstance(y, tuple) else (y,)), *(g for g in gradients if g is not None)]


def work(T):
    """Name: a function that does it on arrays of dtype T."""
    x, target = draw(T, 301, 333), RNG.integers(0, 333, 301)
    gamma, beta = draw(T, 333), draw(T, 333)
    w, b = draw(T, 555, 333), draw(T, 555)
    q, k, v, do = (draw(T, 2, 3, 150, 32) for _ in range(4))
    table, indices = draw(T, 501, 64), np.minimum(RNG.zipf(1.3, 3000) - 1, 500)
    state = [np.abs(draw(T, 301, 333)) for _ in range(4)]
    gelu = {"activation": "gelu", "transpose_w": True}
    return {
        "softmax": lambda: of_function(softmax, (x, x > -1), (x,)),
        "cross_entropy": lambda: of_function(cross_entropy, (x, target), (gamma[:301],), label_smoothing=0.1),
        "layer_norm": lambda: of_function(layer_norm, (x, gamma, beta, x[::-1]), (x, x)),
        "matmul": lambda: of_function(matmul, (x, w, b, None), (draw_like(T, 301, 555),), **gelu),
        "attention": lambda: of_function(attention, (q, k, v, None, np.array([150, 90])), (do,), causal=True),
        "embedding": lambda: of_function(embedding, (table, indices), (draw_like(T, 3000, 64),)),
        **{
            name: recurrent(kernel, gates, T)
            for name, kernel, gates in (("rnn", rnn, 1), ("gru", gru, 3), ("lstm", lstm, 4))
        },
        "adamw": lambda: adamw.step(*state, **HYPER),
    }


def recurrent(kernel, gates, T):
    """A layer of 40 units over 9 steps of 7 sequences, some of them shorter."""
    x, lengths, states = (
        draw(T, 9, 7, 30),
        np.array([9, 0, 3, 9, 8, 1, 9]),
        [draw(T, 7, 40) for _ in range(1 + (gates == 4))],
    )
    weights = [draw(T, gates * 40, *more) / 5 for more in ((30,), (40,), (), ())]
    dys = (draw(T, 9, 7, 40), *states)
    return lambda: of_function(kernel, (x, *states, *weights, lengths), dys)


def draw_like(T, *shape):
    return np.random.default_rng(1).normal(size=shape).astype(T)


def bits(run, n, monkeypatch):
    """The results on n threads, as integers; the cuts are the same as on a machine that has so many processors."""
    monkeypatch.setattr(threads, "_threads", n)
    return [a.view(f"i{a.dtype.itemsize}") for a in run()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", [*work(np.float32)])
def test_the_bits_are_the_same(monkeypatch, name, dtype):
    """From run to run on any number of threads; and from one number to another where the table says so."""
    run = work(dtype)[name]
    with use_backend("cpu"):
        first = bits(run, 1, monkeypatch)
        for n in (1, 2, 3, 4, 8):
            results = bits(run, n, monkeypatch)
            again = first if TABLE[name] == "any number of threads" else bits(run, n, monkeypatch)
            for a, b in zip(results, again, strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_table_has_every_hot_path():
    assert TABLE.keys() == set(dispatch.HOT_PATHS) == set(work(np.float32))
    assert set(TABLE.values()) == {"any number of threads", "the same number of threads"}
