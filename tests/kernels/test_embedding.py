"""Embedding beyond the contract: PyTorch, one-hot products, repeats, padding, and planted bugs."""

import numpy as np
import pytest
from cases import generators
from cases.embedding import HOT_PATH
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels import dispatch, embedding
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_derivative_catches, plant

BACKENDS = [name for name in dispatch.backends("embedding") if name != "cuda"]


@st.composite
def lookups(draw):
    """table, indices, dy, padding_idx; most indices repeat."""
    rng, V, D = draw(generators()), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    shape = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple))
    indices = rng.integers(0, V, shape, draw(st.sampled_from([np.int32, np.int64])))
    padding_idx = draw(st.none() | st.integers(0, V - 1))
    return rng.normal(size=(V, D)), np.asarray(indices), rng.normal(size=(*shape, D)), padding_idx


@given(lookup=lookups())
def test_equals_pytorch(lookup):
    torch = pytest.importorskip("torch")
    table, indices, dy, padding_idx = lookup
    T = torch.tensor(table, requires_grad=True)
    Y = torch.nn.functional.embedding(torch.tensor(indices), T, padding_idx)
    y, saved = embedding.forward(table, indices, padding_idx=padding_idx)
    (dtable,) = embedding.backward(dy, table, indices, saved, padding_idx=padding_idx)
    np.testing.assert_array_equal(y, Y.detach())
    np.testing.assert_allclose(dtable, torch.autograd.grad(Y, T, torch.tensor(dy))[0], rtol=1e-12, atol=1e-14)


@given(lookup=lookups())
def test_both_conventions_of_the_notes(lookup):
    """E01, E02: o_i · o_j = 1[i=j]; the row T[j] is the column E o_j of E = Tᵀ, and dE = dTᵀ."""
    T, indices, dy, _ = lookup
    V, D = T.shape
    one_hot, dY = np.eye(V)[indices.reshape(-1)], dy.reshape(indices.size, D)
    np.testing.assert_array_equal(one_hot @ one_hot.T, indices.reshape(-1, 1) == indices.reshape(1, -1))
    y, saved = embedding.forward(T, indices)
    E = T.T
    np.testing.assert_allclose(y.reshape(indices.size, D).T, E @ one_hot.T, rtol=1e-15)
    (dT,) = embedding.backward(dy, T, indices, saved)
    dE = dY.T @ one_hot
    np.testing.assert_allclose(dT.T, dE, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@given(lookup=lookups())
def test_padding_takes_its_cotangents_out(backend, lookup):
    with dispatch.use_backend(backend, "embedding"):
        assert_padding_counts_for_nothing(embedding, *lookup)


def assert_padding_counts_for_nothing(kernel, table, indices, dy, padding_idx):
    """Bit for bit the gradient of cotangents that are 0 at padding; the forward does not know of padding."""
    y, saved = kernel.forward(table, indices, padding_idx=padding_idx)
    (dtable,) = kernel.backward(dy, table, indices, saved, padding_idx=padding_idx)
    np.testing.assert_array_equal(y, table[indices])
    counted = np.where((indices == (-1 if padding_idx is None else padding_idx))[..., None], 0, dy)
    np.testing.assert_array_equal(dtable, kernel.backward(counted, table, indices, None)[0])
    if padding_idx is not None:
        assert not dtable[padding_idx].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_sum_has_one_order(backend):
    """Rounding depends on the order of a sum; ours is that of the indices, in every run."""
    rng = np.random.default_rng(0)
    table, indices, dy = np.zeros((50, 8), np.float32), rng.integers(0, 50, 5000), rng.normal(size=(5000, 8))
    dy = dy.astype(np.float32)
    in_order = np.zeros_like(table)
    np.add.at(in_order, indices, dy)
    with dispatch.use_backend(backend, "embedding"):
        for _ in range(3):
            np.testing.assert_array_equal(embedding.backward(dy, table, indices, None)[0], in_order)


def test_planted_lost_repeats_are_caught():
    """What `dtable[indices] = dy` computes, and NumPy's `dtable[indices] += dy` too: the last of the repeats."""
    is_last = "[[j not in indices[i + 1 :]] for i, j in enumerate(indices)]"
    wrong = f"scatter_add(dy * xp.reshape(xp.asarray({is_last}, dtype=dy.dtype), (n, 1)), "
    assert_derivative_catches(HOT_PATH, "scatter_add(dy, ", wrong)


def test_planted_padding_row_that_trains_is_caught():
    mutant = plant(embedding.reference, "if padding_idx is not None:", "if False:")
    table, indices = np.zeros((3, 2)), np.array([2, 0, 2])
    assert_padding_counts_for_nothing(embedding.reference, table, indices, np.ones((3, 2)), 2)
    with pytest.raises(AssertionError):
        assert_padding_counts_for_nothing(mutant, table, indices, np.ones((3, 2)), 2)


def test_refusals():
    table = np.zeros((3, 2))
    for wrong in (3, -1):
        with pytest.raises(IndexError, match=rf"embedding.forward: indices contains {wrong}, out of range for size 3"):
            embedding.forward(table, np.array([0, wrong]))
        with pytest.raises(IndexError, match=rf"padding_idx is {wrong}, out of range for size 3"):
            embedding.forward(table, np.array([0]), padding_idx=wrong)
    with pytest.raises(IndexError, match=r"embedding\.backward: indices"):
        embedding.backward(np.zeros((1, 2)), table, np.array([3]), None)
    with pytest.raises(DtypeError, match="float64, expected int32 or int64"):
        embedding.forward(table, np.array([0.0]))
    with pytest.raises(DtypeError, match="table is int64"):
        embedding.forward(np.zeros((3, 2), np.int64), np.array([0]))
    with pytest.raises(ShapeError, match=r"dy has shape \(2, 2\), expected \(1, 2\)"):
        embedding.backward(np.zeros((2, 2)), table, np.array([0]), None)
