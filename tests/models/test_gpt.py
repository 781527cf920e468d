"""GPT (E51): causal, cached equals uncached, gradients to order 2, and it learns."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError, UserError

from tinygrad_nlp import Tensor, grad, no_grad, optim, random
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.models.gpt import GPT, GPTConfig
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import CharTokenizer, WindowSampler

V, T = 11, 8


def tiny(dropout=0.0, std=0.3, dtype="float64", kv_heads=None):
    """A model with weights large enough that every part of it matters."""
    config = GPTConfig(V, block_size=T, n_layer=2, n_head=2, n_kv_head=kv_heads, n_embd=12, dropout=dropout)
    model = GPT(config).to(dtype=dtype)
    generator = Generator(3)
    for p in model.parameters():
        p.data[...] += std * generator.normal(p.shape, dtype=np.float64)
    return model.eval()


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def logits(model, x, cache=None):
    with no_grad():
        return model(x, cache).numpy()


PARTS = st.lists(st.integers(1, T), min_size=1, max_size=T).filter(lambda parts: sum(parts) <= T)


@given(PARTS, st.integers(1, 3), st.sampled_from([None, 1]))
def test_cached_logits_equal_uncached_ones_at_every_position(parts, B, kv_heads):
    model, x = tiny(kv_heads=kv_heads), tokens(B, sum(parts), seed=len(parts))
    cache, seen, out = model.empty_cache(), 0, []
    for n in parts:
        out.append(logits(model, x[:, seen : seen + n], cache))
        seen += n
    np.testing.assert_allclose(np.concatenate(out, axis=1), logits(model, x), rtol=1e-11, atol=1e-12)
    assert cache[0].keys.shape == cache[0].values.shape == (B, kv_heads or 2, sum(parts), 6)


def test_shared_keys_and_values_are_repeated_ones():
    """The model equals one whose heads have each their own W_K and W_V, the same for all."""
    shared, full, x = tiny(kv_heads=1), tiny(), tokens(2, T)
    state = shared.state_dict()
    for name in [name for name in state if ".c_attn." in name]:
        q, k, v = np.split(np.asarray(state[name]), [12, 18])
        state[name] = np.concatenate([q, k, k, v, v])
    full.load_state_dict(state)
    np.testing.assert_allclose(logits(shared, x), logits(full, x), rtol=1e-11, atol=1e-12)


def test_a_config_without_shared_heads_loads():
    """As those that were written before there were any."""
    assert GPTConfig(vocab_size=V, n_head=4, n_embd=8).kv_heads == 4


def test_one_parallel_pass_equals_sequential_ones():  # E44b
    model, x = tiny(), tokens(2, T)
    sequential = np.stack([logits(model, x[:, : t + 1])[:, -1] for t in range(T)], axis=1)
    np.testing.assert_allclose(logits(model, x), sequential, rtol=1e-11, atol=1e-12)


@given(st.integers(0, T - 1), st.integers(1, V - 1))
def test_a_later_token_never_changes_an_earlier_logit(t, shift):
    model, x = tiny(), tokens(2, T)
    changed = x.copy()
    changed[:, t] = (x[:, t] + shift) % V
    before, after = logits(model, x), logits(model, changed)
    np.testing.assert_allclose(before[:, :t], after[:, :t], rtol=0, atol=1e-12)
    assert np.abs(before[:, t:] - after[:, t:]).max(axis=(0, 2)).min() > 1e-6  # and every one from there on does


@pytest.mark.parametrize("choice", [{"temperature": 0}, {"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.8}])
def test_generation_equals_one_without_a_cache_past_the_block_too(choice):
    model, prompt, n = tiny(), tokens(2, 3), 2 * T
    got = np.stack(list(model.generate(prompt, n, generator=Generator(5), **choice)), axis=1)
    text, generator = prompt, Generator(5)
    for _ in range(n):
        p = next_token_probabilities(logits(model, text[:, -T:])[:, -1], **choice)
        text = np.concatenate([text, draw(p, generator)[:, None]], axis=1)
    np.testing.assert_array_equal(got, text[:, 3:])


def test_a_prompt_longer_than_the_block_is_read_from_its_end():
    model, long = tiny(), tokens(1, 3 * T)
    a = [int(t[0]) for t in model.generate(long, 4, temperature=0)]
    b = [int(t[0]) for t in model.generate(long[:, -T:], 4, temperature=0)]
    assert a == b


def test_more_tokens_than_positions_are_refused():
    model = tiny()
    with pytest.raises(ShapeError, match="9 tokens, but the model has positions for 8"):
        model(tokens(1, T + 1))
    cache = model.empty_cache()
    logits(model, tokens(1, T), cache)
    with pytest.raises(ShapeError, match="9 tokens"):
        model(tokens(1, 1), cache)


def test_bad_sizes_are_refused():
    with pytest.raises(UserError, match="width of 10 cannot be shared by 4 heads"):
        GPTConfig(V, n_embd=10, n_head=4)
    with pytest.raises(UserError, match="3 heads of keys and values cannot be shared by 4 heads; choose --h"):
        GPTConfig(V, n_head=4, n_kv_head=3)
    with pytest.raises(UserError, match=r"GPTConfig\.n_layer \(--layers\) must be a whole number of at least 1, not 0"):
        GPTConfig(V, n_layer=0)


@pytest.mark.parametrize(("dropout", "kv_heads"), [(0.0, None), (0.3, None), (0.3, 1)])
def test_the_gradient_equals_finite_differences_to_order_two(dropout, kv_heads):
    """Along random directions u, v of all weights: dL·v against differences of L, uᵀ(d²L)v against those of dL·u."""
    model, x, y = tiny(dropout, kv_heads=kv_heads).train(), tokens(2, T), tokens(2, T, seed=1)
    weights = list(model.parameters())
    rng = np.random.default_rng(2)
    at, u, v = ([p.data.copy() for p in weights], *([rng.normal(size=p.shape) for p in weights] for _ in range(2)))

    def loss(h):
        """L(weights + h v), with the same dropout each time."""
        random.manual_seed(9)
        for p, p0, direction in zip(weights, at, v, strict=True):
            p.data[...] = p0 + h * direction
        return model.loss(x, y)

    def slope(h, *, create_graph=False):
        gs = grad(loss(h), weights, create_graph=create_graph)
        return sum((g * Tensor(d)).sum() for g, d in zip(gs, u, strict=True)) if create_graph else gs

    def dot(gs, direction):
        return sum(float((g.numpy() * d).sum()) for g, d in zip(gs, direction, strict=True))

    h = 1e-5
    with no_grad():
        difference = (float(loss(h).item()) - float(loss(-h).item())) / (2 * h)
    assert dot(slope(0), v) == pytest.approx(difference, rel=1e-5)
    difference = (dot(slope(h), u) - dot(slope(-h), u)) / (2 * h)
    assert dot(grad(slope(0, create_graph=True), weights), v) == pytest.approx(difference, rel=1e-5)


def test_the_table_of_tokens_receives_both_gradients():  # E45: the row of a token that never occurs learns as well
    model = tiny()
    (g,) = grad(model.loss(np.zeros((1, 4), int), np.zeros((1, 4), int)), [model.wte.weight])
    assert (np.abs(g.numpy()) > 0).all()
    assert "lm_head.weight" not in model.state_dict()


def test_initialisation():
    model = GPT(GPTConfig(103, n_layer=8, n_embd=64))
    weights = {name: p.data for name, p in model.named_parameters()}
    assert set(weights) >= {"wte.weight", "wpe.weight", "h.7.attn.c_attn.weight", "h.0.mlp.c_proj.bias", "ln_f.weight"}
    for name, w in weights.items():
        if name.endswith("c_proj.weight"):
            assert w.std() == pytest.approx(0.02 / math.sqrt(16), rel=0.1)
        elif w.ndim == 2:
            assert w.std() == pytest.approx(0.02, rel=0.1)
        else:
            assert set(np.unique(w)) == {1.0 if name.endswith("weight") else 0.0}
    x = np.arange(64).reshape(1, 64)
    assert float(model.eval().loss(x, x + 1).item()) == pytest.approx(math.log(103), abs=0.05)  # knows nothing yet


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model, x = tiny(dropout=0.5), tokens(1, T)
    assert np.array_equal(logits(model, x), logits(model, x))
    model.train()
    random.manual_seed(1)
    a, b = logits(model, x), logits(model, x)
    random.manual_seed(1)
    assert np.array_equal(a, logits(model, x))
    assert not np.allclose(a, b)


def test_it_learns():
    """A text with structure: the loss falls far below the entropy of its single characters."""
    text = "the cat sat on the mat and the dog sat on the log; " * 20
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    counts = np.bincount(ids) / len(ids)
    entropy = -float((counts * np.log(counts)).sum())
    model = GPT(GPTConfig(tokenizer.vocab_size, block_size=16, n_layer=1, n_head=2, n_embd=32))
    sampler = WindowSampler(ids, 16, 8, Generator(0))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model.loss(*sampler())
        loss.backward()
        optimizer.step()
    assert float(loss.item()) < 0.3 * entropy
    greedy = model.generate(tokenizer.encode("the cat")[None, :], 12, temperature=0)
    assert "".join(tokenizer.decode(token) for token in greedy) == " sat on the "
