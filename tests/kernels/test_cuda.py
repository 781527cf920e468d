"""Every CUDA kernel under the contract of all backends, in the simulator: the forward order and three random ones."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ALL, generators, layouts
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given, settings
from nlp_kernels import dispatch, softmax
from nlp_kernels.common.cuda import Source
from nlp_kernels.errors import BackendError, DtypeError, ShapeError
from nlp_kernels.simulator import ORDERS, RawModule, every_order
from nlp_kernels.softmax import cuda as softmax_cuda
from nlp_kernels.softmax.cuda import SOURCE
from simulated import needs_simulator

pytestmark = needs_simulator()
SERVED = [path for path in ALL if "cuda" in dispatch.backends(path.name)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
@settings(max_examples=12)
@given(data=st.data(), rng=generators())
def test_no_worse_than_the_problem_itself(path, dtype, order, data, rng):
    case = data.draw(path.cases(dtype))
    cotangents = tuple(data.draw(layouts(c)) for c in draw_cotangents(path, case, rng))
    before = [x.copy() for x in (*case.inputs, *cotangents) if x is not None]
    with dispatch.use_backend("cuda", path.name, simulate=order):
        ours = evaluate(path.package, path, case, cotangents)
    given = [x for x in (*case.inputs, *cotangents) if x is not None]
    assert all(np.array_equal(x, b) for x, b in zip(given, before, strict=True)), "an input was changed"
    assert all(a.dtype == dtype for a in ours.values() if a.dtype.kind == "f"), "a dtype was not kept"
    assert_no_worse_than_the_problem(ours, path, case, cotangents)


# (rows, columns): every kernel of the launcher, at both widths
SHAPES = [
    (5, 8),
    (3, 255),
    (2, 300),
    (2, 512),
    (3, 515),
    (2, 1028),
    (2, 2050),
    (2, 4096),
    (1, 4097),
    (1, 8196),
    (1, 16385),
]
SHAPES += [(1, 16388), (1, 32772), (1, 65537), (1, 65540), (1, 131080)]


@pytest.mark.parametrize("log", [False, True], ids=["p", "log"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_of_rows_of_any_length(shape, log):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, *shape)).astype(np.float32)
    keep = rng.random((1, shape[1])) < 0.8

    def run(order):
        with dispatch.use_backend("cuda", "softmax", simulate=order):
            y, saved = softmax.forward(x, keep, temperature=0.7, log=log)
            return y, softmax.backward(dy, x, keep, saved, temperature=0.7, log=log)[0]

    wide = x.astype(np.longdouble)
    y, _ = softmax.reference.forward(wide, keep, temperature=0.7, log=log)
    (dx,) = softmax.reference.backward(dy, wide, keep, y, temperature=0.7, log=log)
    for order in ("forward", "random:1"):
        ours, dours = run(order)
        np.testing.assert_allclose(ours, y, rtol=3e-5, atol=1e-7)
        np.testing.assert_allclose(dours, dx, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("wide", [1, 8])
def test_rows_of_bfloat16_are_computed_in_float32(wide):
    N, C, name = 3, 200, f"softmax_forward<__nv_bfloat16, 32, 8, {wide}>"
    kernel = RawModule(code=SOURCE.code, options=SOURCE.options("bfloat16"), name_expressions=(name,)).get_function(
        name
    )
    x = np.random.default_rng(0).normal(size=(N, C)).astype(np.float32).view(np.uint32) >> 16  # the upper half
    y, x = np.zeros((N, C), np.uint16), x.astype(np.uint16)
    kernel((1,), (128,), (y, x, None, *np.zeros(2, np.int32), np.int64(N), np.int32(C), np.float32(1), np.bool_(False)))
    x, y = ((bits.astype(np.uint32) << 16).view(np.float32) for bits in (x, y))
    np.testing.assert_allclose(y, softmax.reference.forward(x.astype(np.float64))[0], rtol=2**-8)  # one rounding


def test_the_order_of_the_threads_changes_no_bit():
    x = np.random.default_rng(0).normal(size=(9, 300)).astype(np.float32)
    assert every_order(lambda: dispatch.import_module("nlp_kernels.softmax.cuda").forward(x)[0]).shape == (9, 300)


def test_numpy_arrays_need_the_opt_in():
    x = np.zeros((2, 3), np.float32)
    with (
        dispatch.use_backend("cuda", "softmax"),
        pytest.raises(BackendError, match='"cuda", simulate=True'),
    ):
        softmax.forward(x)
    with pytest.raises(BackendError, match="simulate=True is for CUDA kernels"):
        dispatch.use_backend("cpu", simulate=True)
    assert dispatch.select("softmax", x).__name__ != "nlp_kernels.softmax.cuda"
    with dispatch.use_backend("cuda", simulate=True), pytest.raises(BackendError, match="does not support"):
        softmax.forward(x.astype(np.float16))


def test_a_launcher_names_what_it_cannot_take():
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(ShapeError, match=r"softmax.backward: saved, of shape \(2, 4\), is not C-contiguous"):
        softmax_cuda.backward(x, x, None, np.asfortranarray(x))
    with pytest.raises(DtypeError, match=r"softmax.backward: dy is float64 but x is float32"):
        softmax_cuda.backward(x.astype(float), x, None, x)


def test_a_changed_header_is_a_changed_source(tmp_path):
    """CuPy's cache knows a kernel by its text and options alone."""
    (tmp_path / "kernel.cu").write_text('#include "header.cuh"\n')
    header = tmp_path / "header.cuh"
    header.write_text("struct Problem { int rows; };\n")
    source = Source(str(tmp_path / "kernel.py"), "kernel<T>")
    before = source.code
    header.write_text("struct Problem { long long rows; };\n")
    assert source.code != before
    header.write_text("struct Problem { int rows; };\n")
    assert source.code == before
