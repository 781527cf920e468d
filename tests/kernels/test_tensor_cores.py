"""Matmul on tensor cores, in the simulator: the contract, every tile and transpose, bfloat16, what a split keeps."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators, layouts
from cases.matmul import HOT_PATH, cases
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given, settings
from nlp_kernels import dispatch, matmul
from nlp_kernels.errors import BackendError, DtypeError
from nlp_kernels.matmul import cuda, reference, tensor_cores
from nlp_kernels.simulator import ORDERS, RawModule, every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
BOTH = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
# M, K, N; the last one's K is shared by blocks
SHAPES = [(1, 1, 1), (1, 70, 5), (5, 33, 1), (70, 0, 3), (33, 40, 66), (64, 32, 64), (20, 300, 12)]
LARGE = (250, 40, 253)  # tiles of 128
TRANSPOSES = [(False, False), (False, True), (True, False), (True, True)]


def type_of(dtype):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)


def assert_near(y, right, terms, dtype):
    """`terms`: the sum of the magnitudes of what is added up."""
    eps = 2.0**-8 if dtype == "bfloat16" else 0
    assert str(y.dtype) == dtype
    difference = np.abs(y.astype(np.float64) - right)
    assert (difference <= eps * np.abs(right) + 4 * 2.0**-24 * terms).all()


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=8)
@given(data=st.data(), rng=generators())
def test_no_worse_than_the_problem_itself(order, data, rng):
    case = data.draw(cases(np.float32))
    cotangents = tuple(data.draw(layouts(c)) for c in draw_cotangents(HOT_PATH, case, rng))
    before = [x.copy() for x in (*case.inputs, *cotangents) if x is not None]
    with dispatch.use_backend("tensor_cores", "matmul", simulate=order):
        ours = evaluate(matmul, HOT_PATH, case, cotangents)
    given = [x for x in (*case.inputs, *cotangents) if x is not None]
    assert all(np.array_equal(x, b) for x, b in zip(given, before, strict=True)), "an input was changed"
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


def assert_product(dtype, shape, transposed, order="forward"):
    """In both operands' orders; slices of larger arrays, which cannot be read 16 bytes at a time, too."""
    (M, K, N), rng = shape, np.random.default_rng(sum(shape))
    a, b = (rng.normal(size=size).astype(type_of(dtype)) for size in ((M, K), (K, N)))
    a, b = (np.asfortranarray(x) if t else x for x, t in zip((a, b), transposed, strict=True))
    wide = a.astype(np.float64), b.astype(np.float64)
    with simulate(order):
        y = tensor_cores.product(a, b)
    assert y.shape == (M, N)
    assert_near(y, wide[0] @ wide[1], np.abs(wide[0]) @ np.abs(wide[1]), dtype)


@BOTH
@pytest.mark.parametrize("transposed", TRANSPOSES, ids=["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_edge_and_transpose(dtype, shape, transposed):
    assert_product(dtype, shape, transposed)


@BOTH
@pytest.mark.parametrize("transposed", TRANSPOSES, ids=["NN", "NT", "TN", "TT"])
def test_large_tiles(dtype, transposed):
    assert_product(dtype, LARGE, transposed, order="random:1")


@pytest.mark.parametrize("shape", [(1030, 5, 130), (130, 5, 1030)], ids=str)
def test_more_than_one_band_of_tiles(shape):
    assert_product("bfloat16", shape, (False, False))


@BOTH
def test_views_of_any_strides(dtype):
    rng, kind = np.random.default_rng(0), type_of(dtype)
    whole = rng.normal(size=(40, 48)).astype(kind)
    right = whole.astype(np.float64)
    views = {
        "aligned slice": lambda x: x[3:20, 8:40],
        "odd slice": lambda x: x[3:20, 3:38],
        "every second": lambda x: x[::2, ::2],
        "backwards": lambda x: x[::-1, ::-1],
        "a column": lambda x: x[:, 5:6],
        "the same row": lambda x: np.broadcast_to(x[2], (7, 48)),
    }
    with simulate():
        for view in views.values():
            a, b = view(whole), view(right)
            assert_near(tensor_cores.product(a, a.T), b @ b.T, np.abs(b) @ np.abs(b.T), dtype)
            assert_near(tensor_cores.product(a.T, a), b.T @ b, np.abs(b.T) @ np.abs(b), dtype)


def test_bfloat16_that_is_aligned_is_not_copied():
    x = np.zeros((16, 24), type_of("bfloat16"))
    with simulate():
        assert tensor_cores.operand(x).planes is x
        assert tensor_cores.operand(x.T).planes.base is x
        assert tensor_cores.operand(x[:, :20]).planes.dtype == np.uint16


@BOTH
@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
@pytest.mark.parametrize("K", [40, 300], ids=["one block", "blocks that share K"])
def test_what_comes_after_the_product(dtype, activation, K):
    """Bias, activation, residual; backward with the bias gradient of both operands."""
    rng, M, N = np.random.default_rng(0), 20, 12
    shapes = (M, K), (K, N), (N,), (M, N), (M, N)
    x, w, b, residual, dy = ((rng.normal(size=s) / K**0.25).astype(type_of(dtype)) for s in shapes)
    wide = [a.astype(np.float64) for a in (x, w, b, residual, dy)]
    for transpose_w in (False, True):
        hyper = {"activation": activation, "transpose_w": transpose_w}
        w_, w_wide = (w.T.copy(), wide[1].T) if transpose_w else (w, wide[1])
        with dispatch.use_backend("tensor_cores", "matmul", simulate=True):
            y, z = matmul.forward(x, w_, b, residual, **hyper)
            ours = matmul.backward(dy, x, w_, b, residual, z, **hyper)
        right, _ = reference.forward(wide[0], w_wide, *wide[2:4], **hyper)
        saved = None if z is None else z.astype(np.float64)
        theirs = reference.backward(wide[4], wide[0], w_wide, *wide[2:4], saved, **hyper)
        for mine, his in zip((y, *ours), (right, *theirs), strict=True):
            assert mine.dtype == x.dtype
            scale = np.abs(his).max() * (2.0**-7 if dtype == "bfloat16" else 2.0**-20)
            np.testing.assert_allclose(mine.astype(np.float64), his, rtol=0, atol=scale)


@BOTH
def test_the_order_of_the_threads_changes_no_bit(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=size).astype(type_of(dtype)) for size in ((40, 300), (300, 12)))
    assert every_order(lambda: tensor_cores.product(a, b).astype(np.float32)).shape == (40, 12)


def test_three_parts_are_the_whole_number():
    """To the last bit, from 2^-100 to the largest power of two; the padding is zero."""
    rng = np.random.default_rng(0)
    x = (rng.uniform(1, 2, (37, 11)) * rng.choice([-1, 1], (37, 11))).astype(np.float32)
    x = np.ldexp(x, rng.integers(-100, 127, x.shape)).astype(np.float32)
    with simulate():
        planes = tensor_cores.operand(x).planes
    parts = (planes.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    np.testing.assert_array_equal(parts.sum(axis=0)[:, :11], x.astype(np.float64))
    assert planes.shape == (3, 37, 16)
    assert not planes[..., 11:].any()


def test_a_split_errs_no_more_than_float32_on_cuda_cores():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(32, 500)).astype(np.float32), rng.normal(size=(500, 32)).astype(np.float32)
    right = a.astype(np.float64) @ b.astype(np.float64)
    with simulate():
        cores, split = cuda.product(a, b), tensor_cores.product(a, b)
    assert 0 < np.abs(split - right).max() < np.abs(cores - right).max()


def test_what_is_not_finite_stays_so():
    a = np.ones((5, 40), np.float32)
    a[1, 3], a[2, 39], a[3, 0] = np.nan, np.inf, -np.inf
    with simulate():
        y = tensor_cores.product(a, np.ones((40, 3), np.float32))
    assert not np.isfinite(y[1:4]).any()
    np.testing.assert_array_equal(y[[0, 4]], 40)


def conflicts(by_k, tile, right="", wrong=""):
    """How many loads of eight rows of a piece, and copies by eight neighbours, meet in one of eight columns."""
    text = (tensor_cores.SOURCE.path).read_text()
    assert right in text
    code = (
        f'#line 1 "{tensor_cores.SOURCE.path}"\n'
        + text.replace(right, wrong)
        + f"""
    extern "C" __global__ void places(int* y) {{
      for (int i = threadIdx.x; i < {tile * 32}; i += 32) y[i] = Part<{tile}, {by_k}>::place(i / 32, i % 32);
    }}"""
    )
    y = np.full(tile * 32, -1, np.int32)
    RawModule(code=code, name_expressions=("places",)).get_function("places")((1,), (32,), (y,))
    assert sorted(y) == list(range(tile * 32)), "two numbers in one place"
    at = y.reshape(tile, 32) if by_k == "true" else y.reshape(tile, 32).T  # memory is contiguous along the second axis
    columns = at[:, ::8] // 8 % 8
    loads = columns.reshape(-1, 8, columns.shape[1]).swapaxes(1, 2).reshape(-1, 8)
    return sum(len(set(eight)) < 8 for eight in (*loads, *columns.reshape(-1, 8)))


@pytest.mark.parametrize("tile", [64, 128])
@pytest.mark.parametrize("by_k", ["true", "false"])
def test_eight_lanes_never_meet_in_a_bank(by_k, tile):
    assert conflicts(by_k, tile) == 0


@pytest.mark.parametrize(("by_k", "right"), [("true", " ^ row / 2 % 4"), ("false", " ^ k % 8")])
def test_without_a_swizzle_they_would(by_k, right):
    assert conflicts(by_k, 64, right) == 32  # every load


def test_which_backend_has_which_arrays(monkeypatch):
    x, large = np.zeros((2, 3), np.float32), np.zeros((1024, 1024), np.float32)
    half = np.zeros((2, 3), type_of("bfloat16"))
    with simulate():
        assert dispatch.select("matmul", x, x.T) is cuda
        assert dispatch.select("matmul", large, large) is tensor_cores
        assert dispatch.select("matmul", half, half.T) is tensor_cores
        assert dispatch.select("matmul", x.astype(np.float64), x.T) is cuda
        monkeypatch.setattr(tensor_cores, "capability", lambda x: 89)
        assert dispatch.select("matmul", large, large) is cuda
        assert dispatch.select("matmul", half, half.T) is tensor_cores
        monkeypatch.setattr(tensor_cores, "capability", lambda x: 75)
        assert isinstance(dispatch.select("matmul", half, half.T), dispatch.InFloat32)
    assert dispatch.select("matmul", large, large) not in (cuda, tensor_cores)


def test_refusals():
    x = np.zeros((2, 3), np.float32)
    with dispatch.use_backend("tensor_cores", "matmul", simulate=True), pytest.raises(BackendError, match="float64"):
        matmul.forward(x.astype(np.float64), x.astype(np.float64).T)
    with (
        dispatch.use_backend("tensor_cores", "matmul"),
        pytest.raises(BackendError, match=r'use_backend\("tensor_cores", simulate=True\)'),
    ):
        matmul.forward(x, x.T)
    half = x.astype(type_of("bfloat16"))
    with simulate(), pytest.raises(DtypeError, match="w is float32 but x is bfloat16"):
        matmul.forward(half, x.T)
