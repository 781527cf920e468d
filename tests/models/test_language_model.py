"""The recurrent language model (E19b): its PyTorch twin, the tied table, a state that is all there is of the past."""

import numpy as np
import pytest
from comparison import assert_same_gradients, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError, UserError

from tinygrad_nlp import grad, no_grad, optim, random
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.models.language_model import LanguageModel, LanguageModelConfig
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import WordTokenizer, contiguous_batches

V, H, CELLS = 11, 6, ("rnn", "gru", "lstm")


def tiny(cell="lstm", layers=2, width=None, dropout=0.0):
    config = LanguageModelConfig(V, cell=cell, n_layer=layers, hidden=H, width=width, dropout=dropout)
    return shaken(LanguageModel(config))


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def logits(model, x, state=None):
    with no_grad():
        y, state = model(x, state)
    return y.numpy(), state


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("layers", "width"), [(1, None), (3, 4)])
def test_loss_and_every_gradient_equal_the_twins(cell, layers, width):
    torch = pytest.importorskip("torch")
    model = tiny(cell, layers, width)

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(V, width or H)
            self.rnn = getattr(torch.nn, cell.upper())(width or H, H, layers)
            self.projection = torch.nn.Linear(H, width, bias=False) if width else torch.nn.Identity()
            self.bias = torch.nn.Parameter(torch.zeros(V))

        def loss(self, x, y, state):
            h, state = self.rnn(self.table(x), state)
            scores = self.projection(h) @ self.table.weight.T + self.bias
            return torch.nn.functional.cross_entropy(scores.reshape(-1, V), y.reshape(-1)), state

    twin = loaded(Twin(), model)
    state = theirs = None
    for seed in (0, 1):  # the second block begins in the state of the first, as a constant
        x, y = tokens(5, 3, seed=seed), tokens(5, 3, seed=seed + 9)
        loss, state = model.loss(x, y, state)
        their_loss, theirs = twin.loss(torch.from_numpy(x), torch.from_numpy(y), theirs)
        np.testing.assert_allclose(loss.item(), their_loss.item(), rtol=1e-12)
        loss.backward()
        their_loss.backward()
        state = tuple(s.detach() for s in state)
        theirs = tuple(s.detach() for s in theirs) if cell == "lstm" else theirs.detach()
    assert_same_gradients(model, twin)


@given(st.sampled_from(CELLS), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3))
def test_blocks_with_the_carried_state_equal_one_long_sequence(cell, blocks, B):
    model, x = tiny(cell), tokens(sum(blocks), B)
    state, seen, out = None, 0, []
    for T in blocks:
        y, state = logits(model, x[seen : seen + T], state)
        out.append(y)
        seen += T
    whole, final = logits(model, x)
    np.testing.assert_allclose(np.concatenate(out), whole, rtol=1e-11, atol=1e-12)
    for a, b in zip(state, final, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-12)
    assert len(blocks) == 1 or np.abs(logits(model, x[-T:])[0] - out[-1]).max() > 1e-6  # the state matters


@given(st.sampled_from(CELLS), st.integers(0, 5), st.integers(1, V - 1))
def test_a_later_token_never_changes_an_earlier_logit_nor_one_stream_another(cell, t, shift):
    model, x = tiny(cell), tokens(6, 2)
    changed = x.copy()
    changed[t, 0] = (x[t, 0] + shift) % V
    before, after = logits(model, x)[0], logits(model, changed)[0]
    np.testing.assert_allclose(before[:t], after[:t], rtol=0, atol=1e-12)
    np.testing.assert_allclose(before[:, 1], after[:, 1], rtol=0, atol=1e-12)
    assert np.abs(before[t:, 0] - after[t:, 0]).max(axis=-1).min() > 1e-9


def test_the_table_is_tied():  # the row of a token that never occurs learns too, as an output
    model = tiny()
    (g,) = grad(model.loss(np.zeros((4, 1), int), np.zeros((4, 1), int))[0], [model.table.weight])
    assert (np.abs(g.numpy()).sum(axis=-1) > 0).all()
    names = {name for name, p in model.named_parameters() if V in p.shape}
    assert names == {"table.weight", "bias"}


@pytest.mark.parametrize("choice", [{"temperature": 0}, {"temperature": 0.7, "top_k": 3}, {"top_p": 0.8}])
@pytest.mark.parametrize("cell", CELLS)
def test_generation_equals_reading_the_whole_text_for_every_token(cell, choice):
    model, text = tiny(cell), tokens(2, 3)
    got = np.stack(list(model.generate(text, 9, never=[2], generator=Generator(5), **choice)), axis=1)
    generator = Generator(5)
    for _ in range(9):
        scores = logits(model, text.T)[0][-1].copy()
        scores[:, 2] = -np.inf
        text = np.concatenate([text, draw(next_token_probabilities(scores, **choice), generator)[:, None]], axis=1)
    np.testing.assert_array_equal(got, text[:, 3:])
    assert 2 not in got


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model, x = tiny(dropout=0.5, layers=1), tokens(4, 2)
    assert np.array_equal(logits(model, x)[0], logits(model, x)[0])
    model.train()
    random.manual_seed(1)
    a, b = logits(model, x)[0], logits(model, x)[0]
    random.manual_seed(1)
    assert np.array_equal(a, logits(model, x)[0])
    assert not np.allclose(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns_a_text_by_heart(cell):
    """What follows `the` depends on the words before it: only a state can know."""
    tokenizer = WordTokenizer("the", "cat", "dog", "saw", "and", "then", "slept", ".")
    ids = tokenizer.encode("the cat saw the dog and then the dog slept . the dog saw the cat and then slept . " * 9)
    model = LanguageModel(LanguageModelConfig(tokenizer.vocab_size, cell=cell, hidden=32, dropout=0.0))
    optimizer = optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(25):
        state = None
        for x, y in contiguous_batches(ids, 2, 30):
            optimizer.zero_grad()
            loss, state = model.loss(x, y, state)
            loss.backward()
            optimizer.step()
            state = tuple(s.detach() for s in state)
    assert float(loss.item()) < 0.1
    prompt = tokenizer.encode("the cat saw the dog and then")[None, :]
    written = [int(t[0]) for t in model.generate(prompt, 4, temperature=0)]
    assert tokenizer.decode(written) == " the dog slept."


def test_what_cannot_be_is_refused():
    model = tiny()
    with pytest.raises(ShapeError, match=r"tokens have shape \(4,\), expected \(T, B\), time first"):
        model(tokens(4))
    with pytest.raises(ShapeError, match="initial state"):
        model(tokens(4, 3), logits(model, tokens(4, 2))[1])
    with pytest.raises(IndexError):
        model(np.full((1, 1), V))
    with pytest.raises(UserError, match=r"LanguageModelConfig\.hidden \(--hidden\) must be a whole number"):
        LanguageModelConfig(V, hidden=0)
