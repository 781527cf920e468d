"""Recurrent layers: PyTorch's numbers, the cells unrolled by the tape, lengths, dropout, long sequences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import host, take_weights, torch

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, nn
from tinygrad_nlp.nn.utils import rnn as packing

KINDS = st.sampled_from(["tanh", "relu", "GRU", "LSTM"])
RNN_UTILS = torch.nn.utils.rnn
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
seeds = st.integers(0, 2**32 - 1)


def layers(kind, *sizes, **options):
    """A layer of ours and PyTorch's with the same weights, in float64."""
    name = "RNN" if kind in ("tanh", "relu") else kind
    if name == "RNN":
        options["nonlinearity"] = kind
    ours, theirs = getattr(nn, name)(*sizes, **options), getattr(torch.nn, name)(*sizes, **options)
    ours, theirs = ours.to(dtype="float64"), theirs.double()
    take_weights(ours, theirs)
    return ours, theirs


def flat(state):
    return state if isinstance(state, tuple) else (state,)


@given(
    kind=KINDS, seed=seeds, T=st.integers(1, 5), B=st.integers(1, 4), H=st.integers(1, 5), n_layers=st.integers(1, 3),
    bias=st.booleans(), batch_first=st.booleans(), bidirectional=st.booleans(), packed=st.booleans(),
    given_state=st.booleans(),
)  # fmt: skip
def test_equals_pytorch(kind, seed, T, B, H, n_layers, bias, batch_first, bidirectional, packed, given_state):
    """Outputs, final states, and the gradients of input, initial states and all parameters."""
    rng, inputs = np.random.default_rng(seed), 3
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    ours, theirs = layers(kind, inputs, H, n_layers, **options)
    x = rng.normal(size=(B, T, inputs) if batch_first else (T, B, inputs))
    lengths = rng.integers(1, T + 1, B)
    lengths[rng.integers(B)] = T  # PyTorch pads to the longest
    states = [rng.normal(size=((1 + bidirectional) * n_layers, B, H)) for _ in range(2 if kind == "LSTM" else 1)]
    X, S = Tensor(x, requires_grad=True), [Tensor(s, requires_grad=True) for s in states]
    tX, tS = torch.tensor(x, requires_grad=True), [torch.tensor(s, requires_grad=True) for s in states]
    pack = lambda s: None if not given_state else s[0] if len(s) == 1 else tuple(s)  # noqa: E731
    y, state = ours(X, pack(S), lengths=lengths if packed else None)
    if packed:
        tX_packed = RNN_UTILS.pack_padded_sequence(tX, torch.tensor(lengths), batch_first, enforce_sorted=False)
        theirs_y, theirs_state = theirs(tX_packed, pack(tS))
        theirs_y, _ = RNN_UTILS.pad_packed_sequence(theirs_y, batch_first)
    else:
        theirs_y, theirs_state = theirs(tX, pack(tS))
    outputs, their_outputs = (y, *flat(state)), (theirs_y, *flat(theirs_state))
    for a, b in zip(outputs, their_outputs, strict=True):
        np.testing.assert_allclose(host(a), host(b), **CLOSE)
    leaves = [X, *(S if given_state else []), *ours.parameters()]
    their_leaves = [tX, *(tS if given_state else []), *theirs.parameters()]
    gs = [rng.normal(size=o.shape) for o in outputs]
    for a, b in zip(
        tn.grad(outputs, leaves, gs), torch.autograd.grad(their_outputs, their_leaves, list(map(torch.tensor, gs))),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(host(a), host(b), **CLOSE)


def unrolled(cell, x, first, lengths, reverse):
    """The cell, step by step through the tape, as the layer says it does."""
    state, ys = first, [None] * x.shape[0]
    for t in range(x.shape[0] - 1, -1, -1) if reverse else range(x.shape[0]):
        new = cell(x[t], state if len(state) > 1 else state[0])
        real = (t < lengths)[:, None]
        state = tuple(tn.where(real, n, s) for n, s in zip(flat(new), state, strict=True))
        ys[t] = tn.where(real, flat(new)[0], 0.0)
    return (tn.stack(ys), *state)


@given(kind=KINDS, seed=seeds, T=st.integers(1, 4), B=st.integers(1, 3), H=st.integers(1, 4), reverse=st.booleans(),
       reset_after=st.booleans())  # fmt: skip
def test_the_fused_sequence_is_the_unrolled_cell(kind, seed, T, B, H, reverse, reset_after):
    """First and second derivatives: back-propagation through time by hand, and by the tape."""
    rng, name = np.random.default_rng(seed), "RNN" if kind in ("tanh", "relu") else kind
    options = {"RNN": {"nonlinearity": kind}, "GRU": {"reset_after": reset_after}, "LSTM": {}}[name]
    layer = getattr(nn, name)(2, H, **options, dtype="float64")
    cell = getattr(nn, name + "Cell")(2, H, **options, dtype="float64")
    weights = list(layer.parameters())
    cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh = weights
    lengths = rng.integers(0, T + 1, B)
    first = tuple(Tensor(rng.normal(size=(B, H)), requires_grad=True) for _ in range(layer.states))
    x = Tensor(rng.normal(size=(T, B, 2)), requires_grad=True)
    y, *final = layer._layer(x, list(first), weights, lengths, reverse)
    results = []
    for outputs in ((y, *final), unrolled(cell, x, first, lengths, reverse)):
        draw = np.random.default_rng(seed)
        gs = [draw.normal(size=o.shape) for o in outputs]
        leaves = [x, *first, *weights]
        dxs = tn.grad(outputs, leaves, gs, create_graph=True)
        hs = [draw.normal(size=d.shape) for d in dxs]
        ddxs = tn.grad(dxs, leaves, hs, allow_unused=True)
        results.append([*outputs, *dxs, *(0 * leaf if d is None else d for d, leaf in zip(ddxs, leaves, strict=True))])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(host(a), host(b), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_padding_is_never_seen(name):
    """No number that lies behind the end of a sequence, however large, reaches an output or a gradient."""
    rng, lengths = np.random.default_rng(0), np.asarray([4, 2, 1])
    layer = getattr(nn, name)(3, 5, 2, bidirectional=True, dtype="float64")
    x = rng.normal(size=(4, 3, 3))
    hidden = np.where(np.arange(4)[:, None, None] < lengths[:, None], x, 1e30)
    g = rng.normal(size=(4, 3, 10))
    results = []
    for array in (x, hidden):
        X = Tensor(array, requires_grad=True)
        y, state = layer(X, lengths=lengths)
        results.append([y, *flat(state), *tn.grad(y, [X, *layer.parameters()], g)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(host(a), host(b))
    for b, n in enumerate(lengths):
        alone, _ = layer(x[:n, b])
        np.testing.assert_allclose(host(results[0][0][:n, b]), host(alone), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(host(results[0][0][n:, b]), 0)


def test_a_packed_sequence_goes_through():
    layer, x = nn.GRU(3, 2, batch_first=True, bidirectional=True), np.random.default_rng(0).normal(size=(2, 4, 3))
    packed = packing.pack_padded_sequence(x, [4, 2], batch_first=True)
    y, h = layer(packed)
    plain, plain_h = layer(x, lengths=[4, 2])
    np.testing.assert_array_equal(host(packing.pad_packed_sequence(y, batch_first=True)[0]), host(plain))
    np.testing.assert_array_equal(host(h), host(plain_h))


@pytest.mark.parametrize("same_mask", [False, True])
def test_dropout_falls_between_the_layers(same_mask):
    """On the output of the first layer, in training only; with `same_mask` on the same units at every step."""
    x, seen = np.ones((6, 2, 3), np.float32), []
    layer = nn.RNN(3, 50, 2, dropout=0.5, same_mask=same_mask)
    inner = layer._layer
    layer.__dict__["_layer"] = lambda x, *rest: seen.append(host(x)) or inner(x, *rest)
    layer(x)
    zeros = seen[1] == 0
    assert 0.3 < zeros.mean() < 0.7
    assert (zeros == zeros[0]).all() == same_mask
    first, _ = layer.eval()(x)
    second, _ = layer(x)
    np.testing.assert_array_equal(host(first), host(second))


def test_truncated_back_propagation_carries_the_state_and_cuts_the_graph():
    """Two halves from a detached state: the numbers of the whole, gradients of the second half alone."""
    layer, x = nn.LSTM(3, 4, dtype="float64"), np.random.default_rng(0).normal(size=(6, 2, 3))
    whole, _ = layer(x)
    _, state = layer(x[:3])
    X = Tensor(x[3:], requires_grad=True)
    second, _ = layer(X, tuple(s.detach() for s in state))
    np.testing.assert_allclose(host(second), host(whole)[3:], rtol=1e-12)
    second[2].backward(np.random.default_rng(1).normal(size=(2, 4)))
    assert X.grad.shape == (3, 2, 3)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_long_sequence_trains(name):
    """5,000 steps, fused and step by step."""
    x = np.random.default_rng(0).normal(size=(5000, 1, 2)).astype(np.float32)
    g = np.random.default_rng(1).normal(size=(1, 3)).astype(np.float32)
    layer, cell = getattr(nn, name)(2, 3), getattr(nn, name + "Cell")(2, 3)
    cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh = layer.parameters()
    state = layer(x)[1]
    fused = tn.grad(flat(state)[0][0], list(layer.parameters()), g)
    state = None
    for x_t in tn.unstack(Tensor(x)):
        state = cell(x_t, state)
    stepped = tn.grad(flat(state)[0], list(layer.parameters()), g)
    for a, b in zip(fused, stepped, strict=True):
        np.testing.assert_allclose(host(a), host(b), rtol=2e-3, atol=1e-5)


def test_the_forget_gate_begins_open():
    layer = nn.LSTM(3, 4, 2, forget_bias=1.0)
    for end in ("l0", "l1"):
        total = host(getattr(layer, f"bias_ih_{end}")) + host(getattr(layer, f"bias_hh_{end}"))
        np.testing.assert_array_equal(total[4:8], 1)
        assert not (total[:4] == 1).any()


def test_the_identity_recurrent_network_remembers():
    """E23: with W_hh = I, b = 0 and ReLU a gradient comes through 1,000 steps undiminished."""
    layer = nn.RNN(2, 3, nonlinearity="relu", bias=False, dtype="float64")
    nn.init.eye_(layer.weight_hh_l0)
    h0 = Tensor(np.ones((1, 1, 3)), requires_grad=True)
    _, h = layer(np.zeros((1000, 1, 2)), h0)
    g = np.asarray([[[1.0, -2.0, 0.5]]])
    h.backward(g)
    np.testing.assert_array_equal(host(h0.grad), g)
