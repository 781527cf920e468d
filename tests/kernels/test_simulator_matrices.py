"""Matrices of a warp in the simulator: ldmatrix and mma.sync against NumPy, and what is said of their misuse."""

import numpy as np
import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import ORDERS
from simulated import needs_simulator, refused, run

pytestmark = needs_simulator()
PTX = {"options": (f"-I{ROOT / 'common'}",)}
EVERY = [*ORDERS, "reverse"]
LANES = np.arange(32)

LOAD = """#include "ptx.cuh"
template <int count, bool transposed>
__global__ void kernel(const unsigned short* x /* (8 count, 8) */, unsigned short* y /* (32, count, 2) */) {
  __shared__ alignas(16) unsigned short tile[8 * count][24];
  int t = threadIdx.x;
  for (int i = t; i < 64 * count; i += 32) tile[i / 8][8 + i % 8] = x[i];
  __syncwarp();
  unsigned r[count];
  const void* row = &tile[t % (8 * count)][8];
  if constexpr (transposed) ptx::ldmatrix_transposed(r, row);
  else ptx::ldmatrix(r, row);
  for (int i = 0; i < count; i++) y[2 * (t * count + i)] = r[i] & 0xffff, y[2 * (t * count + i) + 1] = r[i] >> 16;
}"""

# C = A B^T, of one warp: A in pieces by ldmatrix, B in pieces by ldmatrix or, where it is stored (K, N), transposed
PRODUCT = """#include "ptx.cuh"
template <bool k_first>
__global__ void kernel(const unsigned short* A /* (16, 32) */, const unsigned short* B /* (8, 32) or (32, 8) */,
                       float* C /* (16, 8) */) {
  __shared__ alignas(16) unsigned short a[16][40], b[8 * 40];
  int l = threadIdx.x;
  for (int i = l; i < 16 * 4; i += 32) ptx::copy_async<16>(&a[i / 4][i % 4 * 8], A + i / 4 * 32 + i % 4 * 8);
  for (int i = l; i < 8 * 4; i += 32) ptx::copy_async<16>(k_first ? &b[i * 8] : &b[i / 4 * 40 + i % 4 * 8], B + i * 8);
  ptx::copy_commit();
  ptx::copy_wait<0>();
  __syncwarp();
  float d[4] = {0, 0, 0, 0};
  unsigned right[4];
  if constexpr (k_first) ptx::ldmatrix_transposed(right, &b[l * 8]);
  else ptx::ldmatrix(right, &b[l % 8 * 40 + l / 8 * 8]);
  for (int k = 0; k < 2; k++) {
    unsigned left[4], half[2] = {right[2 * k], right[2 * k + 1]};
    ptx::ldmatrix(left, &a[l % 16][k * 16 + l / 16 * 8]);
    ptx::mma_bf16(d, left, half);
  }
  for (int i = 0; i < 4; i++) C[(l / 4 + 8 * (i / 2)) * 8 + l % 4 * 2 + i % 2] = d[i];
}"""

TF32 = """#include "ptx.cuh"
extern "C" __global__ void kernel(const float* A /* (16, 8) */, const float* B /* (8, 8) */, float* C /* (16, 8) */) {
  int row = threadIdx.x / 4, column = threadIdx.x % 4;
  unsigned a[4], b[2];
  for (int i = 0; i < 4; i++) a[i] = ptx::tf32_of(A[(row + i % 2 * 8) * 8 + column + i / 2 * 4]);
  for (int i = 0; i < 2; i++) b[i] = ptx::tf32_of(B[(column + 4 * i) * 8 + row]);
  float d[4];
  for (int i = 0; i < 4; i++) d[i] = C[(row + i / 2 * 8) * 8 + 2 * column + i % 2];
  ptx::mma_tf32(d, a, b);
  for (int i = 0; i < 4; i++) C[(row + i / 2 * 8) * 8 + 2 * column + i % 2] = d[i];
}"""


def bf16(shape, seed=0):
    """(bits, value) of random bfloat16."""
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32).view(np.uint32) >> 16
    return x.astype(np.uint16), (x << 16).view(np.float32)


@pytest.mark.parametrize("order", EVERY)
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix(count, transposed, order):
    x = np.arange(64 * count, dtype=np.uint16).reshape(count, 8, 8)
    y = np.zeros((32, count, 2), np.uint16)
    run(LOAD, 1, 32, x, y, name=f"kernel<{count}, {str(transposed).lower()}>", order=order, **PTX)
    pieces = x.swapaxes(1, 2) if transposed else x
    np.testing.assert_array_equal(y, pieces.reshape(count, 32, 2).swapaxes(0, 1))


@pytest.mark.parametrize("order", EVERY)
@pytest.mark.parametrize("k_first", [False, True], ids=["NK", "KN"])
def test_products_of_bfloat16(k_first, order):
    (a, A), (b, B) = bf16((16, 32)), bf16((8, 32), 1)
    C = np.full((16, 8), np.nan, np.float32)
    b = np.ascontiguousarray(b.T) if k_first else b
    run(PRODUCT, 1, 32, a, b, C, name=f"kernel<{str(k_first).lower()}>", order=order, **PTX)
    np.testing.assert_allclose(C, A.astype(np.float64) @ B.T, rtol=1e-5, atol=1e-5)


def test_products_of_tf32():
    rng = np.random.default_rng(0)
    A, B, C = (rng.normal(size=shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    near = [((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32).astype(np.float64) for x in (A, B)]
    expected = C + near[0] @ near[1]
    run(TF32, 1, 32, A, B, C, **PTX)
    np.testing.assert_allclose(C, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected - (C + A @ B)).max() > 1e-5


def test_rounding_to_bfloat16():
    code = """#include "ptx.cuh"
    extern "C" __global__ void kernel(const float* x, unsigned* y) {
      y[threadIdx.x] = ptx::bf16_pair(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
    }"""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F800000, 0x80000000], np.uint32)
    y = np.zeros(3, np.uint32)
    run(code, 1, 3, bits.view(np.float32), y, **PTX)
    np.testing.assert_array_equal(y.view(np.uint16), [0x3F80, 0x3F82, 0x3F81, 0x3F80, 0x7F80, 0x8000])


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("const void* row = &tile[t % (8 * count)][8]", "const void* row = &tile[t % (8 * count)][9]",
         r"misaligned: thread \(\d+, 0, 0\) of block \(0, 0, 0\) gives the address of tile\[\d+\] in shared memory to "
         r"ldmatrix at kernel.cu:\d+ as a row, which needs a multiple of 16 bytes"),
        ("const void* row = &tile[t % (8 * count)][8]", "const void* row = x",
         r"ldmatrix at kernel.cu:\d+: the row of lane \d+ is not in shared memory"),
        ("&tile[t % (8 * count)][8]", "&tile[t % (8 * count) + 1][8]",
         r"out of bounds: thread .* reads tile\[7\d\d\] in shared memory at kernel.cu:\d+ \(ldmatrix\), but tile has"),
        ("  __syncwarp();\n", "", r"(race|unwritten): .* tile\[\d+\] in shared memory at kernel.cu:\d+"),
        ("else ptx::ldmatrix(r, row);", "else if (t < 31) ptx::ldmatrix(r, row); else __syncwarp();",
         "divergent warp: .* ldmatrix at kernel.cu:"),
    ],
    ids=["misaligned", "global", "out of bounds", "no barrier", "divergent"],
)  # fmt: skip
def test_misuse_of_ldmatrix_is_named(right, wrong, message):
    assert right in LOAD
    x, y = np.zeros(256, np.uint16), np.zeros(256, np.uint16)
    orders = ("forward", "reverse", "random:1")
    refused(message, LOAD.replace(right, wrong), 1, 32, x, y, name="kernel<4, false>", orders=orders, **PTX)


def test_a_product_needs_a_whole_warp():
    message = r"mma_bf16 at kernel.cu:\d+: thread .* is in a warp of 16 threads, expected 32"
    code = """#include "ptx.cuh"
    extern "C" __global__ void kernel(float* y) {
      float d[4] = {};
      unsigned a[4] = {}, b[2] = {};
      ptx::mma_bf16(d, a, b);
      y[threadIdx.x] = d[0];
    }"""
    refused(message, code, 1, 16, np.zeros(16, np.float32), **PTX)
