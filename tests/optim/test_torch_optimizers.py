"""Optimisers equal PyTorch's over many steps, with groups, in every option, and take over their state."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import Tensor, nn, optim

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
STEPS = 25
rate, decay, share = st.floats(1e-3, 0.5), st.sampled_from([0.0, 0.1]), st.floats(0.0, 0.99)
seeds = st.integers(0, 2**32 - 1)

sgd = st.fixed_dictionaries(
    {"lr": rate, "momentum": st.sampled_from([0.0, 0.9]), "weight_decay": decay, "maximize": st.booleans()}
).flatmap(
    lambda o: st.fixed_dictionaries(
        {k: st.just(v) for k, v in o.items()}
        | ({"dampening": share} if o["weight_decay"] else {"nesterov": st.just(o["momentum"] > 0)})
    )
)
adam = st.fixed_dictionaries(
    {
        "lr": rate,
        "betas": st.tuples(share, share),
        "eps": st.sampled_from([1e-8, 1e-3]),
        "weight_decay": decay,
        "maximize": st.booleans(),
    }
)
adagrad = st.fixed_dictionaries(
    {
        "lr": rate,
        "lr_decay": st.sampled_from([0.0, 0.1]),
        "weight_decay": decay,
        "initial_accumulator_value": st.sampled_from([0.0, 0.3]),
        "maximize": st.booleans(),
    }
)
rmsprop = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-4, 1e-2),
        "alpha": st.floats(0.5, 0.99),
        "eps": st.sampled_from([1e-8, 1e-3]),
        "weight_decay": decay,
        "momentum": st.sampled_from([0.0, 0.9]),
        "centered": st.booleans(),
        "maximize": st.booleans(),
    }
)
OPTIMIZERS = [("SGD", sgd), ("Adam", adam), ("AdamW", adam), ("Adagrad", adagrad), ("RMSprop", rmsprop)]


def twins(rng):
    """The same parameters, ours and PyTorch's."""
    values = [rng.normal(size=shape) for shape in SHAPES]
    return [nn.Parameter(v) for v in values], [torch.tensor(v, requires_grad=True) for v in values]


def give_gradients(ps, qs, rng):
    """The same random gradients to both; now and then a parameter gets none."""
    for p, q in zip(ps, qs, strict=True):
        g = None if rng.random() < 0.2 else rng.normal(size=p.shape)
        p.grad = None if g is None else Tensor(g)
        q.grad = None if g is None else torch.tensor(g)


def assert_equal(ps, qs, close):
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), **close)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
@given(st.data(), seeds)
def test_every_option(name, options, data, seed):
    rng = np.random.default_rng(seed)
    ps, qs = twins(rng)
    first, second = data.draw(options), data.draw(options)
    groups = [
        [{"params": xs[:2]}, {"params": xs[2:], "lr": second["lr"], "weight_decay": second["weight_decay"]}]
        for xs in (ps, qs)
    ]
    ours = getattr(optim, name)(groups[0], **first)
    theirs = getattr(torch.optim, name)(groups[1], **first)
    # a denominator near 0 (centred RMSprop, alpha small) magnifies rounding
    close = {"rtol": 1e-7, "atol": 1e-7} if first.get("centered") else {"rtol": 1e-12, "atol": 1e-12}
    for _ in range(STEPS):
        give_gradients(ps, qs, rng)
        ours.step()
        theirs.step()
        assert_equal(ps, qs, close)


def test_defaults_are_pytorchs():
    p, q = nn.Parameter([1.0]), torch.ones(1, requires_grad=True)
    for name, _ in OPTIMIZERS:
        ours, theirs = getattr(optim, name)([p]).defaults, getattr(torch.optim, name)([q]).defaults
        assert ours == {key: theirs[key] for key in ours}, name


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adagrad", "RMSprop"])
def test_a_state_of_pytorch_continues_here(name):
    rng = np.random.default_rng(0)
    ps, qs = twins(rng)
    theirs = getattr(torch.optim, name)(qs, lr=0.03)
    for _ in range(5):
        give_gradients(ps, qs, rng)
        theirs.step()
    ours = getattr(optim, name)(ps)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["lr"] == 0.03
    for p, q in zip(ps, qs, strict=True):
        p.data[...] = q.detach().numpy()
    for _ in range(STEPS):
        give_gradients(ps, qs, rng)
        ours.step()
        theirs.step()
        assert_equal(ps, qs, {"rtol": 1e-12, "atol": 1e-12})


@given(st.floats(0.01, 20), st.sampled_from([2.0, 1.0, 3.0, float("inf")]), seeds)
def test_clipping_by_norm(c, norm_type, seed):
    """PyTorch's coefficient is c / (‖g‖ + 1e-6), ours c / ‖g‖."""
    rng = np.random.default_rng(seed)
    ps, qs = twins(rng)
    give_gradients(ps, qs, rng)
    before = [None if p.grad is None else p.grad.data.copy() for p in ps]
    ours = optim.clip_grad_norm_(ps, c, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(qs, c, norm_type).item()
    assert ours == pytest.approx(theirs, rel=1e-12)
    factor = (ours + 1e-6) / ours if ours and c < ours + 1e-6 else 1.0
    for p, q, g in zip(ps, qs, before, strict=True):
        if p.grad is not None:
            expected = q.grad.numpy() * factor if c < ours else g
            np.testing.assert_allclose(p.grad.data, expected, rtol=1e-12)


@given(st.floats(0.0, 3), seeds)
def test_clipping_by_value(c, seed):
    rng = np.random.default_rng(seed)
    ps, qs = twins(rng)
    give_gradients(ps, qs, rng)
    optim.clip_grad_value_(ps, c)
    torch.nn.utils.clip_grad_value_(qs, c)
    for p, q in zip(ps, qs, strict=True):
        if p.grad is not None:
            np.testing.assert_array_equal(p.grad.data, q.grad.numpy())


@given(st.integers(1, 20), st.integers(0, 30), st.floats(0, 1e-2), seeds)
def test_cosine(steps, extra, low, seed):
    """After the warm-up: CosineAnnealingLR of PyTorch; t counts from 1, its counter from 0."""
    q = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([q], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, low)
    ours = optim.WarmupCosine(0.1, low, extra, extra + steps)
    for t in range(extra, extra + steps + 1):
        if t:
            assert ours(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        theirs.step()
