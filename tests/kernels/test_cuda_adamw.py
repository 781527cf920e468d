"""The AdamW step's CUDA kernels beyond the contract: lists of parameters, alignment, clipping, what is sent when."""

import numpy as np
import pytest
from nlp_kernels import adamw, dispatch
from nlp_kernels.adamw import cuda
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError
from nlp_kernels.simulator import every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
HYPER = {"t": 3, "lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
SIZES = [(3,), (), (0, 4), (50, 11), (1,), (64,), (8, 16)]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(cuda, "LENGTH", 64)


def parameters(dtype, shapes=SIZES, offsets=(0, 0, 0, 0), seed=0):
    """Rows of (theta, g, m, v), each array `offset` numbers behind a multiple of 64 bytes."""
    rng = np.random.default_rng(seed)

    def placed(shape, offset):
        n = int(np.prod(shape))
        memory = np.zeros(n + 32, dtype)
        start = -memory.ctypes.data // memory.itemsize % (64 // memory.itemsize) + offset
        memory[start : start + n] = np.abs(rng.normal(size=n))
        return memory[start : start + n].reshape(shape)

    return [tuple(placed(shape, offset) for offset in offsets) for shape in shapes]


def stepped(rows, scale=None, **hyper):
    """The new (theta, m, v) of each row, by the reference in extended precision."""
    wide = [[np.asarray(x, np.longdouble) for x in row] for row in rows]
    return [adamw.reference.step(*row, scale, **HYPER | hyper) for row in wide]


def assert_stepped(rows, expected):
    for (theta, _, m, v), right in zip(rows, expected, strict=True):
        for ours, x in zip((theta, m, v), right, strict=True):
            np.testing.assert_allclose(ours, x, rtol=8 * np.finfo(ours.dtype).eps, atol=np.finfo(ours.dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "offsets", [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
)
def test_a_list_of_parameters_of_any_size_and_alignment(dtype, offsets):
    """One launch for all; what is not a multiple of 16 bytes goes one number at a time, beside what is."""
    for decoupled, scale in ((True, None), (False, 0.25)):
        rows = parameters(dtype, offsets=offsets) + parameters(dtype, [(64,), (131,)])
        expected = stepped(rows, scale, decoupled=decoupled)
        with dispatch.use_backend("cuda", "adamw", simulate="random:1"):
            adamw.step_all(rows, scale if scale is None else np.asarray(scale, dtype), **HYPER, decoupled=decoupled)
        assert_stepped(rows, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_the_threads_changes_no_bit(dtype):
    def run():
        rows = parameters(dtype)
        norm, scale = cuda.clip_scale([g for _, g, _, _ in rows], 3.0)
        cuda.step_all(rows, scale, **HYPER)
        return norm, scale, *(x for row in rows for x in row)

    every_order(run)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e25])
def test_the_norm_and_its_factor(dtype, size, offset):
    """By partial sums of the chunks; squares of a float neither overflow nor vanish."""
    gradients = [g for _, g, _, _ in parameters(dtype, offsets=(0, offset, 0, 0))]
    for g in gradients:
        g *= size
    right = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.longdouble))
    with dispatch.use_backend("cuda", "adamw", simulate=True):
        for bound in (0.5 * float(right), 2 * float(right), 0.0, np.inf):
            norm, scale = adamw.clip_scale(gradients, bound)
            assert (norm.shape, scale.shape, scale.dtype) == ((), (), dtype)
            np.testing.assert_allclose(norm, right, rtol=1e-14)
            np.testing.assert_allclose(scale, min(1, bound / right), rtol=2 * np.finfo(dtype).eps)
        for bad in (np.nan, np.inf):
            gradients[3][7, 3] = bad
            norm, scale = adamw.clip_scale(gradients, 0.5)
            assert not np.isfinite(norm)
            assert scale == 1
        norm, scale = adamw.clip_scale([np.zeros((0, 3), dtype)], 0.5)
        assert (norm, scale) == (0, 1)


def test_a_captured_launch_reads_what_was_sent_last():
    """`launch` alone, over and over, as a graph replays it; `prepare` between two replays."""
    rows = parameters(np.float32)
    with simulate():
        plan = cuda.plan_of(rows)
        gradients = [g for _, g, _, _ in rows]
        for t, lr in ((1, 0.1), (2, 0.05), (2, 0.05), (7, 0.02)):
            expected = stepped(rows, t=t, lr=lr)
            plan.prepare(**HYPER | {"t": t, "lr": lr})
            plan.launch(gradients)
            assert_stepped(rows, expected)


def test_the_same_numbers_are_sent_once(monkeypatch):
    launched = []
    kernel = cuda.SOURCE.kernel
    monkeypatch.setattr(cuda.SOURCE, "kernel", lambda name, x: launched.append(name) or kernel(name, x))
    with simulate():
        plan = cuda.plan_of(parameters(np.float32, [(3,)]))
        for t in (1, 1, 2):
            plan.prepare(**HYPER | {"t": t})
    assert launched == [cuda.SENDING] * 2


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            lambda x: x.astype(np.float64),
            DtypeError,
            r"m\[1\] is float64 but theta\[0\] is float32; kernels do not mix",
        ),
        (lambda x: np.repeat(x, 2)[::2], ShapeError, r"m\[1\], of shape \(3,\), is not C-contiguous; copy it first"),
        (memoryview, DeviceError, r"m\[1\] is a builtins memoryview, theta\[0\] is a numpy ndarray; move it there"),
    ],
)
def test_what_a_launch_refuses(wrong, error, message):
    rows = parameters(np.float32, [(3,), (3,)])
    theta, g, m, v = rows[1]
    with simulate(), pytest.raises(error, match=rf"adamw.step: {message}"):
        cuda.step_all([rows[0], (theta, g, wrong(m), v)], **HYPER)


def there(cupy, rows):
    return [tuple(map(cupy.asarray, row)) for row in rows]


def here(rows):
    return [tuple(x.get() for x in row) for row in rows]


def test_tables_are_sent_once_for_parameters_that_stay(standin_cupy, monkeypatch):
    """The first step sends them, the next none; gradients that lie elsewhere send their own table alone."""
    rows, scale, sent = there(standin_cupy, parameters(np.float32)), standin_cupy.asarray(np.float32(0.5)), []
    asarray = standin_cupy.asarray
    monkeypatch.setattr(standin_cupy, "asarray", lambda values: sent.append(values.size) or asarray(values))
    for t in (1, 2, 3):
        expected = stepped(here(rows), 0.5, t=t)
        cuda.step_all(rows, scale, **HYPER | {"t": t})
        assert_stepped(here(rows), expected)
        assert len(sent) == 6, "four tables of addresses, sizes, chunks"
    assert cuda.plan_of(rows) is cuda.plan_of([(theta, None, m, v) for theta, _, m, v in rows])
    elsewhere = [(theta, g.copy(), m, v) for theta, g, m, v in rows]
    cuda.step_all(elsewhere, scale, **HYPER | {"t": 4})
    cuda.step_all(rows, scale, **HYPER | {"t": 5})  # both tables are kept
    assert len(sent) == 7
    norm, scale = cuda.clip_scale([g for _, g, _, _ in rows], 1.0)
    assert len(sent) == 7
    gradients = np.concatenate([g.ravel() for _, g, _, _ in here(rows)])
    np.testing.assert_allclose(norm.get(), np.linalg.norm(gradients), rtol=1e-6)
    cuda.step_all(rows[1:], scale, **HYPER)  # another list
    assert len(sent) == 13


def test_which_arrays_of_a_gpu_are_stepped_together_and_written_in_place(standin_cupy):
    """As NumPy's: of one shape, dtype and library, in C order; targets that are their own input or apart from all."""
    zeros, host = standin_cupy.zeros, np.zeros((3, 4), np.float32)
    theta, g, m, v, other = (zeros((3, 4), np.float32) for _ in range(5))
    assert adamw._alike((theta, g, m, v), theta)
    for wrong in (
        zeros((3, 4)), zeros((3, 3), np.float32), zeros((4, 3), np.float32).T, host,
    ):  # fmt: skip
        assert not adamw._alike((theta, wrong, m, v), theta)
    for out, may in (
        ((theta, m, v), True), ((other, m, v), True), ((m, other, v), False), ((g, m, v), False),
        ((host, m, v), False), ((other.T, m, v), False), ((theta, theta, v), False),
    ):  # fmt: skip
        assert adamw._may_be_written(out, theta, g, m, v) == may


def test_no_more_tables_are_kept_than_a_few(standin_cupy, monkeypatch):
    monkeypatch.setattr(cuda, "PLANS", 3)
    rows = there(standin_cupy, parameters(np.float32, [(3,)] * 5))
    for row in (*rows, rows[4], rows[2]):
        cuda.step_all([row], **HYPER)
    assert [key[1][3] for key in cuda._plans] == [3] * 3
    assert [key[1][0] for key in cuda._plans] == [rows[i][0].data.ptr for i in (3, 4, 2)]


def test_a_step_by_itself_on_a_gpu(standin_cupy):
    """Functional without `out`; and arrays on two devices, or on one that is not the current, are refused."""
    ((*hosts,),) = parameters(np.float32, [(70,)])
    (expected,) = stepped([hosts])
    theta, g, m, v = map(standin_cupy.asarray, hosts)
    with standin_cupy.cuda.Device(1):
        elsewhere = standin_cupy.asarray(hosts[1])
    ours = cuda.step(theta, g, m, v, **HYPER)
    for a, b in zip((theta, g, m, v), hosts, strict=True):
        np.testing.assert_array_equal(a.get(), b)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-6)
    with pytest.raises(DeviceError, match=r"g\[0\] is on cuda:1, theta is on cuda:0; move it there"):
        cuda.step(theta, elsewhere, m, v, **HYPER)
    with pytest.raises(DeviceError, match=r"g\[0\] is a numpy ndarray, theta is on cuda:0; move it there"):
        cuda.step(theta, hosts[1], m, v, **HYPER)
    with pytest.raises(DeviceError, match=r"gradients\[0\] is on cuda:1, but cuda:0 is the current device"):
        cuda.clip_scale([elsewhere], 1.0)
