"""The window classifier (E14): windows written out, gradients that overlap, no word beyond the window."""

import numpy as np
import pytest
from comparison import assert_same, loaded, shaken
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import ShapeError

from tinygrad_nlp import Tensor, grad, no_grad
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.models.tagger import PADDED
from tinygrad_nlp.models.window_classifier import WindowClassifier, WindowConfig, around, windows

V, K, S, LENGTHS = 9, 5, 7, np.array([5, 1, 3])


def tiny(reach=1):
    config = WindowConfig(V, K, reach=reach, width=4, shape_width=2, hidden=5, dropout=0.0)
    return shaken(WindowClassifier(config))


def sentences(T=5, B=3, seed=0):
    draw = np.random.default_rng(seed)
    words, shapes, tags = (draw.integers(1, n, (T, B)) for n in (V, S, K))
    return words, shapes, np.where(np.arange(T)[:, None] < LENGTHS, tags, PADDED)


def written_out(words, shapes, m):
    """The windows of one sentence, word by word: (T, 2m+1) ids and shapes, 0 beyond the ends."""
    T, steps = len(words), range(-m, m + 1)
    return tuple([[row[t + i] if 0 <= t + i < T else 0 for i in steps] for t in range(T)] for row in (words, shapes))


@pytest.mark.parametrize("m", [0, 1, 3, 6])
def test_loss_and_every_gradient_equal_the_twins(m):
    """The twin sees one window at a time, put together from the equation."""
    torch = pytest.importorskip("torch")
    model, (words, shapes, tags) = tiny(m), sentences()
    twin = torch.nn.Module()
    twin.features = torch.nn.Module()
    twin.features.words, twin.features.shapes = torch.nn.Embedding(V, 4), torch.nn.Embedding(S, 2)
    twin.inner, twin.output = torch.nn.Linear((2 * m + 1) * 6, 5), torch.nn.Linear(5, K)
    loaded(twin, model)
    losses = []
    for b, n in enumerate(LENGTHS):
        for window, shape, tag in zip(*written_out(words[:n, b], shapes[:n, b], m), tags[:n, b], strict=True):
            e = torch.cat(
                [twin.features.words(torch.tensor(window)), twin.features.shapes(torch.tensor(shape))], dim=-1
            )
            z = twin.output(torch.tanh(twin.inner(e.reshape(-1))))
            losses.append(torch.logsumexp(z, 0) - z[int(tag)])
    theirs = torch.stack(losses).mean()
    loss = model.loss(words, shapes, LENGTHS, tags)
    assert_same(loss, model, theirs, twin)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), st.booleans(), st.integers(0, 99))
def test_the_gradient_of_a_word_is_the_sum_over_the_windows_it_lies_in(m, T, D, replaced, seed):
    draw = np.random.default_rng(seed)
    e, g = draw.normal(size=(T + 2 * m, 2, D)), draw.normal(size=(T, 2, (2 * m + 1) * D))
    middle = Tensor(draw.normal(size=(T, 2, D)), requires_grad=True) if replaced else None
    x = Tensor(e, requires_grad=True)
    inputs = [x] if middle is None else [x, middle]
    found = grad(windows(x, m, middle), inputs, g)
    wanted = np.zeros_like(e)
    for t in range(T):
        for i in range(2 * m + 1):
            if i != m or middle is None:
                wanted[t + i] += g[t, :, i * D : (i + 1) * D]
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-13, atol=1e-13)
    if middle is not None:
        np.testing.assert_array_equal(found[1].numpy(), g[:, :, m * D : (m + 1) * D])
        check_grads(lambda a, b: windows(a, m, b), [e, middle.detach().numpy()], order=2)
    else:
        check_grads(lambda a: windows(a, m), [e], order=2)


@given(st.integers(0, 3), st.integers(0, 4), st.integers(1, V - 2))
def test_a_word_counts_within_the_window_and_nowhere_else(m, t, shift):
    model, (words, shapes, _) = tiny(m), sentences(B=1)
    changed = words.copy()
    changed[t] = (words[t] - 1 + shift) % (V - 1) + 1
    with no_grad():
        moved = np.abs(model(words, shapes, [5]).numpy() - model(changed, shapes, [5]).numpy()).max(axis=(1, 2))
    near = np.abs(np.arange(5) - t) <= m
    assert moved[near].min() > 1e-9
    assert moved[~near].max(initial=0) == 0


@given(st.integers(0, 3), st.integers(1, V - 2))
def test_what_comes_after_the_end_does_not_count(m, shift):
    model, (words, shapes, _) = tiny(m), sentences()
    real = np.arange(5)[:, None] < LENGTHS
    with no_grad():
        before = model(words, shapes, LENGTHS).numpy()
        after = model(np.where(real, words, (words + shift) % V), np.where(real, shapes, 1), LENGTHS).numpy()
    np.testing.assert_array_equal(before[real], after[real])


def test_what_cannot_be_is_refused():
    words, shapes, _ = sentences()
    with pytest.raises(ShapeError, match=r"words \(5, 3\) and lengths \(2,\) must be \(T, B\), time first, and \(B,\)"):
        around(words, [1, 2], 1)
    with pytest.raises(ShapeError, match=r"their shapes \(6, 3\) must both be \(T, B\)"):
        tiny()(words, shapes[:4], LENGTHS)
