"""The tagger (E28 many to many): its PyTorch twin, lengths that cut, what the backward direction adds."""

import numpy as np
import pytest
from comparison import assert_same, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import no_grad, optim
from tinygrad_nlp.models.tagger import PADDED, Tagger, TaggerConfig

V, K, S, LENGTHS = 9, 5, 7, np.array([5, 1, 3])


def tiny(cell="lstm", dropout=0.0, **sizes):
    config = TaggerConfig(V, K, cell=cell, width=4, shape_width=2, hidden=5, dropout=dropout, **sizes)
    return shaken(Tagger(config))


def sentences(T=5, B=3, seed=0):
    """Words, shapes, tags; no tag after a sentence's end."""
    draw = np.random.default_rng(seed)
    words, shapes, tags = (draw.integers(0, n, (T, B)) for n in (V, S, K))
    return words, shapes, np.where(np.arange(T)[:, None] < LENGTHS, tags, PADDED)


def logits(model, *batch):
    with no_grad():
        return model(*batch).numpy()


@pytest.mark.parametrize(
    ("cell", "directions", "layers"), [("rnn", 1, 1), ("gru", 2, 1), ("lstm", 2, 2), ("lstm", 1, 1)]
)
def test_loss_and_every_gradient_equal_the_twins(cell, directions, layers):
    """The twin reads one sentence at a time, without padding, from the equations."""
    torch = pytest.importorskip("torch")
    model, (words, shapes, tags) = tiny(cell, directions=directions, n_layer=layers), sentences()
    twin = torch.nn.Module()
    twin.features = torch.nn.Module()
    twin.features.words, twin.features.shapes = torch.nn.Embedding(V, 4), torch.nn.Embedding(S, 2)
    twin.rnn = getattr(torch.nn, cell.upper())(6, 5, layers, bidirectional=directions == 2)
    twin.output = torch.nn.Linear(5 * directions, K)
    loaded(twin, model)
    rows, targets = [], []
    for b, n in enumerate(LENGTHS):
        e = [twin.features.words(torch.from_numpy(words[:n, b])), twin.features.shapes(torch.from_numpy(shapes[:n, b]))]
        rows.append(twin.output(twin.rnn(torch.cat(e, dim=-1))[0]))
        targets.append(torch.from_numpy(tags[:n, b]))
    theirs = torch.nn.functional.cross_entropy(torch.cat(rows), torch.cat(targets))
    loss = model.loss(words, shapes, LENGTHS, tags)
    assert_same(loss, model, theirs, twin)


@given(st.sampled_from(["rnn", "gru", "lstm"]), st.integers(1, 2), st.integers(1, V - 1))
def test_what_comes_after_the_end_does_not_count(cell, directions, shift):
    model, (words, shapes, _) = tiny(cell, directions=directions), sentences()
    real = np.arange(5)[:, None] < LENGTHS
    changed = logits(model, np.where(real, words, (words + shift) % V), shapes, LENGTHS)
    np.testing.assert_allclose(changed[real], logits(model, words, shapes, LENGTHS)[real], rtol=0, atol=1e-12)


@given(st.sampled_from(["rnn", "gru", "lstm"]), st.integers(1, 4), st.integers(1, V - 1))
def test_a_later_word_changes_a_tag_through_the_backward_direction_alone(cell, t, shift):  # E26
    words, shapes, _ = sentences(B=1)
    changed = words.copy()
    changed[t] = (words[t] + shift) % V
    for directions in (1, 2):
        model = tiny(cell, directions=directions)
        before, after = (logits(model, w, shapes, [5]) for w in (words, changed))
        earlier = np.abs(before[:t] - after[:t]).max(axis=-1)
        assert earlier.max() == 0 if directions == 1 else earlier.min() > 1e-9
        assert np.abs(before[t:] - after[t:]).max(axis=-1).min() > 1e-9


def test_only_both_directions_learn_whether_teddy_is_a_name():
    """`said Teddy Roosevelt` against `said Teddy bears`: one direction cannot do better than a coin at Teddy."""
    words, tags = np.array([[1, 1], [2, 2], [3, 4]]), np.array([[0, 0], [1, 0], [2, 0]])
    batch = words, np.ones_like(words), np.array([3, 3]), tags
    losses = {}
    for directions in (1, 2):
        model = Tagger(TaggerConfig(5, 3, width=8, shape_width=2, hidden=8, directions=directions, dropout=0.0))
        optimizer = optim.AdamW(model.parameters(), lr=3e-2)
        for _ in range(150):
            optimizer.zero_grad()
            loss = model.loss(*batch)
            loss.backward()
            optimizer.step()
        losses[directions] = float(loss.item())
    assert losses[2] < 0.02
    assert losses[1] == pytest.approx(2 * np.log(2) / 6, abs=0.03)  # a coin at two of six words


def test_what_cannot_be_is_refused():
    model, (words, shapes, _) = tiny(), sentences()
    with pytest.raises(ShapeError, match=r"words \(5, 3\) and their shapes \(4, 3\) must both be \(T, B\)"):
        model(words, shapes[:4], LENGTHS)
    with pytest.raises(ShapeError, match="lengths"):
        model(words, shapes, LENGTHS[:2])
    for lengths in ([0, 1, 2], [1, 2, 6]):
        with pytest.raises(IndexError, match=r"has length ., expected 1 to 5 steps"):
            model(words, shapes, lengths)
