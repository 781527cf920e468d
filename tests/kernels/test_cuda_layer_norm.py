"""Layer norm's CUDA kernels beyond the contract: every instance, alignment, thread orders, what a launch refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
from cases import Case
from cases.layer_norm import HOT_PATH
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from nlp_kernels import layer_norm
from nlp_kernels.common.cuda import _named
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError
from nlp_kernels.layer_norm import cuda, reference
from nlp_kernels.simulator import RawModule, every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
PLANS = [(table, plan) for table in ("FORWARD", "BACKWARD") for plan in getattr(cuda, table)]


def draw(N, C, dtype=np.float32, *, residual=True, offset=0.0):
    """A case and its cotangents."""
    rng = np.random.default_rng(0)
    x, r = (rng.normal(size=(N, C)) + offset).astype(dtype), rng.normal(size=(N, C)).astype(dtype)
    gamma, beta = rng.normal(size=(2, C)).astype(dtype)
    case = Case((x, gamma, beta, r if residual else None), {"eps": 1e-5})
    return case, draw_cotangents(HOT_PATH, case, rng)


def results(case, cotangents, orders=("forward", "random:1")):
    """Every output, statistic and gradient by name: not a bit of them may depend on the order of the threads."""
    names = []

    def run():
        ours = evaluate(cuda, HOT_PATH, case, cotangents)
        names[:] = ours
        return tuple(ours.values())

    return dict(zip(names, every_order(run, orders), strict=True))


def some_rows(plan, dtype):
    """More rows than groups in a grid of the simulator; columns for every thread, and for the first of them twice."""
    wide = 16 // np.dtype(dtype).itemsize
    rows = 14 if plan.group == 32 else 4 if plan.cluster <= 2 else 1
    return rows, plan.group * wide + wide if plan.wide else plan.group + 7


def title(value):
    return f"{value.group}x{value.held}{'-wide' if value.wide else ''}" if isinstance(value, cuda.Rows) else str(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("table", "plan"), PLANS, ids=title)
def test_every_kernel(table, plan, dtype, monkeypatch):
    monkeypatch.setattr(cuda, table, (plan,))
    case, cotangents = draw(*some_rows(plan, dtype), dtype, residual=dtype is np.float32)
    orders = ("forward", "random:1") if plan.cluster <= 2 and dtype is np.float32 else ("random:2",)
    assert_no_worse_than_the_problem(results(case, cotangents, orders), HOT_PATH, case, cotangents)


@pytest.mark.parametrize("C", [3, 519, 2052])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_rows_that_no_group_holds(C, dtype, monkeypatch):
    monkeypatch.setattr(cuda, "FORWARD", ())
    monkeypatch.setattr(cuda, "BACKWARD", ())
    monkeypatch.setattr(cuda, "blocks", lambda x, needed, per_processor: min(needed, 7))  # for two or more to a column
    case, cotangents = draw(5, C, dtype, residual=C != 2052)
    assert_no_worse_than_the_problem(results(case, cotangents), HOT_PATH, case, cotangents)


def test_each_row_has_the_fewest_threads_that_hold_it():
    """Before sm_90 blocks cannot share a row; rows that are no multiple of 16 bytes have kernels of their own."""

    def chosen(table, C, dtype=np.float32):
        x = np.empty((1, C), dtype)
        return cuda._plan(table, x)[1]

    for table in (cuda.FORWARD, cuda.BACKWARD):
        plans = {p.wide: [q for q in table if q.wide == p.wide] for p in table}
        for wide, of_width in plans.items():
            most = 0
            for plan in of_width:
                assert plan.group * plan.held > most, "the shortest rows first"
                assert chosen(table, most // 4 + (4 if wide else 1)) == plan
                most = plan.group * plan.held
                assert chosen(table, most // 4 - (0 if wide else 1)) == plan
                assert chosen(table, most // 8 - (0 if wide else 1), np.float64) == plan
            assert chosen(table, most // 4 + (4 if wide else 1)) is None


def test_arrays_that_are_not_aligned():
    """One array that does not begin at a multiple of 16 bytes is enough for accesses of one number."""
    case, cotangents = draw(6, 132)
    aligned = results(case, cotangents, ("forward",))
    for k in range(6):
        arrays = [np.concatenate([a.ravel()[:1], a.ravel()])[1:].reshape(a.shape) if i == k else a
                  for i, a in enumerate((*case.inputs, *cotangents))]  # fmt: skip
        moved = results(Case(tuple(arrays[:4]), case.hyper), tuple(arrays[4:]), ("forward",))
        for name, x in moved.items():
            np.testing.assert_allclose(x, aligned[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("C", [64, 1000, 2048, 8192])
def test_rows_far_from_0(C):
    """Mean 1e4, standard deviation 1, in float32: as good as the reference, which has the mean to half an ulp."""
    case, cotangents = draw(4, C, offset=1e4, residual=False)
    assert_no_worse_than_the_problem(results(case, cotangents, ("forward",)), HOT_PATH, case, cotangents)


def test_rows_with_nan_and_infinity():
    """They spoil what they spoil in the reference: their own row, the sums over rows, and nothing else."""
    case, cotangents = draw(6, 300, residual=False)
    x = case.inputs[0]
    x[1, 5], x[2, 7], x[4, 3], x[4, 8], x[5] = np.nan, np.inf, -np.inf, np.inf, 0
    for eps in (1e-5, 0.0):
        case = Case(case.inputs, {"eps": eps})
        with np.errstate(all="ignore"):
            right = evaluate(reference, HOT_PATH, case, cotangents)
        ours = results(case, cotangents, ("forward",))
        for name, x in ours.items():
            np.testing.assert_allclose(x, right[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("residual", [False, True], ids=["x", "h"])
def test_no_rows_or_no_columns(shape, residual):
    case, cotangents = draw(*shape, residual=residual)
    right = evaluate(reference, HOT_PATH, case, cotangents)
    for name, x in results(case, cotangents, ("forward",)).items():
        np.testing.assert_allclose(x, right[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("plans", [cuda.BACKWARD, ()], ids=["held", "long"])
@pytest.mark.parametrize("residual", [False, True], ids=["x", "h"])
def test_statistics_are_computed_again_or_come_from_elsewhere(plans, residual, monkeypatch):
    monkeypatch.setattr(cuda, "BACKWARD", plans)
    case, cotangents = draw(3, 20, residual=residual)
    dy = cotangents if residual else cotangents[0]
    with simulate():
        _, saved = cuda.forward(*case.inputs)
        first = cuda.backward(dy, *case.inputs, saved)
        again = cuda.backward(dy, *case.inputs, None)
        other = cuda.backward(dy, *case.inputs, reference.forward(*case.inputs)[1])
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        if a is not None:
            np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-5)


def narrow(x):
    """Float32 cut to bfloat16, as the bits of those."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("C", [200, 203], ids=["wide", "one by one"])
def test_rows_of_bfloat16_are_computed_in_float32(C):
    """The kernels of CuPy's arrays of bfloat16: results are off by their own rounding, statistics by float32's."""
    N, wide = 5, C % 8 == 0
    forward, backward = (next(p for p in plans if p.wide == wide) for plans in (cuda.FORWARD, cuda.BACKWARD))
    names = forward.name("layer_norm_forward", "true"), backward.name("layer_norm_backward"), cuda._column_sums()
    names = [_named(name, "bfloat16") for name in names]
    module = RawModule(code=cuda.SOURCE.code, options=cuda.SOURCE.options("bfloat16"), name_expressions=names)
    run = [module.get_function(name) for name in names]
    rng = np.random.default_rng(0)
    (x, r, dy, dh), (gamma, beta) = narrow(rng.normal(size=(4, N, C))), narrow(rng.normal(size=(2, C)))
    y, h, dx, (dgamma, dbeta) = (np.zeros(shape, np.uint16) for shape in ((N, C), (N, C), (N, C), (2, C)))
    (mean, rstd), sums = np.zeros((2, N, 1), np.float32), np.zeros((2, 2, C), np.float32)
    size = np.int64(N), np.int32(C)
    run[0]((2,), (128,), (y, h, mean, rstd, x, gamma, beta, r, *size, np.float32(1e-5)))
    run[1]((2,), (128,), (dx, sums, dy, dh, x, gamma, r, mean, rstd, *size))
    run[2]((-(-2 * C // 32),), (512,), (dgamma, dbeta, sums, np.int32(2), size[1]))
    x, r, dy, dh, gamma, beta = (widened(a).astype(np.float64) for a in (x, r, dy, dh, gamma, beta))
    right, saved = reference.forward(x, gamma, beta, r)
    right += reference.backward((dy, dh), x, gamma, beta, r, saved)[:3]
    for ours, exact in zip(map(widened, (y, h, dx, dgamma, dbeta)), right, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=2**-8, atol=1e-5)
    for ours, exact in zip((mean, rstd), saved, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-7)


def test_sums_over_many_rows_are_as_good_as_the_reference():
    """Four warps of three blocks add up fifty rows each, and their sums are added: fewer roundings than one by one."""
    case, cotangents = draw(600, 8, residual=False)
    assert_no_worse_than_the_problem(results(case, cotangents), HOT_PATH, case, cotangents)


def test_refusals():
    case, (dy, _) = draw(4, 8)
    x, gamma, beta, _ = case.inputs
    with simulate():
        _, (mean, rstd) = cuda.forward(x, gamma, beta)
        with pytest.raises(ShapeError, match=r"layer_norm.forward: x, of shape \(8, 4\), is not C-contiguous; copy it"):
            cuda.forward(x.T, gamma[:4], beta[:4])
        with pytest.raises(DtypeError, match=r"layer_norm.forward: gamma is float64 but x is float32"):
            cuda.forward(x, gamma.astype(np.float64), beta)
        with pytest.raises(DtypeError, match=r"layer_norm.backward: dy is float64 but x is float32"):
            cuda.backward(dy.astype(np.float64), x, gamma, beta, None, (mean, rstd))
        with pytest.raises(ShapeError, match=r"layer_norm.backward: rstd, .* is not C-contiguous"):
            cuda.backward(dy, x, gamma, beta, None, (mean, np.repeat(rstd, 2, axis=0)[::2]))
        with pytest.raises(DtypeError, match=r"layer_norm.backward: mean is float64, expected float32"):
            cuda.backward(dy, x, gamma, beta, None, (mean.astype(np.float64), rstd.astype(np.float64)))
        with pytest.raises(ShapeError, match=r"layer_norm.backward: mean has shape \(4,\), expected \(4, 1\)"):
            cuda.backward(dy, x, gamma, beta, None, (mean[:, 0], rstd[:, 0]))
        with pytest.raises(DeviceError, match=r"layer_norm.forward: beta is a types SimpleNamespace, x is a numpy"):
            cuda.forward(x, gamma, SimpleNamespace(dtype=beta.dtype))
    with simulate(), pytest.raises(ShapeError, match=r"layer_norm.backward: dh has shape"):
        layer_norm.backward((dy, dy[:1]), x, gamma, beta, x, None)
