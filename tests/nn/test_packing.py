"""Padded sequences with their lengths: PyTorch's numbers; each docstring tells all, and it is true."""

import documentation
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import host, torch

from tinygrad_nlp import DtypeError, ShapeError, Tensor
from tinygrad_nlp.nn.utils import rnn

Q = np.ones((3, 2, 4))
PACKED = rnn.pack_padded_sequence(Q, [3, 1])


def fails(name, *args, **params):
    return lambda: getattr(rnn, name)(*args, **params)


MISTAKES = {
    "pack_padded_sequence": {
        ShapeError: [fails("pack_padded_sequence", Q, [1]), fails("pack_padded_sequence", Q[:, 0, 0], [1])],
        IndexError: [fails("pack_padded_sequence", Q, [n, 1]) for n in (4, 0)],
        DtypeError: [fails("pack_padded_sequence", Q, [1.0, 1.0])],
        ValueError: [fails("pack_padded_sequence", Q, [1, 2])],
    },
    "pad_packed_sequence": {
        ValueError: [fails("pad_packed_sequence", PACKED, total_length=2)],
        DtypeError: [fails("pad_packed_sequence", Q)],
    },
    "pad_sequence": {ShapeError: [fails("pad_sequence", []), fails("pad_sequence", [Q, Q[0]])]},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_docstring_tells_all(name):
    documentation.tells_all(name, getattr(rnn, name), MISTAKES[name])
    assert "=" in documentation.prose(getattr(rnn, name))


@documentation.each(MISTAKES)
def test_a_mistake_raises_what_the_docstring_says(name, error, call):
    assert documentation.message_of(error, call).startswith(name)


@given(
    seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    batch_first=st.booleans(), more=st.integers(0, 2), value=st.sampled_from([0.0, -1.5]),
)  # fmt: skip
def test_equals_pytorch(seed, lengths, batch_first, more, value):
    rng = np.random.default_rng(seed)
    sequences = [rng.normal(size=(n, 2)) for n in lengths]
    padded = rnn.pad_sequence(sequences, batch_first, value)
    theirs = torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, sequences)), batch_first, value)
    np.testing.assert_array_equal(host(padded), host(theirs))
    X, tX = Tensor(host(padded), requires_grad=True), theirs.requires_grad_()
    total = max(lengths) + more
    y, n = rnn.pad_packed_sequence(
        rnn.pack_padded_sequence(X, lengths, batch_first, enforce_sorted=False), batch_first, value, total
    )
    z, m = torch.nn.utils.rnn.pad_packed_sequence(
        torch.nn.utils.rnn.pack_padded_sequence(tX, torch.tensor(lengths), batch_first, enforce_sorted=False),
        batch_first, value, total,
    )  # fmt: skip
    np.testing.assert_array_equal(host(y), host(z))
    np.testing.assert_array_equal(n, m)
    g = rng.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_array_equal(host(X.grad), host(tX.grad))
