"""Matmul beyond the contract: PyTorch, transposed views, the activations' kinks and limits, and planted bugs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators, layouts
from cases.matmul import HOT_PATH
from hypothesis import given
from nlp_kernels import dispatch, matmul
from nlp_kernels.common import threads
from nlp_kernels.errors import DtypeError, ShapeError
from nlp_kernels.matmul import reference
from planted import assert_accuracy_catches, assert_derivative_catches

SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 7))
ACTIVATIONS = st.sampled_from(matmul.ACTIVATIONS)
KERNELS = pytest.mark.parametrize(
    "backend", [name for name in ("cpu", "packed") if name in dispatch.backends("matmul")]
)
BLOCKS = [(200, 600, 70), (97, 1024, 33), (70, 1030, 200), (64, 5, 2100)]  # rows, inner axis, panels: more than one
EMPTY = [(0, 5, 3), (5, 0, 3), (5, 3, 0), (5, 3, 1), (1, 1, 1)]


def torch_activation(torch, name):
    F = torch.nn.functional
    return {
        "none": lambda z: z,
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    }[name]


@given(rng=generators(), shape=SHAPES, activation=ACTIVATIONS, transpose_w=st.booleans(), rest=st.booleans())
def test_equals_pytorch(rng, shape, activation, transpose_w, rest):
    torch = pytest.importorskip("torch")
    M, K, N = shape
    x, w, dy = rng.normal(size=(M, K)), rng.normal(size=(N, K) if transpose_w else (K, N)), rng.normal(size=(M, N))
    b, residual = (rng.normal(size=N), rng.normal(size=(M, N))) if rest else (None, None)
    inputs = [a for a in (x, w, b, residual) if a is not None]
    X, W, *more = leaves = [torch.tensor(a, requires_grad=True) for a in inputs]
    z = X @ (W.T if transpose_w else W) + (more[0] if rest else 0)
    Y = torch_activation(torch, activation)(z) + (more[1] if rest else 0)
    hyper = {"activation": activation, "transpose_w": transpose_w}
    y, saved = matmul.forward(x, w, b, residual, **hyper)
    ours = matmul.backward(dy, x, w, b, residual, saved, **hyper)
    np.testing.assert_allclose(y, Y.detach(), rtol=1e-12, atol=1e-13)
    theirs = torch.autograd.grad(Y, leaves, torch.tensor(dy))
    for a, t in zip([d for d in ours if d is not None], theirs, strict=True):
        np.testing.assert_allclose(a, t, rtol=1e-10, atol=1e-12)


@given(rng=generators(), shape=SHAPES, activation=ACTIVATIONS)
def test_a_transposed_view_is_read_where_it_lies(rng, shape, activation):
    M, K, N = shape
    x, w, dy = rng.normal(size=(K, M)).T, rng.normal(size=(N, K)), rng.normal(size=(N, M)).T
    y, saved = matmul.forward(x, w, activation=activation, transpose_w=True)
    same, _ = matmul.forward(x, w.T, activation=activation)
    np.testing.assert_allclose(y, same, rtol=1e-14, atol=1e-14)
    dx, dw, *_ = matmul.backward(dy, x, w, None, None, saved, activation=activation, transpose_w=True)
    same_dx, same_dw, *_ = matmul.backward(dy, x, w.T, None, None, saved, activation=activation)
    np.testing.assert_allclose(dx, same_dx, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(dw, same_dw.T, rtol=1e-13, atol=1e-13)


def slopes(activation, z):
    """g(z) and g'(z) of a column, through a product with 1."""
    z, one = np.asarray(z, np.float64).reshape(-1, 1), np.ones((1, 1))
    y, saved = matmul.forward(z, one, activation=activation)
    dx, *_ = matmul.backward(np.ones_like(z), z, one, None, None, saved, activation=activation)
    return y[:, 0], dx[:, 0]


def test_the_kink_of_relu():
    y, slope = slopes("relu", [-2, -0.0, 0, 1e-300, 3])
    np.testing.assert_array_equal(y, [0, 0, 0, 1e-300, 3])
    np.testing.assert_array_equal(slope, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_gelu_between_its_limits(activation):
    y, slope = slopes(activation, [-1e4, -40, 0, 40, 1e4])
    np.testing.assert_allclose(y, [0, 0, 0, 40, 1e4], atol=1e-300)
    np.testing.assert_allclose(slope, [0, 0, 0.5, 1, 1], atol=1e-300)
    y, slope = slopes(activation, np.linspace(-2, 0, 2001))
    assert -0.1701 < y.min() < -0.1699
    assert slope.min() < 0 < slope.max()  # not monotonic: y does not determine z


def test_both_gelus_differ_by_less_than_five_ten_thousandths():
    z = np.linspace(-10, 10, 100_001)
    (exact, _), (tanh, _) = slopes("gelu", z), slopes("gelu_tanh", z)
    assert 4e-4 < np.abs(exact - tanh).max() < 5e-4


@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
def test_nan_stays_nan(activation):
    y, slope = slopes(activation, [np.nan])
    assert np.isnan(y).all()
    assert activation in ("none", "relu") or np.isnan(slope).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dz = activate_backward(dy, saved, activation)", "dz = dy"),
        ("dy * xp.astype(z > 0, dy.dtype)", "dy"),
        ("+ z * density", ""),
        ("math.sqrt(2 * math.pi)", "2 * math.pi"),
        ("(1 + 3 * A * z2)", "(1 + A * z2)"),
        ("(1 - th * th)", "(1 - th)"),
        ("1 + th + z", "z"),
        ("sum(dz, axis=0)", "sum(dy, axis=0)"),
        ("None if residual is None else dy", "None if residual is None else dz"),
        ("_w else x.T @ dz", "_w else x.T @ dy"),
        ("dx = dz @", "dx = dy @"),
    ],
    ids=["no-g'", "relu", "gelu", "density", "cubic", "tanh'", "product-rule", "db", "dresidual", "dw", "dx"],
)
def test_planted_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("math.sqrt(0.5)", "0.707"), ("A, B = 0.044715", "A, B = 0.0447")],
    ids=["√½ to three digits", "α to three"],
)
def test_careless_constants_are_caught(right, wrong):
    assert_accuracy_catches(HOT_PATH, right, wrong)


def test_refusals():
    x, w = np.zeros((2, 3)), np.zeros((3, 4))
    with pytest.raises(ShapeError, match=r"matmul.forward: x \(2, 3\) and w \(4, 3\) differ in K: 3 and 4"):
        matmul.forward(x, w.T)
    with pytest.raises(ShapeError, match=r"x \(2, 3\) and transposed w \(3, 4\) differ in K: 3 and 4"):
        matmul.forward(x, w, transpose_w=True)
    with pytest.raises(ShapeError, match=r"matmul.forward: w has shape \(3,\), expected \(K, N\)"):
        matmul.forward(x, w[:, 0])
    with pytest.raises(ShapeError, match=r"matmul.forward: b has shape \(3,\), expected \(4,\)"):
        matmul.forward(x, w, np.zeros(3))
    with pytest.raises(ShapeError, match=r"matmul.forward: residual has shape \(2, 3\), expected \(2, 4\)"):
        matmul.forward(x, w, None, x)
    with pytest.raises(ShapeError, match=r"matmul.backward: dy has shape \(2, 3\), expected \(2, 4\)"):
        matmul.backward(x, x, w, None, None, None)
    with pytest.raises(DtypeError, match=r"matmul.forward: w is float32 but x is float64"):
        matmul.forward(x, w.astype(np.float32))
    with pytest.raises(DtypeError, match=r"matmul.forward: x is int64"):
        matmul.forward(x.astype(np.int64), w)
    with pytest.raises(ValueError, match=r"unknown activation 'swish'; there are none, relu, gelu, gelu_tanh"):
        matmul.forward(x, w, activation="swish")
    with pytest.raises(ValueError, match=r"matmul.activate: unknown activation 'swish'"):
        matmul.activate(x, activation="swish")
    with pytest.raises(ShapeError, match=r"matmul.activate_backward: dy has shape \(3, 4\), expected \(2, 3\)"):
        matmul.activate_backward(w, x, activation="gelu")


def arrays(rng, shape, dtype, transpose_w):
    M, K, N = shape
    x, w, b = (
        rng.normal(size=(M, K)),
        rng.normal(size=(N, K) if transpose_w else (K, N)) / max(K, 1) ** 0.5,
        rng.normal(size=N),
    )
    return [a.astype(dtype) for a in (x, w, b, rng.normal(size=(M, N)), rng.normal(size=(M, N)))]


def both_ways(x, w, b, residual, dy, **hyper):
    y, saved = matmul.forward(x, w, b, residual, **hyper)
    return [y, *matmul.backward(dy, x, w, b, residual, saved, **hyper)]


def assert_close(ours, right, dtype):
    for a, r in zip(ours, right, strict=True):
        if r is not None:
            scale = np.abs(r).max(initial=0) * max(1, r.size) ** 0.25
            assert a.dtype == dtype
            np.testing.assert_allclose(a, r, rtol=0, atol=64 * np.finfo(dtype).eps * scale)


@KERNELS
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("transpose_w", [False, True])
@pytest.mark.parametrize("shape", BLOCKS + EMPTY, ids=str)
def test_more_than_one_block(backend, dtype, transpose_w, shape):
    given = arrays(np.random.default_rng(0), shape, dtype, transpose_w)
    for activation in matmul.ACTIVATIONS:
        hyper = {"activation": activation, "transpose_w": transpose_w}
        with dispatch.use_backend(backend, "matmul"):
            ours = both_ways(*given, **hyper)
        with dispatch.use_backend("reference"):
            right = both_ways(*(a.astype(np.float64) for a in given), **hyper)
        assert_close(ours, right, dtype)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize(("M", "K", "N"), [(50, 600, 70), (210, 400, 1100), (1, 2, 33), (40, 1024, 600)], ids=str)
def test_a_long_inner_axis(M, K, N, n_workers, transposed, monkeypatch):
    """As in dW: blocks of B are used for all of C, which adds up one block of the inner axis after the other."""
    packed, rng = pytest.importorskip("nlp_kernels.matmul.packed"), np.random.default_rng(0)
    monkeypatch.setattr(packed, "workers", lambda *sizes: n_workers)
    a, b = rng.normal(size=(M, K)), rng.normal(size=(K, N))
    a, b = (np.asfortranarray(x) if t else x for x, t in zip((a, b), transposed, strict=True))
    assert_close([packed.product(a, b)], [a @ b], np.float64)


@KERNELS
@given(data=st.data(), rng=generators(), transpose_w=st.booleans())
def test_every_combination_of_strides(backend, data, rng, transpose_w):
    """x, w and dy in any layout: C, Fortran, gapped, reversed, or part of a larger array."""
    x, w, b, residual, dy = arrays(rng, (40, 50, 37), np.float64, transpose_w)
    right = both_ways(x, w, b, residual, dy, activation="gelu", transpose_w=transpose_w)
    x, w, b, residual, dy = (data.draw(layouts(a)) for a in (x, w, b, residual, dy))
    if data.draw(st.booleans()):
        x, dy = np.pad(x, 3)[3:-3, 3:-3], np.pad(dy.T, 2)[2:-2, 2:-2].T
    with dispatch.use_backend(backend, "matmul"):
        ours = both_ways(x, w, b, residual, dy, activation="gelu", transpose_w=transpose_w)
    assert_close(ours, right, np.float64)


@KERNELS
@pytest.mark.parametrize("shape", [(200, 600, 70), (70, 130, 300), (300, 257, 300)], ids=str)
def test_any_number_of_workers(backend, shape, monkeypatch):
    """The same bits for one number of workers; equal to rounding, and db and g to the bit, among numbers of them."""
    given = arrays(np.random.default_rng(0), shape, np.float32, True)
    results = {}
    for n in (1, 2, 4):
        monkeypatch.setattr(threads, "_threads", n)
        with dispatch.use_backend(backend, "matmul"):
            y, dx, dw, db, _ = both_ways(*given, activation="gelu", transpose_w=True)
            for a, b in zip(
                both_ways(*given, activation="gelu", transpose_w=True), (y, dx, dw, db, given[-1]), strict=True
            ):
                np.testing.assert_array_equal(a, b)
        z, b, dy = given[3], given[2], given[4]
        g, dg = matmul.activate(z, b, activation="gelu"), matmul.activate_backward(dy, z, b, activation="gelu")
        results[n] = [y, dx, dw, db], [g, *dg]
    for n in (2, 4):
        assert_close(results[n][0], results[1][0], np.float32)
        for a, b in zip(results[n][1], results[1][1], strict=True):
            np.testing.assert_array_equal(a, b)


@given(data=st.data(), rng=generators(), activation=ACTIVATIONS, dtype=st.sampled_from([np.float32, np.float64]))
def test_the_activation_alone(data, rng, activation, dtype):
    """For any number of axes, with and without a bias: what the reference gives for z + b."""
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 5, 70]), max_size=3).map(tuple))
    z, dy = (data.draw(layouts(rng.normal(size=shape).astype(dtype))) for _ in range(2))
    b = rng.normal(size=shape[-1:]).astype(dtype) if shape and data.draw(st.booleans()) else None
    y, (dz, db) = (
        matmul.activate(z, b, activation=activation),
        matmul.activate_backward(dy, z, b, activation=activation),
    )
    with dispatch.use_backend("reference"):
        z, dy, c = z.astype(np.float64), dy.astype(np.float64), None if b is None else b.astype(np.float64)
        right = matmul.activate(z, c, activation=activation), *matmul.activate_backward(dy, z, c, activation=activation)
    assert (db is None) == (b is None)
    assert_close([y, dz, db], right, dtype)


@pytest.mark.parametrize("backend", dispatch.backends("matmul"))
def test_the_activation_alone_refuses_what_does_not_fit(backend):
    z, b = np.zeros((2, 3)), np.zeros(4)
    with dispatch.use_backend(backend, "matmul"):
        with pytest.raises(ValueError, match=r"b has shape \(4,\), expected \(3,\)|broadcast"):
            matmul.activate(z, b, activation="gelu")
        if backend != "reference":
            with pytest.raises(DtypeError, match="dy is float32 but z is float64"):
                matmul.activate_backward(z.astype(np.float32), z, activation="gelu")


@given(rng=generators(), dtype=st.sampled_from([np.float32, np.float64]))
def test_products_of_stacks(rng, dtype):
    for a, b in [((300, 80), (80, 300)), ((4, 70, 90), (90, 130)), ((3, 1, 90, 70), (2, 70, 120)), ((7, 9), (9, 5))]:
        a, b = rng.normal(size=a).astype(dtype), rng.normal(size=b).astype(dtype)
        assert_close([matmul.product(a, b)], [np.matmul(a.astype(np.float64), b)], dtype)


def test_what_no_kernel_multiplies_numpy_does():
    a = np.arange(160_000).reshape(400, 400)
    np.testing.assert_array_equal(matmul.product(a, a), a @ a)
    assert matmul.product(a, a.astype(np.float32)).dtype == np.float64
    np.testing.assert_array_equal(matmul.product(a, a[0]), a @ a[0])
    with pytest.raises(ValueError, match="mismatch"):
        matmul.product(np.zeros((400, 400)), np.zeros((300, 400)))
    with pytest.raises(ValueError, match="broadcast"):
        matmul.product(np.zeros((3, 200, 200)), np.zeros((2, 200, 200)))


def test_our_product_is_chosen_where_it_pays(monkeypatch):
    packed = pytest.importorskip("nlp_kernels.matmul.packed")

    def chosen(M, K, N):
        return dispatch.select("matmul", np.zeros((M, K)), np.zeros((K, N))).__name__.rpartition(".")[2]

    monkeypatch.setattr(packed.microkernel, "vector_bytes", lambda: 64)
    assert [chosen(256, 64, 256), chosen(16, 1024, 1024), chosen(64, 64, 64)] == ["packed", "cpu", "cpu"]
    monkeypatch.setattr(packed.microkernel, "vector_bytes", lambda: 32)
    assert chosen(256, 64, 256) == "cpu"


@KERNELS
@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
def test_kernels_keep_nan_and_infinity(backend, activation):
    z = np.tile([np.nan, -np.inf, np.inf, -1e30, 1e30, -0.0, 0.0, -20, 20], 5)[:, None].astype(np.float32)
    one = np.ones((1, 1), np.float32)
    with np.errstate(all="ignore"):
        right = reference.activate(z.astype(np.float64), activation)
        with dispatch.use_backend(backend, "matmul"):
            y, _ = matmul.forward(z, one, activation=activation)
    if activation.startswith("gelu"):
        y, right = y[~np.isneginf(z)], right[~np.isneginf(z)]  # -∞ · 0
    np.testing.assert_allclose(y, right, rtol=1e-6, atol=1e-12)
