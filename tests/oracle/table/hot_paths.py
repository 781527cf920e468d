"""The hot paths as functions: rows, masks, optional inputs."""

from __future__ import annotations

from table import call, function
from table.draws import constant, integers, magnitudes, mask, places, points, uniform


def heads(T, S, D, Dv=None, lead=(2, 2), group=1, **options):
    """q, k and v of several heads, of a size at which no weight is nearly 1"""
    of_queries = (*lead[:-1], lead[-1] * group) if lead else ()
    q, k = (uniform(*axes, n, D, low=-1, high=1) for axes, n in ((of_queries, T), (lead, S)))
    return call(q=q, k=k, v=uniform(*lead, S, Dv or D), **options)


def small(*shape):
    """Numbers whose products sum to less than 2, where GELU's tail has lost no digits"""
    return uniform(*shape, low=-0.6, high=0.6)


SDPA = "nn.functional.scaled_dot_product_attention"
X = "where(keep, x / t, -inf)"
MASKED = [
    call(x=uniform(3, 4), keep=mask(3, 4, first=True), axis=-1, t=1.0),
    call(x=uniform(3, 4), keep=mask(4, first=True), axis=-1, t=0.5),
    call(x=uniform(2, 3, 4), keep=mask(2, 1, 4, first=True), axis=2, t=3.0),
]
ROWS_OF = [
    *(call(x=uniform(2, 3, 4), axis=axis) for axis in (-1, 0, 1)),
    call(x=uniform(1), axis=0),
    call(x=uniform(0, 3), axis=1),
    call(x=points(1000, 999, 998.5), axis=0),
    call(x=points(-700, 0, 1, -1e-9), axis=0),
]
ACTIVATIONS = {
    "none": "{}",
    "relu": "relu({})",
    "gelu": "nn.functional.gelu({})",
    "gelu_tanh": "nn.functional.gelu({}, approximate='tanh')",
}
EMBEDDED = [
    call(table=uniform(4, 3), indices=places(0, 3, 3, 1), row=None),
    call(table=uniform(4, 3), indices=integers(2, 3, high=4), row=2),
    call(table=uniform(3, 1), indices=integers(2, 1, 2, high=3), row=0),
    call(table=uniform(3, 2), indices=constant(integers(0, high=3)), row=None),
]
NORMALISED = [
    call(x=uniform(2, 5), gamma=uniform(5), beta=uniform(5), eps=1e-5),
    call(x=uniform(2, 3, 4), gamma=uniform(4), beta=uniform(4), eps=0.5),
    call(x=uniform(3, 6, low=1000, high=1003), gamma=uniform(6), beta=uniform(6), eps=1e-5),
    call(x=magnitudes(2, 6, low=1e-9, high=1e-6), gamma=uniform(6), beta=uniform(6), eps=1e-12),
    call(x=uniform(3, 1), gamma=uniform(1), beta=uniform(1), eps=0.1),
    call(x=uniform(0, 3), gamma=uniform(3), beta=uniform(3), eps=1e-5),
]

ROWS = [
    function("softmax(x, axis=axis)", "softmax(x, axis)", *ROWS_OF),
    function("log_softmax(x, axis=axis)", "log_softmax(x, axis)", *ROWS_OF),
    function("softmax(x, axis=axis, keep=keep, temperature=t)", f"softmax({X}, axis)", *MASKED),
    function(
        "log_softmax(x, axis=axis, keep=keep, temperature=t)",
        f"where(keep, log_softmax({X}, axis), -inf)",
        *MASKED,
    ),
    function(
        "cross_entropy(x, target, ignore_index=ignored, label_smoothing=smoothing)",
        "nn.functional.cross_entropy(x, target, None, None, ignored, None, 'none', smoothing)",
        call(x=uniform(5, 4), target=integers(5, high=4), ignored=-100, smoothing=0.0),
        call(x=uniform(5, 4), target=integers(5, high=4), ignored=2, smoothing=0.0),
        call(x=uniform(5, 4), target=integers(5, low=-1, high=4), ignored=-1, smoothing=0.1),
        call(x=uniform(3, 4, low=-700, high=700), target=integers(3, high=4), ignored=-100, smoothing=0.0),
        call(x=uniform(2, 1), target=places(0, 0), ignored=-100, smoothing=0.0),
    ),
    *(
        function(
            f"linear(x, w, b, residual, activation='{name}')",
            text.format("nn.functional.linear(x, w, b)") + " + residual",
            call(x=small(3, 4), w=small(2, 4), b=small(2), residual=uniform(3, 2)),
            call(x=small(2, 1, 3), w=small(4, 3), b=small(4), residual=uniform(2, 1, 4)),
        )
        for name, text in ACTIVATIONS.items()
    ),
    function(
        "linear(x, w)",
        "nn.functional.linear(x, w)",
        call(x=uniform(3), w=uniform(2, 3)),
        call(x=uniform(0, 3), w=uniform(2, 3)),
    ),
    function(
        "layer_norm(x, gamma, beta, eps=eps)",
        "nn.functional.layer_norm(x, gamma.shape, gamma, beta, eps)",
        *NORMALISED,
    ),
    function(
        "layer_norm(x, gamma, beta, residual, eps=eps)",
        "(nn.functional.layer_norm(x + residual, gamma.shape, gamma, beta, eps), x + residual)",
        call(x=uniform(2, 5), residual=uniform(2, 5), gamma=uniform(5), beta=uniform(5), eps=1e-5),
        call(x=uniform(1, 2, 4), residual=uniform(1, 2, 4), gamma=uniform(4), beta=uniform(4), eps=0.1),
    ),
    function(
        "attention(q, k, v, causal=causal, scale=scale)",
        f"{SDPA}(q, k, v, is_causal=causal, scale=scale)",
        heads(3, 3, 2, causal=False, scale=None),
        heads(3, 5, 2, Dv=4, causal=False, scale=0.3),
        heads(4, 4, 3, causal=True, scale=None),
        heads(1, 1, 1, lead=(1, 1), causal=True, scale=2.0),
        heads(3, 3, 2, lead=(0, 2), causal=False, scale=None),
        heads(3, 3, 2, causal=True, scale=100.0),
    ),
    function(
        "attention(q, k, v, causal=causal)",
        f"{SDPA}(q, k, v, is_causal=causal, enable_gqa=True)",
        heads(3, 5, 2, Dv=3, group=3, causal=False),
        heads(4, 4, 3, lead=(2, 1), group=4, causal=True),
    ),
    function(
        "attention(q, k, v, keep)",
        f"{SDPA}(q, k, v, keep)",
        heads(3, 4, 2, keep=mask(2, 2, 3, 4, first=True)),
        heads(3, 4, 2, keep=mask(2, 1, 1, 4, first=True)),
        heads(3, 4, 2, keep=mask(3, 4, first=True)),
    ),
    function(
        "attention(q, k, v, key_lengths=lengths)",
        f"{SDPA}(q, k, v, arange(k.shape[2]) < lengths[:, None, None, None])",
        heads(3, 4, 2, lengths=places(4, 2)),
        heads(2, 3, 2, lengths=places(1, 3)),
    ),
    function(
        "attention(q, k, v, keep, lengths, causal=True)",
        f"{SDPA}(q, k, v, keep & (arange(5) < lengths[:, None, None, None]) & ones(3, 5, dtype=bool).tril(5 - 3))",
        heads(3, 5, 2, keep=mask(2, 1, 3, 5, first=True), lengths=places(5, 3)),
    ),
    function("embedding(table, indices, padding_idx=row)", "nn.functional.embedding(indices, table, row)", *EMBEDDED),
]
