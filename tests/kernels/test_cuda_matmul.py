"""Matrix products on CUDA cores, in the simulator: every tile, layout and width, and what shares K."""

import numpy as np
import pytest
from nlp_kernels import dispatch, matmul
from nlp_kernels.errors import ShapeError
from nlp_kernels.matmul import cuda, tensor_cores
from nlp_kernels.simulator import every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()


def product(a, b, order="forward"):
    with dispatch.use_backend("cuda", "matmul", simulate=order):
        return cuda.product(a, b)


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("shape", [(64, 32, 64), (70, 33, 9), (1, 1, 1), (3, 17, 130), (252, 8, 256), (4, 200, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_products_of_every_layout(dtype, shape, layout):
    M, K, N = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(K, N)).astype(dtype)
    a = np.asfortranarray(a) if layout[0] == "T" else a
    b = np.asfortranarray(b) if layout[1] == "T" else b
    c = product(a, b, "random:1")
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    assert c.dtype == dtype
    assert np.abs(c - exact).max() <= 2 * np.sqrt(K) * np.finfo(dtype).eps * np.abs(exact).max()


def test_rows_with_gaps_are_read_where_they_lie(monkeypatch):
    packed = np.random.default_rng(0).normal(size=(20, 3, 16)).astype(np.float32)
    monkeypatch.setattr(cuda, "contiguous", lambda x: pytest.fail("copied") if x is not None else None)
    for part in range(3):
        x = packed[:, part]
        np.testing.assert_allclose(product(x, x.T), x @ x.T, rtol=1e-5, atol=1e-5)


def test_what_lies_backwards_or_is_repeated_is_copied():
    x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    for a in (x[::-1], x[:, ::-1], x[:, ::2], np.broadcast_to(x[:1], (6, 8)), np.broadcast_to(x[:, :1], (6, 8))):
        np.testing.assert_allclose(product(a, x.T[: a.shape[1]]), a @ x.T[: a.shape[1]], rtol=1e-5, atol=1e-5)


def test_the_order_of_the_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape).astype(np.float32) for shape in ((9, 130), (130, 7), (7,)))
    dy = x[:, :7].copy()

    def every_result():
        y, z = cuda.forward(x, w, b, activation="gelu")
        dx, dw, db, _ = cuda.backward(dy, x, w, b, None, z, activation="gelu")
        return np.concatenate([a.ravel() for a in (y, z, dx, dw, db)])

    every_order(every_result)


@pytest.mark.parametrize(
    ("sizes", "at_once", "plan"),
    [
        ((4096, 4096, 4096), 132, cuda.Plan(128, 1, 4096)),
        ((1024, 768, 768), 132, cuda.Plan(64, 1, 768)),  # 48 tiles of 128, 192 of 64
        ((384, 384, 12288), 132, cuda.Plan(64, 8, 1536)),  # 36 tiles of 64
        ((1, 65, 384), 132, cuda.Plan(64, 6, 64)),
        ((5, 5, 3), 132, cuda.Plan(64, 1, 16)),
        ((5, 5, 0), 132, cuda.Plan(64, 1, 16)),
        ((65536, 64, 512), 132, cuda.Plan(64, 1, 512)),  # half of a tile of 128 would be beyond the edge
        ((4100, 4100, 64), 132, cuda.Plan(128, 1, 64)),  # 3% are
        ((64, 64, 64, 3072), 132, cuda.Plan(64, 1, 64)),  # of a stack
        ((128, 128, 64, 3072), 132, cuda.Plan(128, 1, 64)),
        ((64, 64, 4096, 2), 132, cuda.Plan(64, 64, 64)),
    ],
)
def test_tiles_and_shares(sizes, at_once, plan):
    M, N, K, *batch = sizes
    assert cuda.plan(M, N, K, at_once, batch=batch[0] if batch else 1) == plan
    assert plan.share % cuda.STEP == 0
    assert plan.share * plan.splits >= sizes[2]


def test_a_bias_gets_its_gradient_from_a_product_without_columns():
    x, w, dy = np.zeros((3, 0), np.float32), np.zeros((0, 2), np.float32), np.ones((3, 2), np.float32)
    with dispatch.use_backend("cuda", "matmul", simulate=True):
        y, saved = matmul.forward(x, w, np.array([1, 2], np.float32))
        dx, dw, db, _ = matmul.backward(dy, x, w, np.zeros(2, np.float32), None, saved)
    assert y.tolist() == [[1, 2]] * 3
    assert dx.shape == (3, 0)
    assert dw.shape == (0, 2)
    assert db.tolist() == [3, 3]


@pytest.mark.parametrize("kernels", [cuda, tensor_cores])
def test_a_tile_can_be_asked_for(kernels, monkeypatch):
    launched = []
    kernel = kernels.SOURCE.kernel
    monkeypatch.setattr(kernels.SOURCE, "kernel", lambda name, x: (launched.append(name), kernel(name, x))[1])
    a, b = (np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in ((20, 24), (24, 16)))
    with simulate():
        for tile in (64, 128):
            np.testing.assert_allclose(kernels.product(a, b, tile=tile), a @ b, rtol=1e-5, atol=1e-5)
        with pytest.raises(ShapeError, match=r"no tile of 96; there are 128, 64"):
            kernels.product(a, b, tile=96)
    sizes = [name for name in launched if name.startswith(("matmul<", "product<"))]
    assert len(sizes) == len(set(sizes)) == 2
