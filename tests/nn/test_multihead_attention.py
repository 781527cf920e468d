"""Attention layers: finite differences, the two polarities of PyTorch's masks, rows without keys, dropout."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_nlp import DtypeError, ShapeError, Tensor, grad, manual_seed, nn
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.nn import functional as F
from tinygrad_nlp.nn.masks import keep_of

size = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=15)
@given(size, size, seeds)
def test_second_order(T, S, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(2, n, 3)) for n in (T, S, S)]
    m = rng.random((T, S)) < 0.6
    check_grads(
        lambda *a: F.scaled_dot_product_attention(*a, attn_mask=m, is_causal=True), arrays, rng=rng, vacuous=True
    )
    layer = nn.MultiheadAttention(4, 2).to(dtype="float64")
    x, y = (rng.normal(size=(n, 2, 4)) for n in (T, S))
    for need_weights in (True, False):
        check_grads(
            lambda x, y, n=need_weights: layer(x, y, y, need_weights=n, attn_mask=~m)[0], [x, y], rng=rng, vacuous=True
        )
    check_grads(lambda x: layer(x, x, x)[1], [x], rng=rng, vacuous=True)


def test_polarities():
    """A True means "may attend" to the function and "must not" to the layer; -inf forbids in both; causal is j <= i."""
    v = np.eye(3)[None]
    q = k = np.zeros((1, 3, 3))
    lower = np.tril(np.ones((3, 3), bool))
    means = lower / lower.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v, lower).data[0], means)
    np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v, is_causal=True).data[0], means)
    np.testing.assert_array_equal(keep_of("m", lower, true_attends=True), lower)
    np.testing.assert_array_equal(keep_of("m", lower, true_attends=False), ~lower)
    added = np.where(lower, 0.0, -np.inf)
    for true_attends in (True, False):
        np.testing.assert_array_equal(keep_of("m", added, true_attends=true_attends), lower)
    layer = nn.MultiheadAttention(4, 2)
    x = np.random.default_rng(0).normal(size=(3, 1, 4)).astype("f")
    weights = layer(x, x, x, attn_mask=~lower)[1].data[0]
    np.testing.assert_array_equal(weights > 0, lower)
    np.testing.assert_array_equal(layer(x, x, x, is_causal=True)[1].data[0] > 0, lower)
    padding = np.array([[False, True, False]])
    np.testing.assert_array_equal(layer(x, x, x, key_padding_mask=padding)[1].data[0] > 0, np.tile(~padding, (3, 1)))
    wide = F.scaled_dot_product_attention(np.zeros((1, 1, 3)), k, v, is_causal=True)  # T = 1, S = 3: key 0 alone
    np.testing.assert_array_equal(wide.data[0], [[1, 0, 0]])


def test_a_query_without_keys_gives_zeros_and_no_gradient():
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.normal(size=(1, 2, 3)), requires_grad=True) for _ in range(3))
    keep = np.array([[False, False], [True, True]])
    o = F.scaled_dot_product_attention(q, k, v, keep)
    np.testing.assert_array_equal(o.data[0, 0], 0)
    o.backward(rng.normal(size=o.shape))
    np.testing.assert_array_equal(q.grad.data[0, 0], 0)
    layer = nn.MultiheadAttention(3, 1, batch_first=True)
    for need_weights in (True, False):
        y, weights = layer(q, k, v, attn_mask=~keep[None], need_weights=need_weights)
        np.testing.assert_allclose(y.data[0, 0], layer.out_proj.bias.data, atol=1e-7)
        assert weights is None or not np.any(weights.data[0, 0])


def test_weights_and_output_lose_the_same_places_to_dropout():
    """The masks of the two ways to compute are one function of the generator's state."""
    layer = nn.MultiheadAttention(4, 2, dropout=0.5).to(dtype="float64")
    x = Tensor(np.random.default_rng(0).normal(size=(6, 3, 4)))
    manual_seed(5)
    y, weights = layer(x, x, x, average_attn_weights=False)
    manual_seed(5)
    np.testing.assert_allclose(layer(x, x, x, need_weights=False)[0].data, y.data, rtol=1e-12)
    lost = (weights.data == 0).mean()
    assert 0.3 < lost < 0.7
    layer.eval()
    assert np.all(layer(x, x, x)[1].data > 0)


def test_initial_values():
    layer = nn.MultiheadAttention(64, 4)
    bound = math.sqrt(6 / (4 * 64))
    assert 0.99 * bound < np.abs(layer.in_proj_weight.data).max() <= bound
    assert 0.99 / 8 < np.abs(layer.out_proj.weight.data).max() <= 1 / 8
    np.testing.assert_array_equal(layer.in_proj_bias.data, 0)
    np.testing.assert_array_equal(layer.out_proj.bias.data, 0)
    assert list(nn.MultiheadAttention(4, 2, bias=False, kdim=3).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"
    ]  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kdim", [None, 5])
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_shared_keys_and_values_are_repeated_ones(kv_heads, kdim, need_weights):
    """The layer equals one with keys and values for every head, whose weights are the same for those that share."""
    H, D, rng, options = 4, 3, np.random.default_rng(0), {"kdim": kdim, "batch_first": True, "dtype": np.float64}
    shared, full = (nn.MultiheadAttention(H * D, H, num_kv_heads=n, **options) for n in (kv_heads, None))

    def of_every_head(x):
        return np.repeat(x.reshape(kv_heads, D, *x.shape[1:]), H // kv_heads, axis=0).reshape(H * D, *x.shape[1:])

    for (name, p), (_, theirs) in zip(shared.named_parameters(), full.named_parameters(), strict=True):
        p.data[...] = rng.normal(size=p.shape)
        if name.startswith("in_proj"):
            q, k, v = np.split(p.data, [H * D, (H + kv_heads) * D])
            theirs.data[...] = np.concatenate([q, of_every_head(k), of_every_head(v)])
        else:
            theirs.data[...] = of_every_head(p.data) if name[0] in "kv" else p.data
    x, g = Tensor(rng.normal(size=(2, 5, H * D)), requires_grad=True), rng.normal(size=(2, 5, H * D))
    key = x if kdim is None else rng.normal(size=(2, 5, kdim))
    (y, weights), (right, expected) = (layer(x, key, x, need_weights=need_weights) for layer in (shared, full))
    np.testing.assert_allclose(y.detach(), right.detach(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(grad(y, x, g), grad(right, x, g), rtol=1e-11, atol=1e-11)
    if need_weights:
        np.testing.assert_allclose(weights.detach(), expected.detach(), rtol=1e-11, atol=1e-11)


def test_mistakes_get_an_answer():
    layer = nn.MultiheadAttention(4, 2)
    x = np.zeros((3, 2, 4), "f")
    with pytest.raises(ValueError, match="5 features cannot be shared by 2 heads"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(ValueError, match="4 heads cannot share 3 heads of keys and values"):
        nn.MultiheadAttention(8, 4, num_kv_heads=3)
    with pytest.raises(ShapeError, match=r"query \(3, 2, 4\), key \(3, 2, 5\) and value \(3, 2, 5\) must be \(T, B, f"):
        layer(x, np.zeros((3, 2, 5), "f"), np.zeros((3, 2, 5), "f"))
    with pytest.raises(ShapeError, match=r"key_padding_mask has shape \(3, 2\), expected \(2, 3\)"):
        layer(x, x, x, key_padding_mask=np.zeros((3, 2), bool))
    with pytest.raises(ShapeError, match=r"attn_mask has shape \(2, 3, 3\), expected \(3, 3\) or \(4, 3, 3\)"):
        layer(x, x, x, attn_mask=np.zeros((2, 3, 3), bool))
    with pytest.raises(DtypeError, match=r"attn_mask is added to the scores only where it is 0 or -inf"):
        layer(x, x, x, attn_mask=np.full((3, 3), 0.5))
    with pytest.raises(DtypeError, match=r"attn_mask is int64: a mask is bool, or float with only 0 and -inf"):
        F.scaled_dot_product_attention(x, x, x, np.ones((2, 2), int))
    with pytest.raises(ShapeError, match=r"leading axes of query \(2, 3, 4\), key \(3, 2, 4\)"):
        F.scaled_dot_product_attention(x.reshape(2, 3, 4), x, x)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        nn.MultiheadAttention(4, 2, dropout=1.0)
