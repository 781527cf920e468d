"""Every hot path through the tape on every backend: gradients to second order, in float64, with random cotangents."""

import numpy as np
import pytest
from cases import ALL
from nlp_kernels import dispatch
from simulated import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.ops import recurrent

RNG = np.random.default_rng(0)
TARGET, INDICES = np.array([0, 4, 2]), np.array([1, 3, 1, 0])
LENGTHS, REAL = np.array([2, 3]), np.array([4, 0, 2])


def draw(*shape):
    return RNG.normal(size=shape)


def steps(gates, states=1):
    """x (T, B, I), the initial states (B, H), weights and biases of a layer with so many gates."""
    return [
        draw(4, 3, 2),
        *(draw(3, 2) for _ in range(states)),
        *(draw(gates * 2, *more) for more in ((2,), (2,), (), ())),
    ]


def layer(function):
    """A recurrent layer of sequences of unlike lengths, read backwards; all its outputs side by side."""

    def outputs(*xs):
        y, *final = function(*xs, lengths=REAL, reverse=True)
        return tn.concat([y, *(tn.reshape(state, (1, 3, 2)) for state in final)])

    return outputs


FUNCTIONS = {
    "softmax": (lambda x: tn.softmax(x, temperature=0.7), [draw(3, 5)]),
    "cross_entropy": (lambda x: tn.cross_entropy(x, TARGET, label_smoothing=0.1), [draw(3, 5)]),
    "matmul": (lambda *xs: tn.linear(*xs, activation="gelu"), [draw(3, 4), draw(5, 4), draw(5), draw(3, 5)]),
    "layer_norm": (tn.layer_norm, [draw(3, 5), draw(5), draw(5), draw(3, 5)]),
    "attention": (
        lambda q, k, v: tn.attention(q, k, v, key_lengths=LENGTHS, causal=True),
        [draw(2, 1, 3, 2) for _ in range(3)],
    ),
    "embedding": (lambda t: tn.tanh(tn.embedding(t, INDICES)), [draw(5, 3)]),
    "rnn": (layer(recurrent.rnn), steps(1)),
    "gru": (layer(recurrent.gru), steps(3)),
    "lstm": (layer(recurrent.lstm), steps(4, states=2)),
}
SERVED = [
    pytest.param(name, backend, marks=[needs_simulator()] if backend == "cuda" else [])
    for name in FUNCTIONS
    for backend in dispatch.backends(name)
    if backend not in ("hopper", "tensor_cores", "cublas")  # two have no float64, the last no arrays of the host
]


def test_no_hot_path_is_left_out():
    """But those that are an update, without a gradient."""
    assert FUNCTIONS.keys() == {path.name for path in ALL if path.kind == "function"}


@pytest.mark.parametrize(("name", "backend"), SERVED)
def test_gradients_to_second_order(name, backend):
    f, inputs = FUNCTIONS[name]
    with tn.use_backend(backend, name, simulate=backend == "cuda"):
        check_grads(f, inputs, order=2)
