"""Matmul on Hopper, in the simulator: the contract, every tile and transpose, edges, gradients, PyTorch's errors."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import Case, generators, layouts
from cases.matmul import HOT_PATH, cases
from contract import draw_cotangents, evaluate
from hypothesis import given, settings
from nlp_kernels import dispatch, matmul
from nlp_kernels.errors import BackendError, ShapeError
from nlp_kernels.matmul import cuda, hopper, reference, tensor_cores
from nlp_kernels.simulator import ORDERS, every_order, simulate
from simulated import needs_simulator
from test_tensor_cores import TRANSPOSES, assert_near, type_of

pytestmark = needs_simulator()
NAMES = ["NN", "NT", "TN", "TT"]
# M, K, N: one number, one row, one column, K of one, nothing to multiply, K that clusters share
TINY = 2.0**-126  # what is smaller may come to 0
SHAPES = [(1, 1, 1), (1, 70, 5), (5, 33, 1), (9, 1, 16), (70, 0, 3), (0, 4, 3), (33, 40, 66), (20, 1100, 24)]
ROUND = (136, 200, 600)  # ragged; the ring goes round, and a cluster has several tiles
ROUNDED = 2.0**-8  # of a number, what its bfloat16 may be off by


def rounded(*shapes, scale=1.0, seed=0):
    """Normal numbers in bfloat16."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=shape) * scale).astype(type_of("bfloat16")) for shape in shapes]


def wide(x):
    return None if x is None else np.asarray(x).astype(np.float64)


def assert_product(shape, transposed, order="forward", tile=None):
    M, K, N = shape
    a, b = rounded((M, K), (K, N), seed=sum(shape))
    a, b = (np.asfortranarray(x) if t else x for x, t in zip((a, b), transposed, strict=True))
    with simulate(order):
        y = hopper.product(a, b, tile=tile)
    assert y.shape == (M, N)
    assert_near(y, wide(a) @ wide(b), np.abs(wide(a)) @ np.abs(wide(b)), "bfloat16")


@pytest.mark.parametrize("transposed", TRANSPOSES, ids=NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_edge_and_transpose(shape, transposed):
    assert_product(shape, transposed)


@pytest.mark.parametrize("transposed", TRANSPOSES, ids=NAMES)
@pytest.mark.parametrize("tile", [(128, 128), (128, 256)], ids=str)
def test_every_instance_over_several_tiles(tile, transposed):
    assert_product(ROUND, transposed, order="random:1", tile=tile)


def test_the_order_of_the_threads_changes_no_bit():
    a, b = rounded((140, 72), (72, 264))
    assert every_order(lambda: hopper.product(a, b, tile=(128, 256)).astype(np.float32)).shape == (140, 264)


def assert_contract(case, cotangents, order):
    with dispatch.use_backend("hopper", "matmul", simulate=order):
        assert_right(evaluate(matmul, HOT_PATH, case, cotangents), case, cotangents)


def assert_right(ours, case, cotangents):
    """Every number is rounded once, and dz before the products; z is what was saved."""
    x, w, b, residual = map(wide, case.inputs)
    dy, z = wide(cotangents[0]), wide(ours.get("saved[0]"))
    right, _ = reference.forward(x, w, b, residual, **case.hyper)
    gradients = reference.backward(dy, x, w, b, residual, z, **case.hyper)
    dz = np.abs(dy if z is None else reference.activate_backward(dy, z, case.hyper["activation"]))
    w_rows = w if case.hyper["transpose_w"] else w.T  # (N, K)
    dw = np.abs(x).T @ dz
    terms = {"dx": dz @ np.abs(w_rows), "dw": dw.T if case.hyper["transpose_w"] else dw, "db": dz.sum(axis=0)}
    sums = (
        np.abs(x) @ np.abs(w_rows.T) + (0 if b is None else np.abs(b)) + (0 if residual is None else np.abs(residual))
    )
    assert_near(ours["y"], right, 2 * sums, "bfloat16")
    for name, gradient in zip(("dx", "dw", "db", "dresidual"), gradients, strict=True):
        if gradient is None:
            continue
        assert ours[name].dtype == case.inputs[0].dtype
        allowed = ROUNDED * np.abs(gradient) + (ROUNDED + 2.0**-20) * terms.get(name, 0) + TINY
        assert (np.abs(wide(ours[name]) - gradient) <= allowed).all(), f"{name} of {case.hyper}"


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=8)
@given(data=st.data(), rng=generators())
def test_the_contract_at_small_shapes(order, data, rng):
    drawn = data.draw(cases(np.float32))
    kind = type_of("bfloat16")
    cotangents = tuple(data.draw(layouts(c.astype(kind))) for c in draw_cotangents(HOT_PATH, drawn, rng))
    case = Case(tuple(x if x is None else data.draw(layouts(x.astype(kind))) for x in drawn.inputs), drawn.hyper)
    before = [x.copy() for x in (*case.inputs, *cotangents) if x is not None]
    assert_contract(case, cotangents, order)
    given = [x for x in (*case.inputs, *cotangents) if x is not None]
    assert all(np.array_equal(x, b) for x, b in zip(given, before, strict=True)), "an input was changed"


@pytest.mark.parametrize(
    ("activation", "with_residual"), [("none", True), ("relu", False), ("gelu", True), ("gelu_tanh", False)]
)
@pytest.mark.parametrize(("M", "K", "N"), [(70, 72, 264), (20, 1100, 24), (150, 40, 39)], ids=str)
def test_what_comes_after_the_product(M, K, N, with_residual, activation):
    """In boxes, of sums of clusters that share K, and number by number; both orders of w, in turn."""
    transpose_w = activation.startswith("gelu")
    x, w, b, residual, dy = rounded((M, K), (N, K) if transpose_w else (K, N), (N,), (M, N), (M, N), scale=K**-0.25)
    case = Case((x, w, b, residual if with_residual else None), {"activation": activation, "transpose_w": transpose_w})
    assert_contract(case, (dy,), "random:2")


def test_a_tile_s_residual_comes_into_each_box_in_turn():
    """Several tiles of four boxes to a cluster."""
    x, w, b, residual = rounded((136, 40), (40, 600), (600,), (136, 600))
    with simulate("random:1"):
        y, _, _ = hopper._product(*map(tensor_cores.operand, (x, w)), b, residual, "relu", tile=(128, 256))
    right, _ = reference.forward(*map(wide, (x, w, b, residual)), activation="relu")
    assert_near(y, right, np.abs(wide(x)) @ np.abs(wide(w)) + 9, "bfloat16")


def test_what_begins_at_no_multiple_of_16_bytes():
    M, K, N = 20, 40, 24
    x, w, flat = rounded((M + 1, K + 1), (K, N + 3), (1 + N + M * N,))
    views = x[1:, 1:], w[:, 3:], flat[1 : 1 + N], flat[1 + N :].reshape(M, N)
    with dispatch.use_backend("hopper", "matmul", simulate=True):
        y, _ = matmul.forward(*views)
    right, _ = reference.forward(*map(wide, views))
    assert_near(y, right, np.abs(wide(views[0])) @ np.abs(wide(views[1])) + 9, "bfloat16")


def test_a_row_of_a_matrix_with_odd_rows_is_not_copied():
    (x,) = rounded((3, 41))
    with simulate():
        assert tensor_cores.operand(x[:1, :40]).x.base is x
        assert_near(hopper.product(x[:1, :40], x[:1, :40].T), *2 * [(wide(x[:1, :40]) ** 2).sum()], "bfloat16")


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_at_most_twice_the_errors_of_pytorch(activation):
    torch = pytest.importorskip("torch")
    shapes = (72, 520), (136, 520), (136,), (72, 136)
    x, w, b, dy = rounded(*shapes)
    x, w = (a * np.asarray(520**-0.25, a.dtype) for a in (x, w))

    def theirs(dtype):
        leaves = [torch.tensor(a.astype(np.float64)).to(dtype).requires_grad_() for a in (x, w, b)]
        y = torch.nn.functional.linear(*leaves)
        y = torch.nn.functional.gelu(y) if activation == "gelu" else y
        y.backward(torch.tensor(dy.astype(np.float64)).to(dtype))
        return [t.detach().double().numpy() for t in (y, *(leaf.grad for leaf in leaves))]

    with dispatch.use_backend("hopper", "matmul", simulate=True):
        y, z = matmul.forward(x, w, b, activation=activation, transpose_w=True)
        ours = y, *matmul.backward(dy, x, w, b, None, z, activation=activation, transpose_w=True)[:3]
    for mine, his, right in zip(ours, theirs(torch.bfloat16), theirs(torch.float64), strict=True):
        for error in (lambda e: np.abs(e).max(), lambda e: np.sqrt(np.mean(e**2))):
            assert error(wide(mine) - right) <= 2 * error(his - right)


def test_the_tiles_of_a_product():
    """On 66 clusters: large tiles where there are enough, else small ones, and shares of K where those are too few."""
    assert hopper.plan(8192, 4096, 1024, 66) == (256, 512, 1, 1024)
    assert hopper.plan(2048, 2048, 1024, 66) == (128, 128, 1, 1024)
    assert hopper.plan(1024, 1024, 8192, 66) == (128, 32, 2, 4096)
    assert hopper.plan(1024, 1024, 8200, 66) == (128, 32, 2, 4160)
    assert hopper.plan(64, 64, 1000, 66) == (128, 1, 1, 1024)
    assert hopper.plan(64, 64, 1000, 66, (128, 256)).columns == 256
    with pytest.raises(ShapeError, match=r"there is no tile of \(64, 64\); there are \(128, 128\), \(128, 256\)"):
        hopper.product(*rounded((8, 8), (8, 8)), tile=(64, 64))


def test_which_backend_has_which_arrays(monkeypatch):
    small, large, flat = rounded((64, 64), (1024, 1024), (8192, 64))
    single = large.astype(np.float32)
    with simulate():
        assert dispatch.select("matmul", large, large) is hopper
        assert dispatch.select("matmul", small, small) is tensor_cores
        assert dispatch.select("matmul", flat, flat.T) is tensor_cores
        assert dispatch.select("matmul", single, single) is tensor_cores
        assert not hopper.supports(large[None], large[None])
        monkeypatch.setattr(hopper, "has_wgmma", lambda x: False)
        assert dispatch.select("matmul", large, large) is tensor_cores
    with dispatch.use_backend("hopper", "matmul", simulate=True), pytest.raises(BackendError, match="float32"):
        matmul.forward(single, single)


def test_the_compiler_is_told_the_architecture_of_its_source_alone():
    assert hopper.SOURCE.options("bfloat16")[-1] == "-arch=sm_90a"
    for launcher in (cuda, tensor_cores):
        assert not any(option.startswith("-arch") for option in launcher.SOURCE.options("float32"))


def sent(cupy, x):
    """An array of bfloat16 on the GPU, in the order in which it lies."""
    if x is None:
        return None
    bits = x.view(np.uint16) if x.flags.c_contiguous else x.T.view(np.uint16)
    there = cupy.asarray(bits).view(x.dtype)
    return there if x.flags.c_contiguous else there.T


def fetched(x):
    return x.view(np.uint16).get().view(type_of("bfloat16"))


def test_arrays_of_cupy(standin_cupy):
    x, w, b, residual, dy = inputs = rounded((20, 41), (41, 24), (24,), (20, 24), (20, 24))
    hyper = {"activation": "gelu", "transpose_w": False}
    x, w, b, residual, dy = (sent(standin_cupy, a) for a in inputs)
    y, z = hopper.forward(x, w, b, residual, activation="gelu")
    gradients = hopper.backward(dy, x, w, b, residual, z, activation="gelu")
    names = ("y", "saved[0]", "dx", "dw", "db", "dresidual")
    ours = {name: fetched(a) for name, a in zip(names, (y, z, *gradients), strict=True)}
    assert_right(ours, Case(tuple(inputs[:4]), hyper), inputs[4:])


@pytest.fixture
def hopper_cupy(real_cupy):
    if real_cupy.cuda.Device().compute_capability != "90":
        pytest.skip("needs a GPU of compute capability 9.0")
    return real_cupy


@pytest.mark.gpu
@pytest.mark.parametrize("transposed", TRANSPOSES, ids=NAMES)
@pytest.mark.parametrize("tile", [(128, 128), (128, 256)], ids=str)
@pytest.mark.parametrize("shape", [ROUND, (1100, 2056, 4000)], ids=str)
def test_every_instance_on_a_gpu(shape, tile, transposed, hopper_cupy):
    M, K, N = shape
    a, b = rounded((M, K), (K, N))
    a, b = (np.asfortranarray(x) if t else x for x, t in zip((a, b), transposed, strict=True))
    y = fetched(hopper.product(sent(hopper_cupy, a), sent(hopper_cupy, b), tile=tile))
    assert_near(y, wide(a) @ wide(b), np.abs(wide(a)) @ np.abs(wide(b)), "bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("activation", matmul.ACTIVATIONS)
@pytest.mark.parametrize(("M", "K", "N"), [(300, 264, 1032), (40, 8200, 136), (150, 40, 39)], ids=str)
def test_what_comes_after_the_product_on_a_gpu(M, K, N, activation, hopper_cupy):
    shapes = (M, K), (K, N), (N,), (M, N), (M, N)
    *inputs, dy = rounded(*shapes, scale=K**-0.25)
    hyper = {"activation": activation, "transpose_w": False}
    there = Case(tuple(sent(hopper_cupy, x) for x in inputs), hyper)
    with dispatch.use_backend("hopper", "matmul"):
        ours = evaluate(matmul, HOT_PATH, there, (sent(hopper_cupy, dy),))
    assert_right({name: fetched(x) for name, x in ours.items()}, Case(tuple(inputs), hyper), (dy,))


def test_an_old_compiler_has_no_hopper(standin_cupy, monkeypatch):
    """NVRTC before 12.9 refuses CuPy's -arch beside ours."""
    from nlp_kernels.common import gpu

    x = sent(standin_cupy, rounded((8, 8))[0])
    assert hopper.supports(x, x)
    gpu._nvrtc.cache_clear()
    monkeypatch.setattr(standin_cupy.cuda.nvrtc, "getVersion", lambda: (12, 8))
    assert not hopper.supports(x, x)
    gpu._nvrtc.cache_clear()
