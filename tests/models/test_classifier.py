"""The classifier (E28 many to one): its PyTorch twin, lengths that cut, a baseline that order cannot change."""

import numpy as np
import pytest
from comparison import assert_same, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import no_grad, optim
from tinygrad_nlp.models.classifier import Classifier, ClassifierConfig

V, C, LENGTHS = 9, 3, np.array([5, 1, 3])


def tiny(cell, dropout=0.0, **sizes):
    config = ClassifierConfig(V, C, cell=cell, width=4, hidden=5, dropout=dropout, **sizes)
    return shaken(Classifier(config))


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def logits(model, x, lengths):
    with no_grad():
        return model(x, lengths).numpy()


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize(
    ("cell", "directions", "layers"), [("rnn", 1, 1), ("gru", 2, 1), ("lstm", 2, 2), ("none", 1, 1)]
)
def test_loss_and_every_gradient_equal_the_twins(cell, directions, layers, pooling):
    """The twin reads one sentence at a time, without padding, from the equations."""
    torch = pytest.importorskip("torch")
    model, x, y = tiny(cell, directions=directions, n_layer=layers, pooling=pooling), tokens(5, 3), np.array([2, 0, 1])
    twin = torch.nn.Module()
    twin.table, size = torch.nn.Embedding(V, 4), 4
    if cell != "none":
        twin.rnn, size = getattr(torch.nn, cell.upper())(4, 5, layers, bidirectional=directions == 2), 5 * directions
    twin.output = torch.nn.Linear(size, C)
    loaded(twin, model)
    rows = []
    for b, n in enumerate(LENGTHS):
        h = twin.table(torch.from_numpy(x[:n, b]))
        if cell != "none":
            h = twin.rnn(h)[0]
        if pooling == "last" and cell != "none":
            s = torch.cat([h[-1, :5], h[0, 5:]])
        else:
            s = h.max(dim=0).values if pooling == "max" and cell != "none" else h.mean(dim=0)
        rows.append(twin.output(s))
    theirs = torch.nn.functional.cross_entropy(torch.stack(rows), torch.from_numpy(y))
    loss = model.loss(x, LENGTHS, y)
    assert_same(loss, model, theirs, twin)


@given(st.sampled_from(["none", "rnn", "gru", "lstm"]), st.sampled_from(["last", "max", "mean"]), st.integers(1, V - 1))
def test_what_comes_after_the_end_does_not_count(cell, pooling, shift):
    model, x = tiny(cell, pooling=pooling), tokens(5, 3)
    after = np.arange(5)[:, None] >= LENGTHS
    before = logits(model, x, LENGTHS)
    np.testing.assert_allclose(logits(model, np.where(after, (x + shift) % V, x), LENGTHS), before, rtol=0, atol=1e-12)
    changed = logits(model, np.where(after, x, (x + shift) % V), LENGTHS)
    assert np.abs(changed - before).max(axis=-1).min() > 1e-9


@given(st.permutations(range(5)))
def test_only_a_state_knows_the_order(order):  # E16d
    x = np.arange(5)[:, None]
    n = np.array([5])
    bag, reader = tiny("none"), tiny("gru")
    np.testing.assert_allclose(logits(bag, x[order], n), logits(bag, x, n), rtol=1e-11)
    if list(order) != list(range(5)):
        assert np.abs(logits(reader, x[order], n) - logits(reader, x, n)).max() > 1e-6


def test_it_learns_what_a_bag_of_words_cannot():
    """Good … bad against bad … good: the same words."""
    batch = np.array([[1, 2], [3, 3], [2, 1]]), np.array([3, 3]), np.array([0, 1])
    losses = {}
    for cell in ("none", "gru"):
        model = Classifier(ClassifierConfig(4, 2, cell=cell, width=8, hidden=8, dropout=0.0))
        optimizer = optim.AdamW(model.parameters(), lr=3e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = model.loss(*batch)
            loss.backward()
            optimizer.step()
        losses[cell] = float(loss.item())
    assert losses["gru"] < 0.05
    assert losses["none"] == pytest.approx(np.log(2), abs=0.02)


def test_what_cannot_be_is_refused():
    model = tiny("gru")
    with pytest.raises(
        ShapeError, match=r"tokens \(5, 3\) and lengths \(2,\) must be \(T, B\), time first, and \(B,\)"
    ):
        model(tokens(5, 3), [1, 2])
    for lengths in ([0, 1, 2], [1, 2, 6]):
        with pytest.raises(IndexError, match="expected 1 to 5 steps"):
            model(tokens(5, 3), lengths)
