"""The AdamW step beyond the contract: PyTorch, the papers' algorithms number by number, what E55 promises, bugs."""

import math

import numpy as np
import pytest
from cases import generators
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels import adamw, dispatch
from nlp_kernels.errors import DtypeError, ShapeError
from planted import plant

BACKENDS = [name for name in dispatch.backends("adamw") if name != "cuda"]
HYPER = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def torch():
    """PyTorch, after a first step of an optimiser: that one sets an environment variable."""
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()
    return torch


def trajectory(kernel, theta, gradients, **hyper):
    """theta after each step."""
    m, v, path = np.zeros_like(theta), np.zeros_like(theta), []
    for t, g in enumerate(gradients, 1):
        theta, m, v = kernel.step(theta, g, m, v, t=t, **hyper)
        path.append(theta)
    return np.stack(path)


def by_the_papers(theta, gradients, *, lr, beta1, beta2, eps, weight_decay, decoupled):
    """Algorithm 2 of Loshchilov and Hutter for one number: L2 in line 6, or decoupled decay in line 12."""
    m = v = 0.0
    path = []
    for t, gradient in enumerate(gradients, 1):
        g = gradient if decoupled else gradient + weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        adaptive = (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
        theta = theta - lr * (adaptive + (weight_decay * theta if decoupled else 0.0))
        path.append(theta)
    return path


def assert_follows_the_papers(kernel, rng, decoupled, **hyper):
    theta, gradients = rng.normal(size=3), rng.normal(size=(12, 3)) * 10.0 ** rng.integers(-3, 4, (1, 3))
    hyper = HYPER | {"decoupled": decoupled} | hyper
    ours = trajectory(kernel, theta, gradients, **hyper)
    for i in range(3):
        expected = by_the_papers(float(theta[i]), gradients[:, i].tolist(), **hyper)
        np.testing.assert_allclose(ours[:, i], expected, rtol=1e-10)


@given(rng=generators(), decoupled=st.booleans())
def test_follows_the_papers(rng, decoupled):
    assert_follows_the_papers(adamw, rng, decoupled)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("beta1**t", "beta1 ** (t + 1)"),
        ("mhat = m / (1 - beta1**t)", "mhat = m"),
        ("vhat = v / (1 - beta2**t)", "vhat = v"),
        ("xp.sqrt(vhat) + eps", "xp.sqrt(vhat + eps)"),
        ("(g * g)", "(m * m)"),
        ("update = update + weight_decay * theta", "update = update + lr * weight_decay * theta"),
        ("g = g + weight_decay * theta", "g = g + weight_decay * g"),
        ("if decoupled:", "if True:"),
    ],
    ids=["t", "no-mhat", "no-vhat", "eps-in-root", "m-for-g", "lr-twice", "l2", "both-decays"],
)
def test_planted_bugs_are_caught(right, wrong):
    def check(kernel):
        for decoupled in (True, False):  # eps = 0.1: where it stands must show
            assert_follows_the_papers(kernel, np.random.default_rng(0), decoupled, eps=0.1)

    check(adamw.reference)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(plant(adamw.reference, right, wrong))


@pytest.mark.parametrize("decoupled", [True, False])
@given(rng=generators(), steps=st.integers(1, 20), weight_decay=st.sampled_from([0.0, 0.1]))
def test_equals_pytorch(torch, decoupled, rng, steps, weight_decay):
    theta, gradients = rng.normal(size=(3, 2)), rng.normal(size=(steps, 3, 2))
    parameter = torch.nn.Parameter(torch.tensor(theta))
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    theirs = kind([parameter], lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=weight_decay)
    ours = trajectory(adamw, theta, gradients, **HYPER | {"weight_decay": weight_decay, "decoupled": decoupled})
    for g, expected in zip(gradients, ours, strict=True):
        parameter.grad = torch.tensor(g)
        theirs.step()
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-11, atol=1e-13)


@given(rng=generators(), t=st.integers(1, 200))
def test_the_correction_undoes_the_start_from_zero(rng, t):
    """E[m_t] = (1 - βᵗ) E[g]: with a constant gradient, exactly; so every step has length lr (eps = 0)."""
    g = rng.normal(size=5)
    theta = m = v = np.zeros(5)
    for step in range(1, t + 1):
        before = theta
        theta, m, v = adamw.step(theta, g, m, v, t=step, **HYPER | {"eps": 0.0, "weight_decay": 0.0})
    np.testing.assert_allclose(m, (1 - 0.9**t) * g, rtol=1e-10)
    np.testing.assert_allclose(v, (1 - 0.99**t) * g * g, rtol=1e-10)
    np.testing.assert_allclose(before - theta, 1e-2 * np.sign(g), rtol=1e-8)


def test_uncorrected_the_first_step_is_three_times_too_long():
    mutant = plant(adamw.reference, "**t", '**float("inf")')  # β^∞ = 0: no correction
    hyper = {"t": 1, "lr": 1.0, "beta1": 0.9, "beta2": 0.999, "eps": 0.0, "weight_decay": 0.0}
    one, zero = np.ones(1), np.zeros(1)
    np.testing.assert_allclose(mutant.step(zero, one, zero, zero, **hyper)[0], -0.1 / np.sqrt(1e-3))


@given(rng=generators(), scale=st.sampled_from([1e-6, 1e3]))
def test_the_scale_of_the_loss_does_not_matter(rng, scale):
    theta, gradients = rng.normal(size=4), rng.normal(size=(8, 4))
    hyper = HYPER | {"eps": 0.0}
    ours = trajectory(adamw, theta, gradients, **hyper)
    np.testing.assert_allclose(trajectory(adamw, theta, scale * gradients, **hyper), ours, rtol=1e-9)


def test_decoupled_decay_is_the_same_for_every_parameter():
    """(1 - lr λ) a step beside the adaptive update; as L2 its share depends on the size of the gradients."""
    theta, sizes, n = np.full(2, 1.0), np.array([1e-3, 1e3]), 200
    gradients = sizes * np.random.default_rng(0).choice([-1.0, 1.0], size=(n, 1))

    def decayed(decoupled):
        moves = [
            trajectory(adamw, theta, gradients, **HYPER | {"decoupled": decoupled, "weight_decay": wd})[-1]
            for wd in (0.01, 0.0)
        ]
        return moves[0] - moves[1]

    np.testing.assert_allclose(*decayed(True), rtol=1e-4)  # the two differ by eps / 1e-3 alone
    small, large = np.abs(decayed(False))
    assert small > 100 * large


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 2), (7, 1, 5), (2, 0)])
@pytest.mark.parametrize("piece", [1, 10, 2**15])
def test_out_is_written_in_place(monkeypatch, backend, shape, piece):
    monkeypatch.setattr(adamw, "PIECE", piece)
    rng = np.random.default_rng(0)
    theta, g, m, v = (np.asarray(rng.random(shape)) for _ in range(4))
    copies = theta.copy(), m.copy(), v.copy()
    with dispatch.use_backend(backend, "adamw"):
        expected = adamw.step(theta, g, m, v, t=3, **HYPER)
        for array, copy in zip((theta, m, v), copies, strict=True):
            np.testing.assert_array_equal(array, copy)  # functional without out
        others = tuple(np.full(shape, 7.0) for _ in range(3))
        assert adamw.step(theta, g, m, v, t=3, **HYPER, out=others) is others
        out = adamw.step(theta, g, m, v, t=3, **HYPER, out=(theta, m, v))
    assert all(a is b for a, b in zip(out, (theta, m, v), strict=True))
    for array, other, value in zip(out, others, expected, strict=True):
        np.testing.assert_array_equal(array, value)
        np.testing.assert_array_equal(other, value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("names", ["gmv", "mtv", "vmt", "tgv"], ids=lambda names: "out=" + ",".join(names))
def test_out_may_be_any_of_the_inputs(backend, names):
    """The gradient's memory, or that of another input: all are read before anything is written."""
    inputs = dict(zip("tgmv", np.random.default_rng(0).random((4, 50)), strict=True))
    with dispatch.use_backend(backend, "adamw"):
        expected = adamw.step(*inputs.values(), t=3, **HYPER)
        out = adamw.step(*inputs.values(), t=3, **HYPER, out=tuple(inputs[name] for name in names))
    for array, value in zip(out, expected, strict=True):
        np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_may_overlap_its_input(backend):
    memory, (g, m, v) = np.random.default_rng(0).random(51), np.random.default_rng(1).random((3, 50))
    with dispatch.use_backend(backend, "adamw"):
        expected = adamw.step(memory[:50], g, m, v, t=3, **HYPER)[0]
        adamw.step(memory[:50], g, m, v, t=3, **HYPER, out=(memory[1:], m, v))
    np.testing.assert_array_equal(memory[1:], expected)


def test_what_overlaps():
    """A neighbour does not, a part does, on either side."""
    x = np.zeros(10)
    pairs = [(x[:4], x[4:]), (x[:5], x[4:]), (x, x[3:4]), (x[2:4], x[7:8]), (x, np.zeros(10)), (x[:0], x)]
    for (a, b), overlap in zip(pairs, (False, True, True, False, False, False), strict=True):
        assert adamw._overlap(a, b) == adamw._overlap(b, a) == overlap


def test_out_may_be_a_view():
    whole, g = np.zeros((4, 3)), np.ones((2, 3))
    rows = whole[::2]
    m, v = np.zeros_like(g), np.zeros_like(g)
    adamw.step(rows, g, m, v, t=1, **HYPER, out=(rows, m, v))
    np.testing.assert_allclose(whole, [[-1e-2] * 3, [0] * 3] * 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decoupled", [True, False])
def test_many_parameters_in_one_call_are_each_stepped(dtype, decoupled):
    """The same bits as one call for each, whatever their sizes and order; a scalar and an empty one among them."""
    rng = np.random.default_rng(0)
    shapes = [(3,), (), (0, 4), (100, 70), (1,), (9000,), (5, 1, 7)]
    rows = [tuple(np.asarray(np.abs(rng.normal(size=s)), dtype) for _ in range(4)) for s in shapes]
    expected = [[x.copy() for x in row] for row in rows]
    for theta, g, m, v in expected:
        adamw.step(theta, g, m, v, t=3, **HYPER, decoupled=decoupled, out=(theta, m, v))
    adamw.step_all(rows, t=3, **HYPER, decoupled=decoupled)
    for row, right in zip(rows, expected, strict=True):
        for x, r in zip(row, right, strict=True):
            np.testing.assert_array_equal(x, r)


def test_many_parameters_of_any_kind():
    """What no kernel takes in one call is stepped one by one, and refused as by `step`."""
    rng = np.random.default_rng(0)
    strided = [np.abs(rng.normal(size=(8, 6)))[::2, ::3] for _ in range(4)]
    single = [np.abs(rng.normal(size=5)).astype(np.float32) for _ in range(4)]
    expected = [adamw.step(*row, t=1, **HYPER) for row in (strided, single)]
    adamw.step_all([tuple(strided), tuple(single)], t=1, **HYPER)
    for (theta, _, m, v), right in zip((strided, single), expected, strict=True):
        for x, r in zip((theta, m, v), right, strict=True):
            np.testing.assert_array_equal(x, r)
    adamw.step_all([], t=1, **HYPER)
    with pytest.raises(ShapeError, match=r"adamw.step: g has shape"):
        adamw.step_all([tuple(single), (single[0], single[1][:3], *single[2:])], t=1, **HYPER)
    with pytest.raises(ValueError, match="steps count from 1"):
        adamw.step_all([tuple(single)], t=0, **HYPER)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_factor_multiplies_the_gradient_first(backend, dtype):
    """Before the L2 decay, which is not scaled; in place and not, one parameter and many; the gradient stays."""
    rng, scale = np.random.default_rng(0), np.asarray(0.25, dtype)  # a power of two: no rounding
    theta, g, m, v = (np.abs(rng.normal(size=(7, 3))).astype(dtype) for _ in range(4))
    with dispatch.use_backend(backend, "adamw"):
        for decoupled in (True, False):
            hyper = HYPER | {"t": 3, "decoupled": decoupled}
            right = adamw.step(theta, g / 4, m, v, **hyper)
            rows = [(theta.copy(), g, m.copy(), v.copy())]
            adamw.step_all(rows, scale, **hyper)
            target = tuple(x.copy() for x in (theta, m, v))
            adamw.step(target[0], g, target[1], target[2], scale, **hyper, out=target)
            for ours in (adamw.step(theta, g, m, v, grad_scale=scale, **hyper), (*rows[0][:1], *rows[0][2:]), target):
                for a, b in zip(ours, right, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_planted_factor_that_is_lost_or_scales_the_decay_is_caught():
    def check(kernel):
        theta, g, m, v = np.random.default_rng(0).random((4, 5))
        hyper = HYPER | {"t": 3, "decoupled": False}
        ours = kernel.step(theta, g, m, v, 0.25, **hyper)
        np.testing.assert_allclose(ours, adamw.step(theta, g / 4, m, v, **hyper))

    check(adamw.reference)
    scaled = "g = grad_scale * g  #"
    for right, wrong in ((scaled, "g = g  #"), ("g = g + weight", "g = g + (grad_scale or 1) * weight")):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            check(plant(adamw.reference, right, wrong))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtypes", ["f", "d", "fd"])
def test_the_norm_of_many_gradients_and_its_factor(backend, dtypes):
    """E22; squares that leave float32, a norm of 0, norms that are not finite."""
    rng = np.random.default_rng(0)
    for size in (1.0, 1e-30, 1e25, 0.0):
        shapes = (3, 5), (), (0, 2), (40,)
        gradients = [np.asarray(size * rng.normal(size=shape), d) for shape in shapes for d in dtypes]
        gradients.append(gradients[0][::2, ::-1])  # of any strides
        right = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.longdouble))
        with dispatch.use_backend(backend, "adamw"):
            for bound in (0.0, 0.5 * float(right), 2 * float(right), np.inf):
                norm, scale = adamw.clip_scale(gradients, bound)
                assert (norm.shape, scale.shape, norm.dtype) == ((), (), np.float64)
                assert scale.dtype == np.result_type(*dtypes)
                np.testing.assert_allclose(norm, right, rtol=1e-6 if "f" in dtypes else 1e-14)
                np.testing.assert_allclose(scale, min(1, bound / right) if right else 1, rtol=1e-6)
    for bad in (np.nan, np.inf, -np.inf):
        with dispatch.use_backend(backend, "adamw"):
            norm, scale = adamw.clip_scale([np.asarray([1.0, bad])], 0.5)
        assert not np.isfinite(norm)
        assert scale == 1


def test_refusals():
    x = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"adamw.step: g has shape \(3, 2\), expected \(2, 3\)"):
        adamw.step(x, x.T, x, x, t=1, **HYPER)
    with pytest.raises(ShapeError, match=r"out\[1\] has shape \(3, 2\)"):
        adamw.step(x, x, x, x, t=1, **HYPER, out=(x, x.T, x))
    with pytest.raises(DtypeError, match="g is float32 but theta is float64"):
        adamw.step(x, x.astype(np.float32), x, x, t=1, **HYPER)
    with pytest.raises(ValueError, match="t is 0, but steps count from 1"):
        adamw.step(x, x, x, x, t=0, **HYPER)
    for wrong, error in ((np.zeros(1), ShapeError), (np.zeros((), np.float32), DtypeError)):
        for call in (adamw.step, lambda *row, **hyper: adamw.step_all([row[:4]], row[4], **hyper)):
            with pytest.raises(error, match="grad_scale"):
                call(x, x, x.copy(), x.copy(), wrong, t=1, **HYPER)
    with pytest.raises(DtypeError, match=r"adamw.clip_scale: gradients\[1\] is int64"):
        adamw.clip_scale([x, np.zeros(3, int)], 1.0)
