"""Layers and losses: each says its equation, shapes, initial values, errors and an example, and all of it is true."""

from __future__ import annotations

import re

import documentation
import numpy as np
import pytest

from tinygrad_nlp import AxisError, DtypeError, ShapeError, nn
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn.utils import rnn as packing

X, OTHER, WHOLE = np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 3), int)
LAYERS = {n: c for n in nn.__all__ if isinstance(c := getattr(nn, n), type) and issubclass(c, nn.Module)}
SUBJECTS = (*nn.__all__, *F.__all__, "parameter", "register_buffer", "from_pretrained", "Forgetful")
PUBLIC = {"Parameter": nn.Parameter, **LAYERS}


def makes(name, *args, **params):
    """The construction of a layer, to be called."""
    return lambda: getattr(nn, name)(*args, **params)


def applies(layer, *args, **params):
    return lambda: layer(*args, **params)


def elementwise(layer):
    return {DtypeError: [applies(layer, x) for x in ("a", object(), None)]}


def softmaxes(kind):
    return {AxisError: [applies(kind(2), X)], DtypeError: [applies(kind(), WHOLE), applies(kind("a"), X)]}


def differences(name, *more):
    layer = getattr(nn, name)()
    return {
        ShapeError: [applies(layer, X, OTHER), applies(layer, X, X[0]), *more],
        ValueError: [makes(name, reduction="average"), makes(name, reduction=None)],
        DtypeError: [applies(layer, "a", X), applies(layer, X, object())],
    }


def classes(name):
    layer, weighted = getattr(nn, name)(), getattr(nn, name)(weight=[1.0])
    return {
        ShapeError: [applies(layer, X, [0]), applies(weighted, X, [0, 1]), applies(layer, 1.0, 0)],
        IndexError: [applies(layer, X, [0, 3])],
        DtypeError: [applies(layer, X, [0.0, 1.0]), makes(name, weight="a")],
        ValueError: [makes(name, reduction="average")],
    }


class Forgetful(nn.Module):
    def __init__(self):
        self.weight = nn.Parameter([1.0])


def assigned(layer, name, value):
    return lambda: setattr(layer, name, value)


LINEAR, NORM, HEADS = nn.Linear(3, 2), nn.LayerNorm(3), nn.MultiheadAttention(4, 2)
Q = np.ones((3, 2, 4))
PACKED = packing.pack_padded_sequence(Q, [3, 1])


def recurrent(name, states, *more_values):
    """The mistakes of a recurrent layer with inputs (3, 2, 4)."""
    layer, state = getattr(nn, name)(4, 2), np.ones((1, 2, 2))
    bad = np.ones((1, 3, 2))
    return {
        ShapeError: [
            applies(layer, OTHER), applies(layer, Q[0, 0]), applies(layer, Q[:0]), applies(layer, Q, lengths=[1]),
            applies(layer, Q, bad if states == 1 else (state, bad)), makes(name, -1, 2),
        ],
        DtypeError: [applies(layer, Q, lengths=[1.0, 2.0]), makes(name, 4, 2, dtype=np.int32)],
        IndexError: [applies(layer, Q, lengths=[3, n]) for n in (0, 4, -1)],
        ValueError: [
            makes(name, 4, 0), makes(name, 4, 2, 0), makes(name, 4, 2, dropout=1.0),
            applies(layer, PACKED, lengths=[1, 1]), *more_values,
        ],
    }  # fmt: skip


def cell(name, *more_values):
    layer = getattr(nn, name)(3, 2)
    bad = X if name != "LSTMCell" else (np.ones((2, 2)), X)
    return {
        ShapeError: [applies(layer, OTHER), applies(layer, 1.0), applies(layer, X, bad), makes(name, -1, 2)],
        ValueError: [makes(name, 3, 0), *more_values],
        DtypeError: [makes(name, 3, 2, dtype=np.int32)],
    }


MISTAKES = {
    "Parameter": {DtypeError: [makes("Parameter", x) for x in ("a", None, object(), [1, 2], WHOLE)]},
    "Module": {
        NotImplementedError: [applies(nn.Module(), 1)],
        AttributeError: [Forgetful],
        TypeError: [assigned(LINEAR, "weight", X), assigned(nn.Sequential(LINEAR), "0", 3)],
        KeyError: [applies(LINEAR.register_buffer, name, X) for name in ("a.b", "", "in_features")],
    },
    "ModuleList": {
        TypeError: [makes("ModuleList", [3]), makes("ModuleList", 3), makes("ModuleList", LINEAR)],
        IndexError: [lambda: nn.ModuleList([LINEAR])[1]],
    },
    "Sequential": {
        TypeError: [makes("Sequential", 3), makes("Sequential", [LINEAR])],
        KeyError: [makes("Sequential", {name: LINEAR}) for name in ("a.b", "forward", "")],
        IndexError: [lambda: nn.Sequential(LINEAR)[1]],
    },
    "Identity": {},
    **{name: elementwise(getattr(nn, name)()) for name in ("ReLU", "Sigmoid", "Tanh")},
    "GELU": {ValueError: [makes("GELU", "exact")], **elementwise(nn.GELU())},
    "Softplus": {ValueError: [applies(nn.Softplus(0.0), X)], **elementwise(nn.Softplus())},
    "Softmax": softmaxes(nn.Softmax),
    "LogSoftmax": softmaxes(nn.LogSoftmax),
    "Dropout": {ValueError: [makes("Dropout", 2.0), makes("Dropout", -0.1)], **elementwise(nn.Dropout())},
    "Linear": {
        ShapeError: [applies(LINEAR, OTHER), applies(LINEAR, 1.0), makes("Linear", -1, 2), makes("Linear", 2, -1)],
        DtypeError: [
            makes("Linear", 2.0, 2), makes("Linear", "a", 2), makes("Linear", 2, 2, dtype=np.int32),
            applies(LINEAR, "a"),
        ],
    },
    "Embedding": {
        IndexError: [applies(nn.Embedding(2, 3), [2]), makes("Embedding", 2, 3, 2)],
        ShapeError: [makes("Embedding", -1, 2), *(applies(nn.Embedding.from_pretrained, x) for x in (X[0], [X]))],
        DtypeError: [
            applies(nn.Embedding(2, 3), [0.5]), makes("Embedding", 2, 3, dtype=np.int32),
            *(applies(nn.Embedding.from_pretrained, x) for x in ("a", WHOLE)),
        ],
    },
    "LayerNorm": {
        ShapeError: [applies(NORM, OTHER), applies(NORM, 1.0), makes("LayerNorm", -1), makes("LayerNorm", (3, -1))],
        DtypeError: [
            applies(NORM, "a"), makes("LayerNorm", 2.0), makes("LayerNorm", "a"),
            makes("LayerNorm", 2, dtype=np.int32),
        ],
    },
    "MultiheadAttention": {
        ValueError: [
            makes("MultiheadAttention", 5, 2), makes("MultiheadAttention", 4, 0),
            makes("MultiheadAttention", 4, 2, dropout=1.0), makes("MultiheadAttention", 4, 4, num_kv_heads=3),
        ],
        ShapeError: [
            applies(HEADS, Q, OTHER, OTHER), applies(HEADS, Q, Q, Q, key_padding_mask=OTHER > 0),
            applies(HEADS, Q, Q, Q, attn_mask=OTHER > 0), makes("MultiheadAttention", 4, 2, kdim=-1),
        ],
        DtypeError: [
            applies(HEADS, Q, Q, Q, attn_mask=np.full((3, 3), 0.5)), makes("MultiheadAttention", 4, 2, dtype=np.int32),
        ],
    },
    "RNN": recurrent("RNN", 1, makes("RNN", 4, 2, nonlinearity="gelu")),
    "GRU": recurrent("GRU", 1),
    "LSTM": recurrent(
        "LSTM", 2, applies(nn.LSTM(4, 2), Q, [np.ones((1, 2, 2))]), makes("LSTM", 4, 2, bias=False, forget_bias=1.0)
    ),
    "RNNCell": cell("RNNCell", makes("RNNCell", 3, 2, nonlinearity="gelu")),
    "GRUCell": cell("GRUCell"),
    "LSTMCell": cell("LSTMCell"),
    "CrossEntropyLoss": classes("CrossEntropyLoss"),
    "NLLLoss": classes("NLLLoss"),
    "BCEWithLogitsLoss": differences(
        "BCEWithLogitsLoss",
        applies(nn.BCEWithLogitsLoss(weight=OTHER), X, X), applies(nn.BCEWithLogitsLoss(pos_weight=OTHER), X, X),
    ),
    "MSELoss": differences("MSELoss"),
    "L1Loss": differences("L1Loss"),
}  # fmt: skip
MISTAKES["CrossEntropyLoss"][DtypeError].append(applies(nn.CrossEntropyLoss(), WHOLE, [0, 1]))
MISTAKES["CrossEntropyLoss"][ValueError].append(applies(nn.CrossEntropyLoss(label_smoothing=2.0), X, [0, 1]))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_all(name):
    thing, held = PUBLIC[name], ("Module", "ModuleList")
    documentation.tells_all(name, thing, MISTAKES[name], shapes=name not in held)
    prose = documentation.prose(thing)
    assert "=" in prose or name in (*held, "Parameter"), f"{name} says no equation"
    if hasattr(thing, "reset_parameters"):
        assert re.search(r"\bbegins?\b", prose), f"{name} does not say as what its parameters begin"


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    message = documentation.message_of(error, call).strip('"')
    assert message.startswith((*SUBJECTS, "list index")), "whose error is it?"


def test_one_module_may_stand_under_two_names_and_be_replaced():
    layers = nn.ModuleList([LINEAR, LINEAR])
    layers[0] = NORM
    assert list(layers) == [NORM, LINEAR]
