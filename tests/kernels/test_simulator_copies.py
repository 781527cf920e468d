"""Mbarriers and the copy engine in the simulator: phases, bulk copies, tiles of 1 to 5 axes, swizzles, clusters."""

import numpy as np
import pytest
from nlp_kernels.common.tensor_map import tensor_map
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import ORDERS
from simulated import needs_simulator, run

pytestmark = needs_simulator()
HOPPER = {"options": (f"-I{ROOT / 'common'}",)}
EVERY = [*ORDERS, "reverse"]

LOAD = """#include "hopper.cuh"
struct Place { int at[5]; };
template <int axes>
__global__ void kernel(const __grid_constant__ ptx::TensorMap map, Place place, int bytes, unsigned char* y) {
  extern __shared__ __align__(1024) unsigned char tile[];
  __shared__ ptx::mbarrier full;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&full, 1);
    ptx::fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int at[axes];
    for (int i = 0; i < axes; i++) at[i] = place.at[i];
    ptx::mbarrier_arrive_expect_tx(&full, bytes);
    ptx::tma_load(tile, &map, &full, at);
  }
  ptx::mbarrier_wait(&full, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) y[i] = tile[i];
}"""

STORE = """#include "hopper.cuh"
struct Place { int at[5]; };
template <int axes>
__global__ void kernel(const __grid_constant__ ptx::TensorMap map, Place place, int bytes, const unsigned char* x) {
  extern __shared__ __align__(1024) unsigned char tile[];
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) tile[i] = x[i];
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    int at[axes];
    for (int i = 0; i < axes; i++) at[i] = place.at[i];
    ptx::tma_store(&map, tile, at);
    ptx::bulk_commit();
    ptx::bulk_wait_read<0>();
  }
}"""

# (shape, box, dtype, swizzle, place of the tile, innermost first)
TILES = [
    ((40, 64), (16, 64), np.uint16, 128, (0, 8)),
    ((40, 72), (64, 64), np.uint16, 128, (64, 24)),
    ((9, 32), (8, 32), np.uint16, 64, (-8, -3)),
    ((20, 16), (16, 8), np.float32, 32, (4, 2)),
    ((20, 16), (5, 16), np.float32, 0, (0, 17)),
    ((64,), (32,), np.float32, 0, (40,)),
    ((3, 5, 16), (2, 3, 16), np.float16, 32, (3, -1, 2)),
    ((2, 3, 4, 32), (1, 2, 3, 32), np.uint16, 64, (16, 1, 2, 1)),
    ((2, 2, 3, 4, 16), (2, 1, 2, 2, 8), np.float32, 32, (8, 3, 1, 0, 1)),
]


def exchanged(tile, swizzle):
    """The bytes of a tile as they lie in shared memory: pieces of 16 exchanged by the row of 128 that they are in."""
    linear = np.ascontiguousarray(tile).view(np.uint8).ravel()
    at = np.arange(linear.size)
    lying = np.empty_like(linear)
    lying[at ^ ((at >> 7 & max(swizzle // 16 - 1, 0)) << 4)] = linear
    return lying


def windows(shape, box, place):
    """(where the tile lies in the array, which part of the tile that is)."""
    starts = place[::-1]
    outer = tuple(slice(max(s, 0), max(min(s + b, n), 0)) for s, b, n in zip(starts, box, shape, strict=True))
    inner = tuple(slice(o.start - s, max(o.stop - s, o.start - s)) for o, s in zip(outer, starts, strict=True))
    return outer, inner


def coordinates(place):
    at = np.zeros((), [("at", "i4", 5)])
    at["at"][: len(place)] = place
    return at


def launch(code, x, box, swizzle, place, raw, order):
    at = coordinates(place)
    bytes_ = np.int32(raw.size)
    options = {"name": f"kernel<{x.ndim}>", "order": order, "shared_mem": (raw.size + 127) // 128 * 128}
    run(code, 1, 64, tensor_map(x, box, swizzle=swizzle), at, bytes_, raw, **options, **HOPPER)


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize(("shape", "box", "dtype", "swizzle", "place"), TILES, ids=str)
def test_a_tile_is_loaded(shape, box, dtype, swizzle, place, order):
    x = np.random.default_rng(0).integers(1, 200, shape).astype(dtype)
    expected = np.zeros(box, dtype)
    outer, inner = windows(shape, box, place)
    expected[inner] = x[outer]
    raw = np.full(expected.nbytes, 255, np.uint8)
    launch(LOAD, x, box, swizzle, place, raw, order)
    np.testing.assert_array_equal(raw, exchanged(expected, swizzle))


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize(("shape", "box", "dtype", "swizzle", "place"), TILES, ids=str)
def test_a_tile_is_stored(shape, box, dtype, swizzle, place, order):
    rng = np.random.default_rng(0)
    x, tile = rng.integers(1, 200, shape).astype(dtype), rng.integers(1, 200, box).astype(dtype)
    expected = x.copy()
    outer, inner = windows(shape, box, place)
    expected[outer] = tile[inner]
    launch(STORE, x, box, swizzle, place, exchanged(tile, swizzle), order)
    np.testing.assert_array_equal(x, expected)


def test_rows_may_lie_apart():
    x = np.arange(40 * 64, dtype=np.uint16).reshape(40, 64)
    raw = np.zeros(8 * 32, np.uint8)
    launch(LOAD, x[::2, 16:48], (8, 16), 0, (0, 4), raw, "forward")
    np.testing.assert_array_equal(raw.view(np.uint16).reshape(8, 16), x[8:24:2, 16:32])


README = (ROOT / "simulator" / "README.md").read_text()
RING = README.partition("```cuda\n")[2].partition("```")[0]


@pytest.mark.parametrize("order", EVERY)
def test_a_ring_of_bulk_copies(order):
    x = np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32)
    y = np.zeros_like(x)
    run(RING, 1, 64, x, y, np.int32(7), order=order, **HOPPER)
    np.testing.assert_array_equal(y, 2 * x[:, ::-1])


@pytest.mark.parametrize("order", EVERY)
def test_a_loop_of_tries_is_a_wait(order):
    code = RING.replace("ptx::mbarrier_wait(&full[i % 2], i / 2 % 2);", "while (!TRY) { }")
    assert code != RING
    x, y = np.ones((3, 64), np.float32), np.zeros((3, 64), np.float32)
    code = code.replace("TRY", "ptx::mbarrier_try_wait(&full[i % 2], i / 2 % 2)")
    run(code, 1, 64, x, y, np.int32(3), order=order, **HOPPER)
    np.testing.assert_array_equal(y, 2 * x)


ADD = """#include "hopper.cuh"
extern "C" __global__ void kernel(const float* x, float* sums, float* copies) {
  __shared__ alignas(16) float row[2][64];
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x == 0) ptx::bulk_wait_read<0>();
    __syncthreads();
    row[0][threadIdx.x] = x[(2 * blockIdx.x + i) * 64 + threadIdx.x];
    row[1][threadIdx.x] = -row[0][threadIdx.x];
    ptx::fence_proxy_async();
    __syncthreads();
    if (threadIdx.x == 0) {
      ptx::bulk_add(sums, row[0], sizeof(row[0]));
      ptx::bulk_store(copies + (2 * blockIdx.x + i) * 64, row[1], sizeof(row[1]));
      ptx::bulk_commit();
    }
  }
  if (threadIdx.x == 0) ptx::bulk_wait<0>();
}"""


@pytest.mark.parametrize("order", EVERY)
def test_bulk_stores_and_sums(order):
    x = np.random.default_rng(0).integers(-9, 9, (6, 64)).astype(np.float32)
    sums, copies = np.ones(64, np.float32), np.zeros_like(x)
    run(ADD, 3, 64, x, sums, copies, order=order, **HOPPER)
    np.testing.assert_array_equal(sums, 1 + x.sum(0))
    np.testing.assert_array_equal(copies, -x)


# Each block of a cluster loads half a tile for both; a slot is free when both have read it
MULTICAST = """#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1)
    kernel(const __grid_constant__ ptx::TensorMap map, float* y, int n) {
  __shared__ alignas(128) float tile[16][32];
  __shared__ ptx::mbarrier full, empty;
  const int rank = ptx::cluster_rank(), t = threadIdx.x;
  if (t == 0) {
    ptx::mbarrier_init(&full, 1), ptx::mbarrier_init(&empty, 2);
    ptx::fence_barrier_init();
  }
  ptx::cluster_sync();
  for (int i = 0; i < n; i++) {
    if (t == 0) {
      ptx::mbarrier_wait(&empty, (i + 1) % 2);
      ptx::mbarrier_arrive_expect_tx(&full, sizeof(tile));
      ptx::tma_load_multicast(tile[8 * rank], &map, &full, 3, {0, 16 * i + 8 * rank});
    }
    ptx::mbarrier_wait(&full, i % 2);
    for (int r = 0; r < 16; r++) y[((2 * i + rank) * 16 + r) * 32 + t] = tile[r][t];
    __syncwarp();
    if (t < 2) ptx::mbarrier_arrive_remote(&empty, t);
  }
  ptx::cluster_sync();
}"""


@pytest.mark.parametrize("order", EVERY)
def test_a_tile_for_all_blocks_of_a_cluster(order):
    x = np.random.default_rng(0).normal(size=(48, 32)).astype(np.float32)
    y = np.zeros((3, 2, 16, 32), np.float32)
    run(MULTICAST, 2, 32, tensor_map(x, (8, 32), swizzle=0), y, np.int32(3), order=order, **HOPPER)
    np.testing.assert_array_equal(y, np.stack([x.reshape(3, 16, 32)] * 2, axis=1))


STMATRIX = """#include "hopper.cuh"
template <int count, bool transposed>
__global__ void kernel(const unsigned short* x /* (32, count, 2) */, unsigned short* y /* (8 count, 8) */) {
  __shared__ alignas(16) unsigned short tile[8 * count][24];
  int t = threadIdx.x;
  unsigned r[count];
  for (int i = 0; i < count; i++) r[i] = x[2 * (t * count + i)] | x[2 * (t * count + i) + 1] << 16;
  void* row = &tile[t % (8 * count)][8];
  if constexpr (transposed) ptx::stmatrix_transposed(row, r);
  else ptx::stmatrix(row, r);
  __syncwarp();
  for (int i = t; i < 64 * count; i += 32) y[i] = tile[i / 8][8 + i % 8];
}"""


@pytest.mark.parametrize("order", EVERY)
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_stmatrix(count, transposed, order):
    pieces = np.arange(64 * count, dtype=np.uint16).reshape(count, 8, 8)
    given = pieces.swapaxes(1, 2) if transposed else pieces
    x = np.ascontiguousarray(given.reshape(count, 32, 2).swapaxes(0, 1))
    y = np.zeros((count, 8, 8), np.uint16)
    run(STMATRIX, 1, 32, x, y, name=f"kernel<{count}, {str(transposed).lower()}>", order=order, **HOPPER)
    np.testing.assert_array_equal(y, pieces)
