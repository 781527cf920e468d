"""Matmul by cuBLAS on CuPy's arrays, of its stand-in or a GPU: the contract, bfloat16, and never unasked."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.matmul import HOT_PATH
from contract import assert_no_worse_than_the_problem, draw_cotangents
from hypothesis import given
from nlp_kernels import dispatch, matmul
from nlp_kernels.errors import BackendError, DtypeError
from nlp_kernels.matmul import cublas, reference
from test_gpu import examples, on_device

import tinygrad_nlp as tn
from tinygrad_nlp.autograd.check import check_grads


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_no_worse_than_the_problem_itself(dtype, any_cupy):
    @examples(any_cupy)
    @given(data=st.data(), rng=generators())
    def check(data, rng):
        case = data.draw(HOT_PATH.cases(dtype))
        cotangents = draw_cotangents(HOT_PATH, case, rng)
        with dispatch.use_backend("cublas", "matmul"):
            ours = on_device(any_cupy, matmul, HOT_PATH, case, cotangents)
        assert all(a.dtype == dtype for a in ours.values()), "a dtype was not kept"
        assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)

    check()


@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
@pytest.mark.parametrize("transpose_w", [False, True])
@pytest.mark.parametrize("keeps", [True, False])
def test_bfloat16(activation, transpose_w, keeps, any_cupy):
    """Rounded once after the product and once at the end; with what was saved, and without."""
    rng, half = np.random.default_rng(0), pytest.importorskip("ml_dtypes").bfloat16
    shapes = (7, 40), (5, 40) if transpose_w else (40, 5), (5,), (7, 5), (7, 5)
    given = [(rng.normal(size=s) / 2).astype(half) for s in shapes]
    hyper = {"activation": activation, "transpose_w": transpose_w}
    *inputs, dy = (any_cupy.asarray(x) for x in given)
    with dispatch.use_backend("cublas", "matmul"):
        y, saved = matmul.forward(*inputs, **hyper)
        ours = y, *matmul.backward(dy, *inputs, saved if keeps else None, **hyper)
    *wide, wide_dy = (x.astype(np.float64) for x in given)
    right, saved = reference.forward(*wide, **hyper)
    for mine, exact in zip(ours, (right, *reference.backward(wide_dy, *wide, saved, **hyper)), strict=True):
        assert mine.dtype == half
        np.testing.assert_allclose(mine.get().astype(float), exact, rtol=0, atol=2.0**-6 * np.abs(exact).max())


def test_stacks_and_gradients_to_order_two(any_cupy):
    rng = np.random.default_rng(0)

    def through(a, b):
        return tn.matmul(a.to("cuda"), b.to("cuda")).to("cpu")

    with dispatch.use_backend("cublas", "matmul"):
        check_grads(through, [rng.normal(size=(2, 1, 3, 4)), rng.normal(size=(3, 4, 2))], order=2)
        check_grads(through, [rng.normal(size=4), rng.normal(size=(2, 4, 3))], order=2)


def test_stacks_of_bfloat16_are_multiplied_in_float32(standin_cupy):
    """CuPy 14 cannot multiply them as they are."""
    import ml_dtypes

    a, b = (standin_cupy.asarray(np.arange(18).reshape(2, 3, 3).astype(ml_dtypes.bfloat16)) for _ in "ab")
    with dispatch.use_backend("cublas", "matmul"):
        y = matmul.product(a, b)
    assert y.dtype == ml_dtypes.bfloat16
    exact = a.get().astype(np.float32) @ b.get().astype(np.float32)
    assert (y.get() == exact.astype(ml_dtypes.bfloat16)).all()


def test_it_is_never_chosen_unasked(standin_cupy):
    for x in (standin_cupy.zeros((2, 2), dtype) for dtype in ("float16", "float32", "float64")):
        assert dispatch.select("matmul", x, x) is not cublas
    with dispatch.use_backend("cublas", "matmul"):
        assert dispatch.select("matmul", x, x) is cublas


def test_refusals():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(BackendError, match=r"simulate=True is for CUDA kernels: .*, not 'cublas'"):
        dispatch.use_backend("cublas", simulate=True)
    with dispatch.use_backend("cublas", "matmul"):
        refused = (
            r"^matmul\(numpy.ndarray\[float32\]\): backend 'cublas' is forced, which does not support this array; its"
        )
        with pytest.raises(BackendError, match=refused + " backends: .*reference$"):
            matmul.forward(x, x.T)
        with pytest.raises(DtypeError, match="w is float64 but x is float32"):
            matmul.forward(x, x.T.astype(np.float64))
