"""The CUDA kernels of cross-entropy beyond the contract: each instance, any alignment, in place, wrong targets."""

from types import SimpleNamespace

import numpy as np
import pytest
from cases import Case
from cases.cross_entropy import HOT_PATH
from contract import assert_no_worse_than_the_problem, evaluate
from nlp_kernels import cross_entropy, dispatch
from nlp_kernels.cross_entropy import cuda
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError
from nlp_kernels.simulator import RawModule, every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
ORDER = "random:1"


def draw(N, C, dtype=np.float32, *, index=np.int64, seed=0, at=0):
    """x (N, C), `at` numbers after a multiple of 64 bytes; targets, every third of which is ignored; dloss."""
    rng = np.random.default_rng(seed)
    memory = np.empty(N * C + 32, dtype)
    start = -memory.ctypes.data % 64 // memory.itemsize + at
    x = memory[start : start + N * C].reshape(N, C)
    x[...] = 3 * rng.normal(size=(N, C))
    target = rng.integers(0, C, N).astype(index)
    target[2::3] = -100
    return x, target, rng.normal(size=N).astype(dtype)


def at_once(x, target, dloss, **hyper):
    """`forward_backward` as two functions, so that the contract can be asked of it."""
    loss, dx = cuda.forward_backward(x, target, dloss, **hyper)
    return SimpleNamespace(
        forward=lambda *_, **hyper: (loss, cuda.forward(x, target, **hyper)[1]),
        backward=lambda *_, **hyper: (dx,),
    )


def check(x, target, dloss, *, together, order=ORDER, **hyper):
    case = Case((x, target), {"ignore_index": -100, **hyper})
    with simulate(order):
        kernel = at_once(x, target, dloss, **case.hyper) if together else cuda
        ours = evaluate(kernel, HOT_PATH, case, (dloss,))
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, (dloss,))


@pytest.fixture
def only(monkeypatch):
    """Sends every row to one kernel of the launcher."""

    def choose(kernel, group):
        if "_long" in kernel:
            monkeypatch.setattr(cuda, "KEPT", ())
            monkeypatch.setattr(cuda, "LONG", (group, group))
        elif "forward_backward" in kernel:
            monkeypatch.setattr(cuda, "KEPT", [plan for plan in cuda.KEPT if f"<T, {plan[0]}, {plan[1]} " in kernel])
        elif "forward" in kernel:
            monkeypatch.setattr(cuda, "ROUND", ((group, np.inf),))
        launched = []
        launch = cuda.SOURCE.kernel
        monkeypatch.setattr(cuda.SOURCE, "kernel", lambda name, x: launched.append(name) or launch(name, x))
        return launched

    return choose


@DTYPES
@pytest.mark.parametrize(("kernel", "group"), [*cuda.KERNELS.items()], ids=lambda v: str(v).replace(" ", ""))
def test_every_kernel(only, kernel, group, dtype):
    """Rows of some vectors a thread and of edges, at both widths of `backward`."""
    launched = only(kernel, group)
    held = int(kernel.split(",")[2].split("/")[0]) if kernel.count(",") == 2 else 64
    C = group * held // np.dtype(dtype).itemsize - 5 if group <= 512 else 2 * group + 3
    x, target, dloss = draw(3 if group <= 512 else 2, C, dtype, index=np.int32)
    if kernel.startswith("cross_entropy_backward<T, 1>"):
        with simulate(ORDER):
            _, saved = cuda.forward(x, target)
            out = draw(3, C, dtype, at=1)[0]
            assert cuda.backward(dloss, x, target, saved, out=out)[0] is out
        (dx,) = cross_entropy.reference.backward(dloss, x, target, saved)
        np.testing.assert_allclose(out, dx, rtol=1e-5, atol=10 * np.finfo(dtype).eps)
    else:
        check(x, target, dloss, together="forward_backward" in kernel, label_smoothing=0.1)
    assert kernel in launched


# (rows, columns, the kernel that must have them): what the launcher makes of float32
TAKEN = {
    "forward": [(2, 1024, "32"), (2, 1025, "128"), (2, 4097, "512"), (1, 32769, "4096")],
    "forward_backward": [
        *((2, 256, "32, 32 /"), (2, 257, "32, 64 /"), (2, 513, "128, 64 /"), (2, 2049, "512, 64 /")),
        *((1, 8193, "1024, 64 /"), (1, 16385, "4096, 64 /"), (1, 65537, "4096, 128 /"), (1, 131073, "_long<T, 4096>")),
    ],
}


@pytest.mark.parametrize(
    ("function", "N", "C", "kernel"), [(function, *row) for function, rows in TAKEN.items() for row in rows]
)
def test_rows_of_any_length(only, function, N, C, kernel):
    launched = only("", 0)
    x, target, dloss = draw(N, C)
    check(x, target, dloss, together=function == "forward_backward")
    assert any(name.startswith(f"cross_entropy_{function}") and kernel in name for name in launched), launched


def test_without_clusters(monkeypatch, only):
    """Before sm_90: a block goes round a long row, and round it again for both passes at once."""
    launched = only("", 0)
    monkeypatch.setattr(cuda, "clusters", lambda x: False)
    x, target, dloss = draw(1, 33000)
    check(x, target, dloss, together=True, label_smoothing=0.1)
    assert launched == ["cross_entropy_forward_backward_long<T, 512>", "cross_entropy_forward<T, 512>"]


@DTYPES
@pytest.mark.parametrize("C", [1, 2, 3, 5, 65, 514])
def test_rows_at_any_address(C, dtype):
    """The start of x and the length of its rows put them anywhere; dx as far from 16 bytes as x, or not."""
    for at, elsewhere in [(0, 0), (1, 1), (2, 2), (3, 3), (1, 0), (0, 3)]:
        x, target, dloss = draw(3, C, dtype, at=at)
        expected, saved = cross_entropy.reference.forward(x, target)
        (right,) = cross_entropy.reference.backward(dloss, x, target, saved)
        outs = [draw(3, C, dtype, at=elsewhere)[0] for _ in range(2)]
        with simulate(ORDER):
            loss, saved = cuda.forward(x, target)
            assert cuda.backward(dloss, x, target, saved, out=outs[0])[0] is outs[0]
            loss_at_once, dx = cuda.forward_backward(x, target, dloss, out=outs[1])
        assert dx is outs[1]
        for ours in (loss, loss_at_once):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
        for dours in outs:
            np.testing.assert_allclose(dours, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "kept"), [((3, 65), True), ((2, 700), True), ((2, 700), False), ((1, 8200), True)], ids=str
)
def test_in_place(monkeypatch, shape, kept):
    """dx into the memory of x: the same bits, of rows kept by a warp, a block or a cluster, and of rows read twice."""
    if not kept:
        monkeypatch.setattr(cuda, "KEPT", ())
        monkeypatch.setattr(cuda, "LONG", (512, 512))
    x, target, dloss = draw(*shape)
    both, only = x.copy(), x.copy()
    with dispatch.use_backend("cuda", "cross_entropy", simulate=ORDER):
        loss, dx = cross_entropy.forward_backward(x, target, dloss)
        _, saved = cross_entropy.forward(x, target)
        (alone,) = cross_entropy.backward(dloss, x, target, saved)
        loss_in_place, dx_in_place = cross_entropy.forward_backward(both, target, dloss, out=both)
        (alone_in_place,) = cross_entropy.backward(dloss, only, target, saved, out=only)
    assert dx_in_place is both
    assert alone_in_place is only
    np.testing.assert_array_equal(loss_in_place, loss)
    np.testing.assert_array_equal(both, dx)
    np.testing.assert_array_equal(only, alone)


def test_an_output_that_overlaps_what_is_read_is_written_afterwards():
    x, target, dloss = draw(4, 8)
    memory = np.zeros(48, np.float32)
    early, late = memory[:32].reshape(4, 8), memory[1:33].reshape(4, 8)
    early[...] = x
    with dispatch.use_backend("cuda", "cross_entropy", simulate=ORDER):
        _, dx = cross_entropy.forward_backward(x, target, dloss)
        assert cross_entropy.forward_backward(early, target, dloss, out=late)[1] is late
        np.testing.assert_array_equal(late, dx)
        early.reshape(-1)[:4] = dloss
        assert cross_entropy.forward_backward(x, target, early.reshape(-1)[:4], out=early)[1] is early
        np.testing.assert_array_equal(early, dx)
        columns = np.zeros((8, 4), np.float32).T  # not C-contiguous
        assert cross_entropy.forward_backward(x, target, dloss, out=columns)[1] is columns
        np.testing.assert_array_equal(columns, dx)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("C", [9, 700])
def test_a_wrong_target_reads_nothing_and_gives_nan(C, index):
    """On a GPU nobody looks at the targets before; here `cuda` is called without the check that NumPy arrays have."""
    limits = np.iinfo(index)
    x, _, dloss = draw(7, C)
    target = np.array([0, C, -1, -100, limits.max, limits.min, C - 1], index)
    wrong, counts = [1, 2, 4, 5], [0, 6]
    with simulate(ORDER):
        loss, saved = cuda.forward(x, target)
        (dx,) = cuda.backward(dloss, x, target, saved)
        results = [(loss, dx), cuda.forward_backward(x, target, dloss)]
    expected, saved = cross_entropy.reference.forward(x[counts], target[counts])
    (dx,) = cross_entropy.reference.backward(dloss[counts], x[counts], target[counts], saved)
    for ours, dours in results:
        assert np.isnan(ours[wrong]).all()
        assert np.isnan(dours[wrong]).all()
        assert ours[3] == 0
        np.testing.assert_array_equal(dours[3], 0)
        np.testing.assert_allclose(ours[counts], expected, rtol=1e-5)
        np.testing.assert_allclose(dours[counts], dx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("C", [6, 700])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_rows_that_are_not_finite_are_as_the_references(C, label_smoothing):
    x, target, dloss = draw(9, C, seed=1)
    target[...] = 1
    x[0], x[1, 2], x[2, 1], x[3, 0] = -np.inf, -np.inf, -np.inf, np.nan
    x[4, -1], x[5, 1], x[6], x[7, :2] = np.inf, np.inf, np.inf, (np.inf, -np.inf)
    x[8] = np.nan
    hyper = {"label_smoothing": label_smoothing}
    with np.errstate(all="ignore"):
        expected, saved = cross_entropy.reference.forward(x, target, **hyper)
        (dx,) = cross_entropy.reference.backward(dloss, x, target, saved, **hyper)
    with simulate(ORDER):
        loss, saved = cuda.forward(x, target, **hyper)
        results = [(loss, *cuda.backward(dloss, x, target, saved, **hyper))]
        results.append(cuda.forward_backward(x, target, dloss, **hyper))
    for ours, dours in results:
        np.testing.assert_allclose(ours, expected, rtol=1e-5)
        np.testing.assert_allclose(dours, dx, rtol=1e-5, atol=1e-6)


def test_ignored_rows_are_not_read():
    x, _, dloss = draw(5, 700)
    target = np.full(5, -100)
    x[...], dloss[...] = np.nan, np.nan
    with simulate(ORDER):
        loss, saved = cuda.forward(x, target)
        results = [(loss, *cuda.backward(dloss, x, target, saved)), cuda.forward_backward(x, target, dloss)]
    for loss, dx in results:
        np.testing.assert_array_equal(loss, 0)
        np.testing.assert_array_equal(dx, 0)


@DTYPES
@pytest.mark.parametrize("offset", [-10_000, 10_000])
@pytest.mark.parametrize("C", [3, 65, 700, 4100])
def test_logits_far_from_zero_lose_nothing(C, offset, dtype):
    """(x - m) - log z, in this order; the maximum grows from tile to tile of a row."""
    x, target, _ = draw(3, C, dtype)
    x[...] = np.sort(x, axis=1) + dtype(offset)
    ones = np.ones(3, dtype)
    with simulate(ORDER):
        loss, saved = cuda.forward(x, target)
        for dx in (cuda.backward(ones, x, target, saved)[0], cuda.forward_backward(x, target, ones)[1]):
            assert np.abs(dx.sum(axis=1, dtype=np.longdouble)).max() <= 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss, cross_entropy.reference.forward(x.astype(np.longdouble), target)[0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 65), (3, 700), (1, 8200)], ids=["warps", "blocks", "cluster"])
def test_the_order_of_the_threads_changes_no_bit(shape):
    x, target, dloss = draw(*shape)

    def run():
        loss, saved = cuda.forward(x, target, label_smoothing=0.1)
        (dx,) = cuda.backward(dloss, x, target, saved, label_smoothing=0.1)
        return loss, *saved, dx, *cuda.forward_backward(x, target, dloss, label_smoothing=0.1)

    every_order(run)


def test_rows_of_bfloat16_are_computed_in_float32():
    N, C, names = 4, 203, ("cross_entropy_forward_backward<__nv_bfloat16, 32, 8>",)
    module = RawModule(code=cuda.SOURCE.code, options=cuda.SOURCE.options("bfloat16"), name_expressions=names)
    x, target, dloss = draw(N, C)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)  # the upper half
    loss, dx = np.empty(N, np.float32), np.empty_like(bits)
    truth = np.bool_(True), np.int64(-100), np.float32(0.9), np.float32(0.1 / C)
    module.get_function(names[0])((1,), (128,), (loss, dx, bits, target, dloss, np.int64(N), np.int32(C), *truth))
    x, dx = ((b.astype(np.uint32) << 16).view(np.float32) for b in (bits, dx))
    expected, saved = cross_entropy.reference.forward(x.astype(np.float64), target, label_smoothing=0.1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    (right,) = cross_entropy.reference.backward(dloss, x.astype(np.float64), target, saved, label_smoothing=0.1)
    np.testing.assert_allclose(dx, right, rtol=2**-7, atol=1e-7)  # one rounding, where p - q cancels a little more


@pytest.mark.parametrize("backend", [name for name in dispatch.backends("cross_entropy") if name != "cuda"])
def test_another_backend_may_go_forward(backend):
    x, target, dloss = draw(5, 65)
    with dispatch.use_backend(backend, "cross_entropy"):
        _, saved = cross_entropy.forward(x, target)
        (right,) = cross_entropy.backward(dloss, x, target, saved)
    with dispatch.use_backend("cuda", "cross_entropy", simulate=ORDER):
        (dx,) = cross_entropy.backward(dloss, x, target, saved)
    np.testing.assert_allclose(dx, right, rtol=1e-5, atol=1e-6)


def test_empty_batches():
    x, target, dloss = draw(0, 5)
    with simulate():
        loss, (m, log_z) = cuda.forward(x, target)
        assert (loss.shape, m.shape, log_z.shape) == ((0,), (0, 1), (0, 1))
        assert cuda.backward(dloss, x, target)[0].shape == (0, 5)
        assert [a.shape for a in cuda.forward_backward(x, target, dloss)] == [(0,), (0, 5)]


def test_refusals():
    x, target, dloss = draw(2, 3)
    elsewhere = type("ndarray", (), {"__module__": "cupy", "dtype": x.dtype, "device": SimpleNamespace(id=1)})()
    with simulate():
        _, saved = cuda.forward(x, target)
        with pytest.raises(DtypeError, match=r"cross_entropy.backward: dloss is float64 but x is float32"):
            cuda.backward(dloss.astype(float), x, target, saved)
        with pytest.raises(ShapeError, match=r"cross_entropy.backward: m has shape \(3, 1\), expected \(2, 1\)"):
            cuda.backward(dloss, x, target, (np.zeros((3, 1), np.float32), saved[1]))
        with pytest.raises(ShapeError, match=r"cross_entropy.forward: x, of shape \(2, 3\), is not C-contiguous"):
            cuda.forward(np.asfortranarray(x), target)
        with pytest.raises(DtypeError, match=r"cross_entropy.forward: target is uint8, expected int32 or int64"):
            cuda.forward(x, target.astype(np.uint8))
        with pytest.raises(DeviceError, match=r"target is on cuda:1, x is a numpy ndarray; move it there"):
            cuda.forward(x, elsewhere)
