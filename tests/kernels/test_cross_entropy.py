"""Cross-entropy beyond the contract: PyTorch, the long way, both passes at once, ignored rows, and planted bugs."""

from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.cross_entropy import HOT_PATH
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given
from nlp_kernels import cross_entropy, dispatch, softmax
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_accuracy_catches, assert_derivative_catches
from simulated import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp.nn import functional as F

BACKENDS = [name for name in dispatch.backends("cross_entropy") if name != "cuda"]
EVERY = [*BACKENDS, pytest.param("cuda", marks=needs_simulator())]
SHAPES = st.tuples(st.integers(0, 6), st.integers(1, 40))
SMOOTHING = st.sampled_from([0.0, 0.1, 1.0])


@given(rng=generators(), shape=SHAPES, label_smoothing=SMOOTHING, reduction=st.sampled_from(["none", "sum", "mean"]))
def test_equals_pytorch(rng, shape, label_smoothing, reduction):
    torch = pytest.importorskip("torch")
    x, (N, C) = 5 * rng.normal(size=shape), shape
    target = np.where(rng.random(N) < 0.3, -100, rng.integers(0, C, N))
    counted = max((target != -100).sum(), 1)  # the mean divides by the rows that count; of none, PyTorch makes NaN
    reduction = "sum" if reduction == "mean" and not np.any(target != -100) else reduction
    dloss = {"none": rng.normal(size=N), "sum": np.ones(N), "mean": np.ones(N) / counted}[reduction]
    X = torch.tensor(x, requires_grad=True)
    L = torch.nn.functional.cross_entropy(X, torch.tensor(target), label_smoothing=label_smoothing, reduction=reduction)
    loss, saved = cross_entropy.forward(x, target, label_smoothing=label_smoothing)
    (dx,) = cross_entropy.backward(dloss, x, target, saved, label_smoothing=label_smoothing)
    total = loss if reduction == "none" else dloss @ loss
    np.testing.assert_allclose(total, L.detach(), rtol=1e-12, atol=1e-13)
    (theirs,) = torch.autograd.grad(L, X, torch.tensor(dloss) if reduction == "none" else None)
    np.testing.assert_allclose(dx, theirs, rtol=1e-11, atol=1e-14)


@given(rng=generators(), shape=SHAPES, label_smoothing=SMOOTHING)
def test_the_long_way_through_log_softmax(rng, shape, label_smoothing):
    """L = -Σ q log p with q written out; dx through softmax's own backward."""
    x, (N, C) = rng.normal(size=shape), shape
    target, g = rng.integers(0, C, N), rng.normal(size=N)
    q = (1 - label_smoothing) * np.eye(C)[target] + label_smoothing / C
    logp, saved = softmax.forward(x, log=True)
    (long,) = softmax.backward(-g[:, None] * q, x, None, saved, log=True)
    loss, saved = cross_entropy.forward(x, target, label_smoothing=label_smoothing)
    (dx,) = cross_entropy.backward(g, x, target, saved, label_smoothing=label_smoothing)
    np.testing.assert_allclose(loss, -(q * logp).sum(axis=1), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, long, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("backend", EVERY)
@given(data=st.data(), rng=generators(), into=st.sampled_from([None, "x", "other", "columns"]))
def test_both_passes_at_once_are_under_the_contract(backend, dtype, data, rng, into):
    """`forward_backward`, and `out` in it and in `backward`: x itself, another array, one that is not contiguous."""
    case = data.draw(HOT_PATH.cases(dtype))
    (dloss,) = draw_cotangents(HOT_PATH, case, rng)
    x, target = case.inputs

    def outputs():
        given = np.array(x, order="F" if into == "columns" else "C")
        return given if into == "x" else x, None if into is None else given

    def both(*_, **hyper):
        logits, out = outputs()
        loss, dx = cross_entropy.forward_backward(logits, target, dloss, **hyper, out=out)
        assert out is None or dx is out
        return loss, dx

    def backward(dloss, x, target, saved, **hyper):
        logits, out = outputs()
        (dx,) = cross_entropy.backward(dloss, logits, target, saved, **hyper, out=out)
        assert out is None or dx is out
        return (dx,)

    at_once = SimpleNamespace(
        forward=lambda *_, **hyper: (both(**hyper)[0], cross_entropy.forward(x, target, **hyper)[1]),
        backward=lambda *_, **hyper: (both(**hyper)[1],),
    )
    for kernel in (at_once, SimpleNamespace(forward=cross_entropy.forward, backward=backward)):
        with dispatch.use_backend(backend, "cross_entropy", simulate=backend == "cuda"):
            ours = evaluate(kernel, HOT_PATH, case, (dloss,))
        assert_no_worse_than_the_problem(ours, HOT_PATH, case, (dloss,), peer=backend != "reference")


def test_a_training_step_of_both_passes_at_once():
    """The README's: the tape's own gradients, from a gradient of the logits that is there with the loss."""
    rng = np.random.default_rng(0)
    x, target = tn.asarray(rng.normal(size=(6, 3))), np.array([0, 4, -100, 2, 1, -100])
    w = rng.normal(size=(5, 3))
    weights = [tn.Tensor(w.copy(), requires_grad=True) for _ in range(2)]
    dloss = np.full(6, 1 / np.count_nonzero(target != -100))
    logits = tn.linear(x, weights[0])
    loss, dlogits = cross_entropy.forward_backward(logits.data, target, dloss)
    logits.backward(dlogits)
    mean = F.cross_entropy(tn.linear(x, weights[1]), target)
    mean.backward()
    np.testing.assert_allclose(dloss @ loss, mean.item(), rtol=1e-14)
    np.testing.assert_allclose(weights[0].grad.data, weights[1].grad.data, rtol=1e-13, atol=1e-16)


@given(rng=generators(), shape=SHAPES, label_smoothing=SMOOTHING)
def test_ignored_rows_count_nothing(rng, shape, label_smoothing):
    """Neither their logits nor their cotangents are seen, and their index may be any number."""
    x, (N, C) = rng.normal(size=shape), shape
    ignored = rng.random(N) < 0.5
    target, g = np.where(ignored, 7_000_000, rng.integers(0, C, N)), rng.normal(size=N)
    hyper = {"ignore_index": 7_000_000, "label_smoothing": label_smoothing}
    loss, saved = cross_entropy.forward(x, target, **hyper)
    (dx,) = cross_entropy.backward(np.where(ignored, np.nan, g), x, target, saved, **hyper)
    assert np.all(loss[ignored] == 0)
    assert np.all(dx[ignored] == 0)
    alone, saved = cross_entropy.forward(x[~ignored], target[~ignored], **hyper)
    np.testing.assert_array_equal(loss[~ignored], alone)
    (dx_alone,) = cross_entropy.backward(g[~ignored], x[~ignored], target[~ignored], saved, **hyper)
    np.testing.assert_array_equal(dx[~ignored], dx_alone)


@pytest.fixture(params=[True, False], ids=["kept", "computed-again"])
def kept(request, monkeypatch):
    """Whether the Numba kernel keeps the exponentials for the backward pass, as it does for small batches."""
    if not request.param:
        monkeypatch.setattr(pytest.importorskip("nlp_kernels.cross_entropy.cpu"), "KEPT", -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data(), rng=generators())
def test_the_contract_holds_where_exponentials_are_computed_again(dtype, data, rng):
    """The contract's other cases are small, so that the Numba kernel keeps them."""
    cpu = pytest.importorskip("nlp_kernels.cross_entropy.cpu")
    case = data.draw(HOT_PATH.cases(dtype))
    cotangents = draw_cotangents(HOT_PATH, case, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "KEPT", -1)
        ours = evaluate(cross_entropy, HOT_PATH, case, cotangents)
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


def test_ignored_rows_may_hold_anything(kept):
    x = np.asarray([[np.nan, np.inf, 1.0], [1.0, 2.0, 3.0]], np.float32)
    loss, saved = cross_entropy.forward(x, np.asarray([-100, 1]))
    (dx,) = cross_entropy.backward(np.asarray([np.nan, 1.0], np.float32), x, np.asarray([-100, 1]), saved)
    assert loss[0] == 0
    np.testing.assert_array_equal(dx[0], 0)
    assert np.isfinite(dx[1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("C", [2, 3, 65, 128, 1000])
def test_logits_far_from_zero_lose_nothing(kept, backend, C, dtype):
    """(x - m) - log z, in this order: where a compiler makes it x - (m + log z), p sums to 1 but for an ulp of m."""
    rng = np.random.default_rng(0)
    x, target = (3 * rng.normal(size=(20, C)) - 10_000).astype(dtype), rng.integers(0, C, 20)
    with dispatch.use_backend(backend, "cross_entropy"):
        loss, saved = cross_entropy.forward(x, target)
        (dx,) = cross_entropy.backward(np.ones_like(loss), x, target, saved)
    assert np.abs(dx.sum(axis=1, dtype=np.longdouble)).max() <= 8 * np.finfo(dtype).eps


def test_a_sure_model_has_a_finite_loss_and_a_gradient():
    x, target = np.asarray([[200.0, 0.0], [1e30, -1e30]], np.float32), np.asarray([1, 1])
    loss, saved = cross_entropy.forward(x, target)
    np.testing.assert_array_equal(loss, np.asarray([200, 2e30], np.float32))
    (dx,) = cross_entropy.backward(np.ones(2, np.float32), x, target, saved)
    np.testing.assert_allclose(dx, [[1, -1], [1, -1]])


def test_smoothing_is_least_at_the_smoothed_truth():
    """At p = q the gradient is 0 and the loss is the entropy of q."""
    q = np.asarray([[0.9 + 0.1 / 4, 0.025, 0.025, 0.025]])
    loss, saved = cross_entropy.forward(np.log(q), np.asarray([0]), label_smoothing=0.1)
    np.testing.assert_allclose(loss, -(q * np.log(q)).sum())
    (dx,) = cross_entropy.backward(np.ones(1), np.log(q), np.asarray([0]), saved, label_smoothing=0.1)
    np.testing.assert_allclose(dx, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(p - q)", "p"),
        ("(1 - eps) * xp.astype(hit, x.dtype) + eps / C", "xp.astype(hit, x.dtype)"),
        ("+ eps / C", "+ eps * (1 - xp.astype(hit, x.dtype)) / C"),
        ("xp.where(target != ignore_index, dloss, 0.0)", "dloss"),
        ("xp.exp((x - m) - log_z)", "xp.exp(x - m)"),
        ("xp.expand_dims(g, axis=-1) * (p - q)", "(p - q)"),
    ],
    ids=["truth", "smoothing", "smoothing-of-the-others-only", "ignored", "normaliser", "cotangent"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("m = row_max(x)", "m = 0 * row_max(x)"), ("xp.exp((x - m) - log_z)", "xp.exp(x - (m + log_z))")],
    ids=["max", "one-log-sum-exp"],
)
def test_careless_arithmetic_is_caught(right, wrong):
    assert_accuracy_catches(HOT_PATH, right, wrong)


def test_refusals():
    x, target = np.zeros((2, 3)), np.asarray([0, 1])
    with pytest.raises(IndexError, match=r"cross_entropy.forward: target contains 3, out of range for size 3"):
        cross_entropy.forward(x, np.asarray([0, 3]))
    with pytest.raises(IndexError, match=r"cross_entropy.backward: target contains -1, out of range for size 3"):
        cross_entropy.backward(x[:, 0], x, np.asarray([-1, 0]), None)
    with pytest.raises(ShapeError, match=r"cross_entropy.forward: target has shape \(3,\), expected \(2,\)"):
        cross_entropy.forward(x, np.asarray([0, 1, 2]))
    with pytest.raises(ShapeError, match=r"x has shape \(2, 0\); a distribution needs at least one class"):
        cross_entropy.forward(x[:, :0], target)
    with pytest.raises(ShapeError, match=r"cross_entropy.backward: dloss has shape \(2, 1\), expected \(2,\)"):
        cross_entropy.backward(x[:, :1], x, target, None)
    with pytest.raises(DtypeError, match=r"target is float64, expected int32 or int64"):
        cross_entropy.forward(x, target.astype(np.float64))
    with pytest.raises(DtypeError, match=r"target is uint8, expected int32 or int64"):
        cross_entropy.forward(x, target.astype(np.uint8))
    with pytest.raises(DtypeError, match=r"x is int64"):
        cross_entropy.forward(x.astype(np.int64), target)
    with pytest.raises(ShapeError, match=r"cross_entropy.forward_backward: out has shape \(3, 2\), expected \(2, 3\)"):
        cross_entropy.forward_backward(x, target, x[:, 0], out=x.T)
    with pytest.raises(DtypeError, match=r"cross_entropy.backward: out is float32 but x is float64"):
        cross_entropy.backward(x[:, 0], x, target, None, out=x.astype(np.float32))
    for label_smoothing in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="label_smoothing"):
            cross_entropy.forward(x, target, label_smoothing=label_smoothing)
