"""What the simulator's tests check against NumPy, on a GPU of compute capability 9.0: `pytest -m gpu -n 0`.

Layouts, swizzles, descriptors and phases are NVIDIA's; here the hardware judges how the simulator reads the manual.
"""

import numpy as np
import pytest
import test_pipelines as pipelines
import test_simulator_copies as copies
import test_simulator_wgmma as wgmma
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.dispatch import ROOT

cupy = pytest.importorskip("cupy")


def is_hopper():
    """Whether there is one here."""
    try:
        return cupy.cuda.Device().compute_capability == "90"
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not is_hopper(), reason="needs a GPU of compute capability 9.0")]
OPTIONS = ("-std=c++17", "-arch=sm_90a", f"-I{ROOT / 'common'}")


def run(code, grid, block, *arguments, name="kernel", shared_mem=0):
    """Arrays are copied to the GPU and back; those of one structure are values."""
    names = (name,) if "<" in name else ()
    kernel = cupy.RawModule(code=code, options=OPTIONS, name_expressions=names).get_function(name)
    kernel.max_dynamic_shared_size_bytes = max(shared_mem, 48 << 10)
    value = lambda a: not isinstance(a, np.ndarray) or a.dtype.kind == "V"  # noqa: E731
    given = [a if value(a) else cupy.asarray(a) for a in arguments]
    kernel((grid,), (block,), tuple(given), shared_mem=shared_mem)
    for host, device in zip(arguments, given, strict=True):
        if isinstance(device, cupy.ndarray) and host.flags.writeable:
            host[...] = device.get()


@pytest.mark.parametrize("case", wgmma.CASES, ids=str)
def test_products(case):
    wgmma.check_product(case, lambda *arguments, **launch: run(wgmma.CODE, 1, 128, *arguments, **launch))


def test_products_of_products():
    y, expected = wgmma.chain(wgmma.CHAIN, 3, run=run)
    np.testing.assert_allclose(y, expected, rtol=2**-8, atol=0.2)


@pytest.mark.parametrize("code", [copies.LOAD, copies.STORE], ids=["load", "store"])
@pytest.mark.parametrize(("shape", "box", "dtype", "swizzle", "place"), copies.TILES, ids=str)
def test_tiles(code, shape, box, dtype, swizzle, place):
    rng = np.random.default_rng(0)
    x, tile = rng.integers(1, 200, shape).astype(dtype), rng.integers(1, 200, box).astype(dtype)
    outer, inner = copies.windows(shape, box, place)
    given = cupy.asarray(x)
    described, at = tensor_map(given, box, swizzle=swizzle), copies.coordinates(place)
    raw = np.zeros(tile.nbytes, np.uint8) if code == copies.LOAD else copies.exchanged(tile, swizzle)
    run(code, 1, 64, described, at, np.int32(raw.size), raw, name=f"kernel<{x.ndim}>", shared_mem=raw.size + 128)
    if code == copies.LOAD:
        tile[...] = 0
        tile[inner] = x[outer]
        np.testing.assert_array_equal(raw, copies.exchanged(tile, swizzle))
    else:
        x[outer] = tile[inner]
        np.testing.assert_array_equal(given.get(), x)


def test_a_ring_of_bulk_copies():
    x = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    y = np.zeros_like(x)
    run(copies.RING, 1, 64, x, y, np.int32(100))
    np.testing.assert_array_equal(y, 2 * x[:, ::-1])


def test_bulk_stores_and_sums():
    x = np.random.default_rng(0).integers(-9, 9, (64, 64)).astype(np.float32)
    sums, stored = np.ones(64, np.float32), np.zeros_like(x)
    run(copies.ADD, 32, 64, x, sums, stored)
    np.testing.assert_array_equal(sums, 1 + x.sum(0))
    np.testing.assert_array_equal(stored, -x)


def test_a_tile_for_all_blocks_of_a_cluster():
    x = np.random.default_rng(0).normal(size=(480, 32)).astype(np.float32)
    y, given = np.zeros((30, 2, 16, 32), np.float32), cupy.asarray(x)
    run(copies.MULTICAST, 2, 32, tensor_map(given, (8, 32), swizzle=0), y, np.int32(30))
    np.testing.assert_array_equal(y, np.stack([x.reshape(30, 16, 32)] * 2, axis=1))


@pytest.mark.parametrize("k_first", [False, True], ids=["NK", "KN"])
@pytest.mark.parametrize(("M", "N", "K"), [(1024, 768, 512), (72, 200, 104)], ids=str)
def test_the_pipeline_multiplies(M, N, K, k_first):
    (a, A), (b, B) = pipelines.bf16((M, K)), pipelines.bf16((K, N) if k_first else (N, K), 1)
    given = [cupy.asarray(x) for x in (a, b, np.full((M, N), 0x7FC0, np.uint16))]
    maps = [tensor_map(x, box) for x, box in zip(given, ((128, 64), (64, 64), (64, 64)), strict=True)]
    sizes = (np.int32(n) for n in (M, N, K))
    run(pipelines.GEMM, 16, 384, *maps, *sizes, name=pipelines.INSTANCES[k_first], shared_mem=pipelines.SHARED)
    C = (given[2].get().astype(np.uint32) << 16).view(np.float32)
    assert pipelines.agree(C, A @ (B if k_first else B.T))
