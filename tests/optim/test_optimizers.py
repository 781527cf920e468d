"""Optimisers: their equations by hand, groups, storage, what they refuse."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import InplaceError, ShapeError, Tensor, nn, optim, tanh
from tinygrad_nlp.nn import functional as F

ALL = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"]
OPTIONS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "RMSprop": {"lr": 0.01, "momentum": 0.9, "centered": True},
    "Adam": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1, "betas": (0.8, 0.9)},
}
seeds = st.integers(0, 2**32 - 1)


def stepped(optimizer, theta, gradients):
    """θ after one step for each gradient, of the optimiser that `optimizer` makes for one parameter."""
    p = nn.Parameter(np.array(theta))
    steps = optimizer([p])
    for g in gradients:
        p.grad = Tensor(np.array(g))
        steps.step()
    return p.data


@given(seeds, st.floats(0.01, 1), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_the_equations(seed, lr, a, b):
    """E55 as the notes' table has it, number by number."""
    theta, *gs = np.random.default_rng(seed).normal(size=(5, 3))

    def run(update, **state):
        x = theta.copy()
        for t, g in enumerate(gs, 1):
            x = x - lr * update(x, g, t, state)
        return x

    def momentum(x, g, t, s):
        s["v"] = a * s["v"] + g
        return s["v"]

    def adagrad(x, g, t, s):
        s["s"] = s["s"] + g**2
        return g / (np.sqrt(s["s"]) + 1e-10)

    def rmsprop(x, g, t, s):
        s["s"] = a * s["s"] + (1 - a) * g**2
        return g / (np.sqrt(s["s"]) + 1e-8)

    def adam(x, g, t, s):
        s["m"], s["v"] = a * s["m"] + (1 - a) * g, b * s["v"] + (1 - b) * g**2
        return s["m"] / (1 - a**t) / (np.sqrt(s["v"] / (1 - b**t)) + 1e-8)

    def adamw(x, g, t, s):
        return adam(x, g, t, s) + 0.1 * x

    def l2(x, g, t, s):
        return adam(x, g + 0.1 * x, t, s)

    close = {"rtol": 1e-10, "atol": 1e-12}
    cases = [
        (lambda p: optim.SGD(p, lr), run(lambda x, g, t, s: g)),
        (lambda p: optim.SGD(p, lr, momentum=a), run(momentum, v=0)),
        (lambda p: optim.Adagrad(p, lr), run(adagrad, s=0)),
        (lambda p: optim.RMSprop(p, lr, alpha=a), run(rmsprop, s=0)),
        (lambda p: optim.Adam(p, lr, (a, b)), run(adam, m=0, v=0)),
        (lambda p: optim.Adam(p, lr, (a, b), weight_decay=0.1), run(l2, m=0, v=0)),
        (lambda p: optim.AdamW(p, lr, (a, b), weight_decay=0.1), run(adamw, m=0, v=0)),
    ]
    for optimizer, expected in cases:
        np.testing.assert_allclose(stepped(optimizer, theta, gs), expected, **close)


@pytest.mark.parametrize("name", ALL)
def test_descends(name):
    """A least-squares problem: the loss falls, in float32, and the dtype and the arrays stay the parameters' own."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype("f"), rng.normal(size=(20, 1)).astype("f")
    layer = nn.Linear(3, 1)
    arrays = [p.data for p in layer.parameters()]
    optimizer = getattr(optim, name)(layer.parameters(), **OPTIONS[name])
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.data is a and a.dtype == np.float32 for p, a in zip(layer.parameters(), arrays, strict=True))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("through", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), lambda x: x])
def test_a_stored_state_continues_bit_for_bit(name, through):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(12, 4))
    (p, q), runs = (nn.Parameter(np.ones(4)) for _ in range(2)), []
    for parameter in (p, q):
        optimizer = getattr(optim, name)([{"params": [parameter], "lr": 0.05}], **OPTIONS[name])
        for t, g in enumerate(gradients):
            if parameter is q and t == 6:
                state = through(optimizer.state_dict())
                optimizer = getattr(optim, name)([q])
                optimizer.load_state_dict(state)
            parameter.grad = Tensor(g)
            optimizer.step()
        runs.append(optimizer)
    np.testing.assert_array_equal(p.data, q.data)
    assert runs[0].param_groups[0]["lr"] == runs[1].param_groups[0]["lr"] == 0.05


def test_the_form_of_a_state():
    ps = [nn.Parameter(np.ones(s)) for s in [(2, 3), (4,), (1,)]]
    optimizer = optim.AdamW([{"params": ps[:1]}, {"params": ps[1:], "weight_decay": 0.0}], lr=0.1)
    ps[0].grad, ps[2].grad = Tensor(np.ones((2, 3))), Tensor(np.ones(1))
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2]]
    assert [g["weight_decay"] for g in state["param_groups"]] == [0.01, 0.0]
    assert list(state["state"]) == [0, 2]  # the second parameter had no gradient
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert type(state["state"][0]["step"]) is int
    assert type(state["state"][0]["exp_avg"]) is np.ndarray
    state["state"][0]["exp_avg"][...] = 7  # a copy
    assert not np.any(optimizer.state[ps[0]]["exp_avg"] == 7)
    as_json = {**state, "state": {str(k): v for k, v in state["state"].items()}}
    as_json["param_groups"] = [{**g, "betas": list(g["betas"])} for g in state["param_groups"]]
    optimizer.load_state_dict(as_json)
    assert np.all(optimizer.state[ps[0]]["exp_avg"] == 7)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_a_state_that_does_not_fit_changes_nothing():
    ps = [nn.Parameter(np.ones(s)) for s in [(2, 3), (4,)]]
    optimizer = optim.Adam(ps, lr=0.5)
    for p in ps:
        p.grad = Tensor(np.ones(p.shape))
    optimizer.step()
    good, before = optimizer.state_dict(), optimizer.state
    other = optim.SGD(ps, momentum=0.9)
    other.step()
    wrong_shape = copy.deepcopy(good)
    wrong_shape["param_groups"][0]["lr"] = 3.0
    wrong_shape["state"][1]["exp_avg"] = np.zeros(5)
    with pytest.raises(ShapeError, match=r"exp_avg of parameter 1 has shape \(5,\), the parameter's is \(4,\)"):
        optimizer.load_state_dict(wrong_shape)
    with pytest.raises(ValueError, match=r"the state has no betas, eps; another optimiser's\?"):
        optimizer.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="parameter 0 has the state step, expected step, exp_avg, exp_avg_sq"):
        optimizer.load_state_dict({**good, "state": {0: {"step": 1}}})
    with pytest.raises(ShapeError, match=r"a state of groups of \[1\] parameters, this one has groups of \[2\]"):
        optimizer.load_state_dict(optim.Adam(ps[:1]).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.state is before
    np.testing.assert_array_equal(optimizer.state_dict()["state"][1]["exp_avg"], good["state"][1]["exp_avg"])


def test_parameters_without_gradient_and_frozen_ones_are_left_alone():
    ps = [nn.Parameter(np.ones(2)) for _ in range(3)]
    optimizer = optim.AdamW(ps, lr=0.1)
    ps[0].grad = Tensor(np.ones(2))
    ps[2].requires_grad_(False)
    optimizer.step()
    assert np.all(ps[0].data < 1)
    np.testing.assert_array_equal(ps[1].data, 1)
    np.testing.assert_array_equal(ps[2].data, 1)
    optimizer.zero_grad()
    assert ps[0].grad is None


def test_groups():
    a, b, c = (nn.Parameter(np.ones(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = Tensor(np.ones(1))
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.5, 0.0, 0.0]
    assert repr(optimizer).splitlines()[0] == "SGD("
    assert "'lr': 1.0" in repr(optimizer)


def test_a_graph_that_kept_the_old_weights_refuses_its_sweep():
    p = nn.Parameter(np.ones(3))
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(InplaceError):
        loss.backward()


def test_a_variance_of_zero_is_not_negative():
    """The same gradient at every step: s - (mean of g)² rounds to either side of 0."""
    options = {"lr": 1e-3, "alpha": 0.5, "centered": True}
    for g in (0.1, 0.3, 1.7):
        assert np.isfinite(stepped(lambda p: optim.RMSprop(p, **options), [1.0], [[g]] * 80)).all()


def test_a_gradient_of_another_dtype():
    p = nn.Parameter(np.ones(3, "f"))
    p.grad = Tensor(np.ones(3))
    optim.Adam([p], lr=0.1).step()
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.data, 0.9, rtol=1e-6)


def test_mistakes_get_an_answer():
    p = nn.Parameter(np.ones(2))
    with pytest.raises(ValueError, match="SGD: the list of parameters is empty"):
        optim.SGD([])
    with pytest.raises(TypeError, match="Adam: parameters come in a list"):
        optim.Adam(p)
    with pytest.raises(TypeError, match="Adam: parameter 1 is ndarray, not a Tensor"):
        optim.Adam([p, np.ones(2)])
    with pytest.raises(ValueError, match=r"Adam: parameter 0, of shape \(2,\), is the result of a computation"):
        optim.Adam([tanh(p)])
    with pytest.raises(ValueError, match=r"parameter 1, of shape \(2,\), is given twice"):
        optim.Adam([p, p])
    with pytest.raises(ValueError, match=r"parameter 0, .* is given twice"):
        optim.Adam([{"params": [p]}, {"params": [p]}])
    with pytest.raises(ValueError, match="SGD: a parameter group with unknown betas; it may have lr, momentum"):
        optim.SGD([{"params": [p], "betas": (0.9, 0.9)}])
    with pytest.raises(ValueError, match="a parameter group with no 'params'"):
        optim.SGD([{"lr": 1.0}])
    refused = [
        (optim.SGD, {"lr": -1}, "lr must be not negative, got -1"),
        (optim.SGD, {"momentum": -1}, "momentum must be not negative"),
        (optim.SGD, {"nesterov": True}, "nesterov must be False without momentum or with dampening"),
        (optim.AdamW, {"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
        (optim.AdamW, {"eps": -1e-8}, "eps must be not negative"),
        (optim.Adam, {"weight_decay": float("nan")}, "weight_decay must be not negative, got nan"),
        (optim.Adagrad, {"lr_decay": -1}, "lr_decay must be not negative"),
        (optim.RMSprop, {"alpha": 2}, r"alpha must be in \[0, 1\]"),
    ]
    for optimizer, options, message in refused:
        with pytest.raises(ValueError, match=message):
            optimizer([p], **options)
