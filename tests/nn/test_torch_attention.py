"""Attention layers equal PyTorch's with every mask: outputs, weights and all gradients."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twins import assert_same_function, assert_same_gradients, host, take_weights, torch

from tinygrad_nlp import nn
from tinygrad_nlp.nn import functional as F

tF = torch.nn.functional  # noqa: N816
size = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)


CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def mask(rng, shape, true_attends, kind):
    """A random mask in PyTorch's terms under which every query sees key 0: NumPy's, for a bool or float kind."""
    attends = rng.random(shape) < 0.5
    attends[..., 0] = True
    if kind == "float":
        return np.where(attends, 0.0, -np.inf)
    return attends if true_attends else ~attends


@given(st.lists(size, max_size=3).map(tuple), size, size, size, size, st.sampled_from(["no", "bool", "float"]), seeds)
def test_scaled_dot_product_attention(lead, T, S, D, Dv, kind, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(*lead, n, d)) for n, d in ((T, D), (S, D), (S, Dv))]
    options = {"scale": None if rng.random() < 0.5 else 0.7}
    m = None if kind == "no" else mask(rng, (*lead, T, S)[int(rng.integers(len(lead) + 1)) :], True, kind)
    if m is None and rng.random() < 0.5:
        options["is_causal"] = True
    assert_same_function(
        lambda *a: F.scaled_dot_product_attention(*a, attn_mask=m, **options),
        lambda *a: tF.scaled_dot_product_attention(*a, attn_mask=None if m is None else torch.tensor(m), **options),
        arrays,
        rng,
        CLOSE,
    )


@given(st.lists(size, max_size=2).map(tuple), *[size] * 6, st.booleans(), st.booleans(), seeds)
def test_heads_that_share_keys_and_values(lead, KH, G, T, S, D, Dv, masked, is_causal, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(*lead, n, d, e)) for n, d, e in ((KH * G, T, D), (KH, S, D), (KH, S, Dv))]
    m = mask(rng, (KH * G, T, S), True, "bool") if masked else None
    options = {"enable_gqa": True, "is_causal": is_causal and not masked}
    assert_same_function(
        lambda *a: F.scaled_dot_product_attention(*a, attn_mask=m, **options),
        lambda *a: tF.scaled_dot_product_attention(*a, attn_mask=None if m is None else torch.tensor(m), **options),
        arrays,
        rng,
        CLOSE,
    )


def causal(mask, T, S, kind):
    """PyTorch takes `is_causal` only as a hint beside a mask that says the same: here is that mask."""
    later = np.triu(np.ones((T, S), bool), 1)
    if kind == "float":
        later = np.where(later, -np.inf, 0.0)
    return later if mask is None else mask | later if kind == "bool" else mask + later


class Call:
    """A layer called with fixed options: the inputs are its arguments, the output alone its result."""

    def __init__(self, layer, **options):
        self.layer, self.options = layer, options

    def __call__(self, *inputs):
        q, k, v = inputs if len(inputs) == 3 else inputs * 3
        return self.layer(q, k, v, **self.options)[0]


@given(
    st.tuples(size, size, size, size, size),
    st.sampled_from(["self", "cross", "other sizes"]),
    st.sampled_from(["batch first", "sequence first", "no batch"]),
    st.tuples(st.sampled_from(["no", "padding", "allowed", "per head", "both"]), st.sampled_from(["bool", "float"])),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seeds,
)
def test_multihead_attention(sizes, inputs, layout, masks, flags, seed):
    (B, H, T, S, D), (which, kind), (bias, is_causal, average) = sizes, masks, flags
    rng, E = np.random.default_rng(seed), H * D
    B, S = 1 if layout == "no batch" else B, T if inputs == "self" else S
    kdim, vdim = (E + 1, E + 2) if inputs == "other sizes" else (E, E)

    def laid_out(n, width):
        x = rng.normal(size=(B, n, width))
        return {"batch first": x, "sequence first": x.swapaxes(0, 1), "no batch": x[0]}[layout].copy()

    arrays = [laid_out(T, E)] if inputs == "self" else [laid_out(T, E), laid_out(S, kdim), laid_out(S, vdim)]
    options = {"bias": bias, "kdim": kdim, "vdim": vdim, "batch_first": layout == "batch first"}
    ours = nn.MultiheadAttention(E, H, **options).to(dtype="float64")
    theirs = torch.nn.MultiheadAttention(E, H, **options).double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.uniform_(-1, 1)
    take_weights(ours, theirs)

    padding = mask(rng, (S,) if layout == "no batch" else (B, S), False, kind) if which in ("padding", "both") else None
    shape = (B * H, T, S) if which == "per head" else (T, S)
    allowed = mask(rng, shape, False, kind) if which in ("allowed", "per head", "both") else None
    common = {"average_attn_weights": average}
    mine = {**common, "key_padding_mask": padding, "attn_mask": allowed, "is_causal": is_causal}
    hint = causal(allowed, T, S, kind) if is_causal else allowed
    named = {"key_padding_mask": padding, "attn_mask": hint}
    torchs = {**common, **{name: None if m is None else torch.tensor(m) for name, m in named.items()}}

    for need_weights in (True, False):
        ours.zero_grad()
        theirs.zero_grad()
        f, g = (Call(x, need_weights=need_weights, **o) for x, o in ((ours, mine), (theirs, torchs)))
        assert_same_function(f, g, arrays, rng, CLOSE)
        assert_same_gradients(ours, theirs, CLOSE)
    _, weights = ours(*(arrays * 3)[:3], **mine)
    _, expected = theirs(*([torch.tensor(x) for x in arrays] * 3)[:3], **torchs)
    assert weights.shape == tuple(expected.shape)
    np.testing.assert_allclose(host(weights), host(expected), **CLOSE)
