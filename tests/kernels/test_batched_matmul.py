"""Products of stacks of matrices on a GPU, in the simulator: batch axes of any strides, broadcast, and the tape."""

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators, layouts, sizes
from hypothesis import given, settings
from nlp_kernels import matmul
from nlp_kernels.dispatch import use_backend
from nlp_kernels.matmul import batches, cuda, tensor_cores
from nlp_kernels.simulator import ORDERS, simulate
from simulated import needs_simulator

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor, grad

pytestmark = needs_simulator()
KERNELS = pytest.mark.parametrize(
    ("kernels", "dtype"),
    [(cuda, "float32"), (cuda, "float64"), (tensor_cores, "float32"), (tensor_cores, "bfloat16")],
    ids=["cuda-f32", "cuda-f64", "tensor_cores-f32", "tensor_cores-bf16"],
)
# the batch axes of both
STACKS = [((3,), (3,)), ((2, 2), ()), ((), (3,)), ((2, 1), (3,)), ((1, 3), (2, 1)), ((0, 2), (2,)), ((1,), (1,))]
SIDES = [(5, 7, 4), (70, 33, 9), (1, 16, 8), (3, 0, 2), (4, 270, 8)]  # M, K, N; blocks share the last one's K


def type_of(dtype):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)


def normal(dtype, *shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(type_of(dtype))


def transposed(x):
    """The same numbers with columns that are contiguous."""
    return np.ascontiguousarray(x.mT).mT


def assert_near(y, a, b):
    """y = a b, to the rounding of its dtype."""
    wide = a.astype(np.float64), b.astype(np.float64)
    right, terms = np.matmul(*wide), np.matmul(*map(np.abs, wide))
    rounding, eps = {"float32": (0, 2.0**-24), "float64": (0, 2.0**-53), "bfloat16": (2.0**-8, 2.0**-24)}[str(a.dtype)]
    assert (y.shape, y.dtype) == (right.shape, a.dtype)
    assert (np.abs(y.astype(np.float64) - right) <= rounding * np.abs(right) + 4 * eps * terms).all()


def assert_product(kernels, a, b, order="forward"):
    before = a.copy(), b.copy()
    with simulate(order):
        y = kernels.product(a, b)
    assert_near(y, a, b)
    assert all(np.array_equal(x, old) for x, old in zip((a, b), before, strict=True)), "an input was changed"


@st.composite
def stacks(draw, dtype):
    """Two stacks of matrices that multiply; batch axes of one, or absent, broadcast; memory in any order."""
    rng, M, K, N = draw(generators()), draw(sizes(6)), draw(sizes(40)), draw(sizes(9))
    whole = draw(st.lists(st.sampled_from([1, 2, 3, 3, 0]), max_size=3))

    def stack(*sides):
        of = [n if draw(st.booleans()) else 1 for n in whole][draw(st.integers(0, len(whole))) :]
        x = rng.normal(size=(*of, *sides)).astype(dtype)
        axes = draw(st.permutations(range(x.ndim)))
        return draw(layouts(np.ascontiguousarray(x.transpose(axes)))).transpose(np.argsort(axes))

    return stack(M, K), stack(K, N)


@pytest.mark.parametrize("order", ORDERS)
@KERNELS
@settings(max_examples=8)
@given(data=st.data())
def test_any_strides_and_broadcast(kernels, dtype, order, data):
    assert_product(kernels, *data.draw(stacks(type_of(dtype))), order)


@KERNELS
@pytest.mark.parametrize("of", STACKS, ids=str)
def test_every_edge_and_transpose(kernels, dtype, of):
    for i, (M, K, N) in enumerate(SIDES):
        a, b = normal(dtype, *of[0], M, K), normal(dtype, *of[1], K, N)
        assert_product(kernels, transposed(a) if i % 2 else a, transposed(b) if i // 2 % 2 else b, "random:1")


@pytest.mark.parametrize(("kernels", "dtype"), [(cuda, "float32"), (tensor_cores, "bfloat16")], ids=["f32", "bf16"])
def test_heads_are_read_where_they_lie(kernels, dtype, monkeypatch):
    """As attention has them: (B, T, H, D) as (B, H, T, D), or one matrix for all."""
    monkeypatch.setattr(kernels, "contiguous", lambda x: pytest.fail("copied") if x is not None else None)
    monkeypatch.setattr(batches, "contiguous", lambda x: pytest.fail("copied"))
    monkeypatch.setattr(tensor_cores, "blocks", lambda *given: pytest.fail("split"))
    q, k = (normal(dtype, 2, 16, 3, 8).transpose(0, 2, 1, 3) for _ in range(2))
    for a, b in ((q, k.mT), (q.mT, k), (q, k[0, 0].mT), (np.broadcast_to(q[:, :1], q.shape), k.mT), (q[0], k.mT)):
        assert_product(kernels, a, b)


@KERNELS
def test_what_a_grid_cannot_go_along_is_written_out(kernels, dtype):
    a, b = normal(dtype, 2, 1, 3, 1, 5, 7), normal(dtype, 2, 1, 2, 7, 4)
    assert len(batches.merged((2, 2, 3, 2), (105, 0, 35, 0), (0, 56, 0, 28))) == 4
    assert_product(kernels, a, b)
    assert_product(kernels, a[::-1, :, ::-1], np.flip(b))
    assert_product(kernels, np.broadcast_to(a, (2, 2, 3, 2, 5, 7)), np.broadcast_to(b, (2, 2, 1, 2, 7, 4)))


@KERNELS
@pytest.mark.parametrize("of", [((7,), (7,)), ((8,), ()), ((2, 5), (5,)), ((5, 2), (1, 2))], ids=str)
def test_more_products_than_an_axis_of_a_grid_has(kernels, dtype, of, monkeypatch):
    """A long axis is cut into two, with blocks to spare; of two long ones one is made."""
    monkeypatch.setattr(batches, "LONGEST", 3)
    batches.batches.cache_clear()
    assert_product(kernels, normal(dtype, *of[0], 5, 7), normal(dtype, *of[1], 7, 4))
    batches.batches.cache_clear()


def test_axes_become_one_where_both_step_evenly():
    assert batches.merged((2, 3, 4), (12, 4, 1), (24, 8, 2)) == [(24, 1, 2)]
    assert batches.merged((2, 1, 4), (4, 9, 1), (0, 5, 0)) == [(8, 1, 0)]
    assert batches.merged((2, 4), (4, 1), (0, 1)) == [(2, 4, 0), (4, 1, 1)]
    assert batches.merged((2, 3), (0, 0), (3, 1)) == [(6, 0, 1)]
    assert batches.merged((1, 1), (7, 7), (0, 0)) == []
    given, grid = batches.batches((100_000,), (64,), (0,))
    assert grid == (50_000, 2)
    assert given[0].tolist() == (50_000 * 64, 64, 0, 0, 100_000)


def test_what_32_bits_cannot_count_is_refused():
    x = np.broadcast_to(np.float32(0), (2**31, 1, 1))
    with simulate():
        assert not cuda.supports(x, x)
        assert not cuda.supports(x.reshape(2**31, 1), x[:1, 0])
        assert not tensor_cores.supports(np.broadcast_to(np.float32(0), (2**16, 1, 1, 1)), x[: 2**15])
        assert cuda.supports(x[: 2**16], x[0])


# On CuPy's arrays and through the tape -----------------------------------------------------------------------------


@pytest.fixture
def ours_only(standin_cupy, monkeypatch):
    """CuPy's stand-in, on which none but our kernels multiplies."""
    import array_api_compat

    for namespace in (standin_cupy, array_api_compat.cupy):
        for name in ("matmul", "dot", "tensordot", "einsum"):
            monkeypatch.setattr(namespace, name, lambda *given, **params: pytest.fail("CuPy's product"))
    return standin_cupy


PAIRS = [((3, 5, 7), (3, 7, 4)), ((2, 1, 3, 4), (3, 4, 2)), ((2, 3, 4), (4, 5)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)),
         ((4,), (4,)), ((0, 2, 3), (3, 2)), ((3, 4), (2, 4, 5))]  # fmt: skip


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_as_the_array_api_says(ours_only, dtype, shapes):
    a, b = (normal(dtype, *shape) for shape in shapes)
    y = matmul.product(ours_only.asarray(a), ours_only.asarray(b)).get()
    rows, columns = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    assert y.shape == np.matmul(a.astype(np.float32), b.astype(np.float32)).shape
    y = y[..., None] if b.ndim == 1 else y
    assert_near(y[..., None, :] if a.ndim == 1 else y, rows, columns)


def test_rows_that_meet_one_matrix_are_one_product(ours_only):
    from cupy._machine import machine

    a, b = ours_only.asarray(normal("float32", 3, 2, 5, 8)), ours_only.asarray(normal("float32", 8, 4))
    grids = []
    kernel = cuda.SOURCE.kernel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            cuda.SOURCE,
            "kernel",
            lambda name, x: lambda grid, *rest: (grids.append(grid), kernel(name, x)(grid, *rest)),
        )
        assert matmul.product(a, b).shape == (3, 2, 5, 4)
        assert matmul.product(a.transpose(1, 0, 2, 3), b).shape == (2, 3, 5, 4)
    assert grids == [(1, 1, 1), (1, 3, 2)]
    assert len(machine.launches) == 2


def test_what_does_not_fit_is_cupys_error(standin_cupy):
    a, b = standin_cupy.ones((2, 3, 4)), standin_cupy.ones((3, 4, 5))
    for wrong in ((a, b), (a, a), (a[..., 0], b[0]), (a, a.sum())):
        with pytest.raises(ValueError, match=r"matmul|broadcast"):
            matmul.product(*wrong)
    ints = standin_cupy.ones((2, 3, 3), np.int64)
    assert matmul.product(ints, ints).dtype == np.int64


def to_order_two(a, b, g, u, v, device):
    """a b, its gradients for the cotangent g, and those of <da, u> + <db, v>."""
    a, b, g = (Tensor(x).to(device).requires_grad_() for x in (a, b, g))
    y = tn.matmul(a, b)
    first = grad(y, (a, b), g, create_graph=True)
    second = grad(list(first), (a, b, g), [Tensor(x).to(device) for x in (u, v)])
    return [x.detach().to("cpu").numpy() for x in (y, *first, *second)]


@pytest.mark.parametrize(("kernels", "dtype"), [("cuda", "float32"), ("cuda", "float64"), ("tensor_cores", "float32")])
@pytest.mark.parametrize("i", range(len(PAIRS)))
def test_gradients_to_order_two(ours_only, kernels, dtype, i):
    """Equal to the CPU's; each pair of shapes in another order of the threads."""
    shapes = PAIRS[i]
    given = [normal(dtype, *shape) for shape in (*shapes, np.matmul(*map(np.zeros, shapes)).shape, *shapes)]
    with use_backend(kernels, "matmul", simulate=ORDERS[i % len(ORDERS)]):
        ours = to_order_two(*given, "cuda")
    wide = to_order_two(*(x.astype(np.float64) for x in given), "cpu")
    for mine, right in zip(ours, wide, strict=True):
        assert mine.dtype == dtype
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(mine, right, rtol=64 * eps, atol=64 * eps)


@pytest.mark.parametrize("shapes", [((5, 7), (7, 4)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5))])
def test_tensors_of_bfloat16_reach_the_tensor_cores_as_they_are(ours_only, shapes):
    """Values and gradients, those of what is broadcast too; nothing is multiplied in float32."""
    from cupy._machine import machine

    a, b = (normal("bfloat16", *shape) for shape in shapes)
    g = normal("bfloat16", *np.matmul(a.astype(np.float32), b.astype(np.float32)).shape)
    exact = [Tensor(x.astype(np.float64)).requires_grad_() for x in (a, b)]
    y = tn.matmul(*exact)
    right = [y, *grad(y, exact, g.astype(np.float64))]
    ours = [Tensor(x).to("cuda").requires_grad_() for x in (a, b)]
    y = tn.matmul(*ours)
    ours = [y, *grad(y, ours, Tensor(g).to("cuda"))]
    products = [name for name in machine.launches if name.startswith("product<")]
    assert len(products) == 3
    assert all("__nv_bfloat16" in name for name in products)
    for x, wanted in zip(ours, right, strict=True):
        assert x.dtype == tn.bfloat16
        x, wanted = x.detach().numpy().astype(np.float64), wanted.detach().numpy()
        assert np.abs(x - wanted).max() <= 2**-7 * np.abs(wanted).max()  # a sum of rounded products
