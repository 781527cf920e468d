"""The generator of names (E28 one to many): its PyTorch twin, lengths that cut, names from a category alone."""

import numpy as np
import pytest
from comparison import assert_same, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError, UserError

from tinygrad_nlp import nn, no_grad, optim, random
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.models.name_generator import BOS, EOS, PAD, UNK, NameGenerator, NameGeneratorConfig
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import SPECIALS, Vocabulary, padded

V, C, H, CELLS = 9, 4, 5, ("rnn", "gru", "lstm")
LENGTHS, CATEGORIES = np.array([5, 1, 3]), np.array([2, 0, 2])


def tiny(cell="gru", layers=1, dropout=0.0):
    config = NameGeneratorConfig(V, C, cell=cell, n_layer=layers, hidden=H, width=3, dropout=dropout)
    return shaken(NameGenerator(config))


def names(seed=0):
    """Characters and <eos>, filled up with <pad>: (5, 3)."""
    x = np.random.default_rng(seed).integers(EOS + 1, V, (5, 3))
    x[LENGTHS - 1, range(3)] = EOS
    return np.where(np.arange(5)[:, None] < LENGTHS, x, PAD)


def scores(model, x, lengths, categories):
    with no_grad():
        return model.score(x, lengths, categories).numpy()


def test_the_special_tokens_are_the_vocabularys():
    assert [Vocabulary("ab").id(s) for s in SPECIALS] == [PAD, UNK, BOS, EOS]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_loss_and_every_gradient_equal_the_twins(cell, layers):
    """The twin reads one name at a time, character by character, without padding."""
    torch = pytest.importorskip("torch")
    model, x = tiny(cell, layers), names()
    twin = torch.nn.Module()
    twin.table, twin.begin = torch.nn.Embedding(V, 3), torch.nn.Embedding(C, layers * H)
    twin.rnn, twin.output = getattr(torch.nn, cell.upper())(3, H, layers), torch.nn.Linear(H, V)
    loaded(twin, model)
    log_p = []
    for b, (n, k) in enumerate(zip(LENGTHS, CATEGORIES, strict=True)):
        row = twin.begin.weight[k]
        h = torch.stack([row[layer * H : (layer + 1) * H] for layer in range(layers)])
        state = (h, torch.zeros_like(h)) if cell == "lstm" else h
        before, total = BOS, 0.0
        for character in x[:n, b].tolist():
            y, state = twin.rnn(twin.table(torch.tensor([before])), state)
            total = total + torch.log_softmax(twin.output(y[0]), dim=0)[character]
            before = character
        log_p.append(total)
    theirs = -sum(log_p) / 9
    loss = model.loss(x, LENGTHS, CATEGORIES)
    np.testing.assert_allclose(scores(model, x, LENGTHS, CATEGORIES), [p.item() for p in log_p], rtol=1e-12)
    assert_same(loss, model, theirs, twin)
    assert np.abs(model.begin.weight.grad.numpy()[[0, 2]]).min() > 0  # every layer begins with its category


@given(st.sampled_from(CELLS), st.integers(1, V - 1))
def test_what_comes_after_the_end_does_not_count(cell, shift):
    model, x = tiny(cell), names()
    after = np.arange(5)[:, None] >= LENGTHS
    before, loss = scores(model, x, LENGTHS, CATEGORIES), model.loss(x, LENGTHS, CATEGORIES).item()
    other = np.where(after, (x + shift) % V, x)
    np.testing.assert_allclose(scores(model, other, LENGTHS, CATEGORIES), before, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.loss(other, LENGTHS, CATEGORIES).item(), loss, rtol=0, atol=1e-12)
    changed = scores(model, np.where(after, x, (x + shift) % V), LENGTHS, CATEGORIES)
    assert np.abs(changed - before).min() > 1e-9


@given(st.sampled_from(CELLS), st.integers(0, C - 1), st.integers(0, C - 1))
def test_probabilities_of_all_short_names_and_all_longer_beginnings_sum_to_one(cell, k, other):
    model = tiny(cell)
    short, rest = [[EOS]], [i for i in range(V) if i != EOS]
    everything = [*short, *([i, j] for i in rest for j in range(V))]
    x, n = padded(everything)
    assert np.exp(scores(model, x, n, np.full(len(n), k))).sum() == pytest.approx(1, abs=1e-12)
    differ = np.abs(scores(model, x, n, np.full(len(n), k)) - scores(model, x, n, np.full(len(n), other))).max()
    assert (differ > 1e-3) == (k != other)


@pytest.mark.parametrize("prompt", [[], [7, 5]])
@pytest.mark.parametrize("choice", [{"temperature": 0}, {"temperature": 0.7, "top_k": 3}, {"top_p": 0.8}])
@pytest.mark.parametrize("cell", CELLS)
def test_generation_equals_reading_the_whole_name_for_every_character(cell, choice, prompt):
    model, k, generator = tiny(cell, layers=2), np.array([0, 3, 1, 3]), Generator(5)
    got = model.generate(k, 6, prompt=prompt, generator=Generator(5), **choice)
    text = np.tile([BOS, *prompt], (4, 1))
    for _ in range(6):
        with no_grad():
            last = model(text.T, np.full(4, text.shape[1]), k)[-1].numpy().copy()
        last[:, [PAD, UNK, BOS]] = -np.inf
        text = np.concatenate([text, draw(next_token_probabilities(last, **choice), generator)[:, None]], axis=1)
        if (text == EOS).any(axis=1).all():
            break
    for name, row in zip(got, text[:, 1 + len(prompt) :].tolist(), strict=True):
        assert name.tolist() == (row[: row.index(EOS)] if EOS in row else row)


def test_what_is_no_character_is_never_drawn_and_nothing_follows_the_end():
    model = tiny()
    model.output.bias.data[[PAD, UNK, BOS]] = 9.0
    model.output.bias.data[EOS] = 2.0
    drawn = model.generate(np.arange(200) % C, 30, generator=Generator(0))
    assert len(drawn) == 200
    assert set(np.concatenate(drawn).tolist()) == set(range(EOS + 1, V))
    assert len({len(name) for name in drawn}) > 5


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns_by_heart_which_name_a_category_has(cell):
    """The same characters in every category: only its row can tell them apart."""
    words = [[4, 5, 6], [6, 5, 4], [5], [6, 4, 4, 4, 5]]
    x, n = padded([[*word, EOS] for word in words])
    model = NameGenerator(NameGeneratorConfig(7, C, cell=cell, hidden=24, width=8, dropout=0.0))
    optimizer = optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(x, n, np.arange(C))
        loss.backward()
        optimizer.step()
    assert float(loss.item()) < 0.05
    assert [name.tolist() for name in model.generate(np.arange(C), 9, temperature=0)] == words
    assert [name.tolist() for name in model.generate([1, 3], 2, temperature=0)] == [[6, 5], [6, 4]]
    assert [name.tolist() for name in model.generate([3], 9, prompt=[6, 4], temperature=0)] == [[4, 4, 5]]
    fits = np.stack([scores(model, x, n, np.full(C, k)) for k in range(C)])
    assert fits.argmax(axis=0).tolist() == list(range(C))  # Bayes' rule, all categories as frequent


def test_dropout_falls_on_what_goes_into_the_cell_and_what_comes_out():
    class Seen(nn.Module):
        def forward(self, x):
            seen.append(x.shape)
            return x

    model, seen = tiny(), []
    model.drop = Seen()
    model.loss(names(), LENGTHS, CATEGORIES)
    assert seen == [(5, 3, 3), (5, 3, H)]


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model, x = tiny(dropout=0.5), names()
    first = scores(model, x, LENGTHS, CATEGORIES)
    assert np.array_equal(first, scores(model, x, LENGTHS, CATEGORIES))
    model.train()
    random.manual_seed(1)
    a, b = scores(model, x, LENGTHS, CATEGORIES), scores(model, x, LENGTHS, CATEGORIES)
    random.manual_seed(1)
    assert np.array_equal(a, scores(model, x, LENGTHS, CATEGORIES))
    assert not np.allclose(a, b)
    model.generate([0], 1)
    assert np.array_equal(first, scores(model, x, LENGTHS, CATEGORIES))


def test_what_cannot_be_is_refused():
    model, x = tiny(), names()
    for wrong in ((x[:, 0], LENGTHS, CATEGORIES), (x, LENGTHS[:2], CATEGORIES), (x, LENGTHS, CATEGORIES[:2])):
        for call in (model, model.loss, model.score):
            with pytest.raises(ShapeError, match=r"NameGenerator: tokens \(5.* must be \(T, B\), time first, \(B,\)"):
                call(*wrong)
    for lengths in ([0, 1, 2], [1, 2, 6]):
        with pytest.raises(IndexError, match="expected 1 to 5 steps"):
            model(x, lengths, CATEGORIES)
    for k in (-1, C):
        with pytest.raises(IndexError, match=f"categories from {min(0, k)} to {max(0, k)}, expected 0 to 3"):
            model(x, LENGTHS, [0, k, 0])
        with pytest.raises(IndexError, match="expected 0 to 3"):
            model.generate([k], 3)
    with pytest.raises(IndexError):
        model(np.full((1, 1), V), [1], [0])
    with pytest.raises(UserError, match=r"NameGeneratorConfig\.width \(--width\) must be a whole number"):
        NameGeneratorConfig(V, C, width=0)
