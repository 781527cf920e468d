"""Layers and their functions. Their arguments and the names of their weights are PyTorch's: one text for both."""

from __future__ import annotations

from table import SAME, call, function, layer
from table.draws import additive, apart, integers, magnitudes, mask, places, points, truths, uniform
from table.hot_paths import EMBEDDED, SDPA, heads, small

ACTIVATED = [call(x=apart(2, 3)), call(x=apart()), call(x=apart(0, 2)), call(x=points(-30, -1e-9, 1e-300, 15))]
TEXTS = ["ReLU()", "GELU()", "GELU('tanh')", "Sigmoid()", "Tanh()", "Softplus()", "Softplus(2.5)"]
FUNCTIONS = [
    "relu(x)",
    "gelu(x)",
    "gelu(x, approximate='tanh')",
    "sigmoid(x)",
    "tanh(x)",
    "logsigmoid(x)",
    "softplus(x)",
    "softplus(x, 0.5)",
]
X4 = [call(x=uniform(2, 3, 4))]

PADDED, PADDING = mask(2, 4, first=True, inverted=True), "key_padding_mask=padding"
LATER = mask(3, 4, first=True, inverted=True)
CROSS = call(q=small(2, 3, 4), k=small(2, 4, 4), v=uniform(2, 4, 4))
ATTENTION = "nn.MultiheadAttention(4, 2, batch_first=True)"

SEQUENCES, STATE, STATES = call(x=uniform(4, 2, 3)), call(h=uniform(1, 2, 3)), call(h=uniform(4, 2, 3))
PAIR, PAIRS = {**STATE, **call(c=uniform(1, 2, 3))}, {**STATES, **call(c=uniform(4, 2, 3))}
STEP, FROM = call(x=uniform(2, 3)), call(h=uniform(2, 3), c=uniform(2, 3))
RECURRENT = [
    layer("nn.RNN(3, 3)", "layer(x, h)[0]", {**SEQUENCES, **STATE}),
    layer("nn.RNN(3, 3, nonlinearity='relu')", "layer(x)[1]", SEQUENCES),
    layer("nn.RNN(3, 3, 2, bidirectional=True)", "layer(x, h)[0]", {**SEQUENCES, **STATES}),
    layer("nn.GRU(3, 3)", "layer(x, h)[0]", {**SEQUENCES, **STATE}),
    layer("nn.GRU(3, 3, 2, bias=False, bidirectional=True)", "layer(x, h)[1]", {**SEQUENCES, **STATES}),
    layer("nn.LSTM(3, 3)", "layer(x, (h, c))[0]", {**SEQUENCES, **PAIR}),
    layer("nn.LSTM(3, 3, batch_first=True)", "layer(x)[1][1]", SEQUENCES),
    layer("nn.LSTM(3, 3, 2, bidirectional=True)", "layer(x, (h, c))[1][0]", {**SEQUENCES, **PAIRS}),
    layer("nn.RNNCell(3, 3)", "layer(x, h)", {**STEP, "h": FROM["h"]}),
    layer("nn.GRUCell(3, 3)", "layer(x, h)", {**STEP, "h": FROM["h"]}),
    layer("nn.LSTMCell(3, 3)", "layer(x, (h, c))", {**STEP, **FROM}),
]

ROWS = [
    *RECURRENT,
    layer("nn.Linear(3, 2)", "layer(x)", *(call(x=uniform(*lead, 3)) for lead in ((), (4,), (2, 1), (0,)))),
    layer(
        "nn.Linear(3, 2, bias=False)", "layer(x)", call(x=uniform(4, 3)), call(x=magnitudes(4, 3, low=1e-6, high=1e6))
    ),
    layer("nn.Embedding(4, 3)", "layer(x)", call(x=places(0, 3, 3, 1)), call(x=integers(2, 3, high=4))),
    layer("nn.Embedding(4, 3, padding_idx=-2)", "layer(x)", call(x=places(0, 2, 2, 1)), call(x=integers(2, 3, high=4))),
    layer("nn.LayerNorm(5)", "layer(x)", call(x=uniform(3, 5)), call(x=uniform(2, 3, 5, low=1000, high=1003))),
    layer("nn.LayerNorm((2, 3), eps=0.1)", "layer(x)", call(x=uniform(2, 3)), call(x=uniform(4, 2, 3))),
    layer("nn.LayerNorm(4, bias=False)", "layer(x)", call(x=uniform(3, 4))),
    layer("nn.LayerNorm(4, elementwise_affine=False)", "layer(x)", call(x=uniform(3, 4))),
    *(layer(f"nn.{text}", "layer(x)", *ACTIVATED) for text in TEXTS),
    *(
        layer(f"nn.{name}(dim)", "layer(x)", *(call(x=uniform(2, 3, 4), dim=d) for d in (-1, 0, 1)))
        for name in ("Softmax", "LogSoftmax")
    ),
    layer("nn.Dropout(0.5).eval()", "layer(x)", call(x=uniform(2, 3))),
    layer("nn.Identity()", "layer(x)", call(x=uniform(2, 3))),
    layer(
        "nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))", "layer(x)", call(x=uniform(5, 3))
    ),
    *(function(f"nn.functional.{text}", SAME, *ACTIVATED) for text in FUNCTIONS),
    *(function(f"nn.functional.{name}(x, dim={d})", SAME, *X4) for name in ("softmax", "log_softmax") for d in (-1, 1)),
    function("nn.functional.dropout(x, 0.5, training=False)", SAME, call(x=uniform(2, 3))),
    function(
        "nn.functional.linear(x, w, b)",
        SAME,
        call(x=uniform(2, 3), w=uniform(4, 3), b=uniform(4)),
        call(x=uniform(3), w=uniform(1, 3), b=None),
    ),
    function("nn.functional.embedding(indices, table, row)", SAME, *EMBEDDED),
    function(
        "nn.functional.layer_norm(x, shape, w, b, eps)",
        SAME,
        call(x=uniform(3, 4), shape=(4,), w=uniform(4), b=uniform(4), eps=1e-5),
        call(x=uniform(2, 2, 3), shape=(2, 3), w=uniform(2, 3), b=None, eps=0.1),
        call(x=uniform(3, 4), shape=(4,), w=None, b=None, eps=1e-12),
    ),
    function("nn.functional.normalize(x)", SAME, call(x=uniform(3, 4)), call(x=magnitudes(2, 4, low=1e-6, high=1e6))),
    function(
        "nn.functional.normalize(x, p, dim)", SAME, *(call(x=apart(3, 4), p=p, dim=d) for p, d in ((1.0, 0), (3.0, -1)))
    ),
    function(
        f"{SDPA}(q, k, v, mask)",
        SAME,
        heads(3, 4, 2, mask=None),
        heads(3, 4, 2, lead=(), mask=mask(3, 4, first=True)),
        heads(3, 4, 2, lead=(2,), mask=mask(2, 3, 4, first=True)),
        heads(3, 4, 2, mask=additive(mask(2, 2, 3, 4, first=True))),
        heads(3, 4, 2, mask=truths("x..x", "....", "xxx.")),
        heads(2, 3, 2, lead=(2,), mask=additive(truths("...", "x.x"))),
    ),
    function(
        f"{SDPA}(q, k, v, is_causal=True, scale=scale)",
        SAME,
        heads(4, 4, 2, scale=None),
        heads(3, 5, 2, Dv=3, scale=0.7),
        heads(5, 3, 2, scale=None),
    ),
    layer(ATTENTION, "layer(x, x, x)", call(x=small(2, 3, 4)), call(x=small(3, 4)), call(x=small(1, 1, 4))),
    layer(ATTENTION, "layer(q, k, v)", CROSS),
    layer(ATTENTION, "layer(q, k, v, average_attn_weights=False)", CROSS),
    layer(
        ATTENTION,
        f"layer(q, k, v, {PADDING})[0]",
        {**CROSS, "padding": PADDED},
        {**CROSS, "padding": additive(mask(2, 4, first=True))},
    ),
    layer(ATTENTION, f"layer(q, k, v, {PADDING}, need_weights=False)[0]", {**CROSS, "padding": PADDED}),
    layer(
        ATTENTION,
        "layer(q, k, v, attn_mask=mask)",
        {**CROSS, "mask": LATER},
        {**CROSS, "mask": mask(4, 3, 4, first=True, inverted=True)},
    ),
    layer(ATTENTION, f"layer(q, k, v, attn_mask=mask, {PADDING})", {**CROSS, "mask": LATER, "padding": PADDED}),
    layer(
        "nn.MultiheadAttention(6, 3, bias=False)",
        "layer(q, k, v)",
        call(q=small(3, 2, 6), k=small(4, 2, 6), v=uniform(4, 2, 6)),
    ),
    layer(
        "nn.MultiheadAttention(4, 1, kdim=3, vdim=5)",
        "layer(q, k, v)",
        call(q=small(3, 2, 4), k=small(2, 2, 3), v=uniform(2, 2, 5)),
    ),
]
