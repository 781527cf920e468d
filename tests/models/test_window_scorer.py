"""True or corrupted windows (E15): the gradients of both scores, weights that both passes share, PyTorch's losses."""

import numpy as np
import pytest
from comparison import assert_same, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import Tensor, grad, optim
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.models.window_scorer import ScorerConfig, WindowScorer, mean_within

V, S, LENGTHS = 9, 7, np.array([5, 1, 3])


def tiny(criterion, reach=1):
    config = ScorerConfig(V, reach=reach, width=4, shape_width=2, hidden=5, criterion=criterion)
    return shaken(WindowScorer(config), by=0.5)


def batch(seed=0):
    draw = np.random.default_rng(seed)
    words, shapes, others, theirs = (draw.integers(1, n, (5, 3)) for n in (V, S, V, S))
    return words, shapes, LENGTHS, (others, theirs)


@pytest.mark.parametrize("m", [0, 2])
@pytest.mark.parametrize("criterion", ["margin", "logistic"])
def test_loss_and_every_gradient_equal_the_twins(criterion, m):
    """The twin scores one window at a time; its losses are PyTorch's own."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    model, (words, shapes, lengths, others) = tiny(criterion, m), batch()
    twin = torch.nn.Module()
    twin.features = torch.nn.Module()
    twin.features.words, twin.features.shapes = torch.nn.Embedding(V, 4), torch.nn.Embedding(S, 2)
    twin.inner, twin.output = torch.nn.Linear((2 * m + 1) * 6, 5), torch.nn.Linear(5, 1, bias=False)
    loaded(twin, model)

    def score(b, t, middle):
        places = [t + i for i in range(-m, m + 1)]
        pairs = [(words[i, b], shapes[i, b]) if 0 <= i < lengths[b] else (0, 0) for i in places]
        pairs[m] = middle
        parts = [f for w, s in pairs for f in (twin.features.words.weight[w], twin.features.shapes.weight[s])]
        return twin.output(torch.tanh(twin.inner(torch.cat(parts))))

    where = [(b, t) for b, n in enumerate(lengths) for t in range(n)]
    s = torch.cat([score(b, t, (words[t, b], shapes[t, b])) for b, t in where])
    c = torch.cat([score(b, t, (others[0][t, b], others[1][t, b])) for b, t in where])
    if criterion == "margin":
        theirs = F.margin_ranking_loss(s, c, torch.ones_like(s), margin=1.0)
    else:
        labels = torch.cat([torch.ones_like(s), torch.zeros_like(c)])
        theirs = 2 * F.binary_cross_entropy_with_logits(torch.cat([s, c]), labels)
    loss = model.loss(words, shapes, lengths, others)
    assert_same(loss, model, theirs, twin)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=6))
def test_the_margin_pulls_both_scores_or_none(pairs):
    scores = [np.array(x) for x in zip(*pairs, strict=True)]
    s, c = (Tensor(x, requires_grad=True) for x in scores)
    g = np.random.default_rng(0).normal(size=s.shape)
    ds, dc = grad(tiny("margin").criterion(s, c), [s, c], g)
    on = 1 - scores[0] + scores[1] > 0
    np.testing.assert_array_equal(ds.numpy(), np.where(on, -g, 0))
    np.testing.assert_array_equal(dc.numpy(), np.where(on, g, 0))


@pytest.mark.parametrize("criterion", ["margin", "logistic"])
def test_the_criterion_against_finite_differences(criterion):
    s, c = np.array([3.0, 0.2, -1.0]), np.array([1.0, 0.5, 0.7])  # off, on, on; none near the kink
    check_grads(tiny(criterion).criterion, [s, c], order=2)
    check_grads(lambda s: mean_within(s, LENGTHS), [np.random.default_rng(0).normal(size=(5, 3))], order=2)


@pytest.mark.parametrize("criterion", ["margin", "logistic"])
def test_both_passes_add_into_the_same_weights(criterion):
    model, (words, shapes, lengths, others) = tiny(criterion), batch()
    weights = list(model.parameters())
    whole = grad(model.loss(words, shapes, lengths, others), weights)
    s, c = model(words, shapes, lengths), model(words, shapes, lengths, others)
    ds, dc = grad(mean_within(model.criterion(s, c), lengths), [s, c])
    first = grad(model(words, shapes, lengths), weights, ds.numpy())
    second = grad(model(words, shapes, lengths, others), weights, dc.numpy())
    for a, b, both in zip(first, second, whole, strict=True):
        assert np.abs(b.numpy()).max() > 1e-6
        np.testing.assert_allclose(a.numpy() + b.numpy(), both.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("criterion", ["margin", "logistic"])
def test_it_learns_that_a_sentence_counts_upwards(criterion):
    model = WindowScorer(ScorerConfig(V, width=8, shape_width=2, hidden=16, criterion=criterion))
    optimizer, draw = optim.AdamW(model.parameters(), lr=2e-2), np.random.default_rng(0)
    words = (np.arange(6)[:, None] + np.arange(3)) % (V - 1) + 1
    shapes, lengths = np.ones_like(words), np.array([6, 6, 6])
    for _ in range(200):
        others = words + draw.integers(1, V - 1, words.shape)
        optimizer.zero_grad()
        loss = model.loss(words, shapes, lengths, ((others - 1) % (V - 1) + 1, shapes))
        loss.backward()
        optimizer.step()
    assert float(loss.item()) < 0.1
