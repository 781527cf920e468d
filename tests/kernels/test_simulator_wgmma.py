"""Wgmma in the simulator against NumPy: sizes, majors, swizzles, A in registers, groups; and setmaxnreg."""

import numpy as np
import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import ORDERS, RawModule, SimulatorError, simulate
from simulated import needs_simulator, run
from test_simulator_copies import exchanged
from test_simulator_matrices import bf16

pytestmark = needs_simulator()
HOPPER = (f"-I{ROOT / 'common'}",)

# D (64, N) = A B, or D + A B, of one warpgroup. a, b: the bytes as they shall lie in shared memory, and how: bytes of
# leading, stride, and the step to the next 16 k. With in_registers, a is A (64, 16 steps) row by row.
CODE = """#include "wgmma.cuh"
struct Lying { unsigned bytes, leading, stride, step; };
template <int N, bool in_registers, ptx::Major A, ptx::Major B, int swizzle>
__global__ void kernel(const unsigned char* a, const unsigned char* b, float* D, Lying of_a, Lying of_b, int steps,
                       bool accumulate) {
  extern __shared__ __align__(1024) unsigned char tile[];
  const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4;
  unsigned char* tile_b = tile + (of_a.bytes + 1023) / 1024 * 1024;
  for (int i = t; i < of_a.bytes && !in_registers; i += 128) tile[i] = a[i];
  for (int i = t; i < of_b.bytes; i += 128) tile_b[i] = b[i];
  ptx::fence_proxy_async();
  __syncthreads();
  float d[N / 2];
  for (int i = 0; i < N / 2; i++) d[i] = D[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + t % 4 * 2 + i % 2];
  unsigned r[4][4];
  for (int k = 0; k < steps && in_registers; k++)
    for (int i = 0; i < 4; i++) {
      const int at = (row + i % 2 * 8) * 16 * steps + 16 * k + i / 2 * 8 + t % 4 * 2;
      const auto numbers = reinterpret_cast<const unsigned short*>(a);
      r[k][i] = numbers[at] | numbers[at + 1] << 16;
    }
  const unsigned long long q = ptx::wgmma_descriptor<swizzle>(tile_b, of_b.leading, of_b.stride);
  ptx::wgmma_fence();
  if constexpr (in_registers) {
    for (int k = 0; k < steps; k++) ptx::wgmma<B>(d, r[k], q + (k * of_b.step >> 4), k > 0 || accumulate);
  } else {
    const unsigned long long p = ptx::wgmma_descriptor<swizzle>(tile, of_a.leading, of_a.stride);
    for (int k = 0; k < steps; k++)
      ptx::wgmma<A, B>(d, p + (k * of_a.step >> 4), q + (k * of_b.step >> 4), k > 0 || accumulate);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < N / 2; i++) D[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + t % 4 * 2 + i % 2] = d[i];
}"""

# (N, A in registers, major of A, major of B, swizzle)
CASES = [(64, False, a, b, swizzle) for a in ("k", "mn") for b in ("k", "mn") for swizzle in (0, 32, 64, 128)]
CASES += [(N, False, "k", "k", 128) for N in (8, 24, 128, 192, 256)] + [(256, False, "k", "mn", 128)]
CASES += [(N, True, "k", b, swizzle) for N in (8, 64, 256) for b, swizzle in (("k", 64), ("mn", 128))]


def expression(N, in_registers, a, b, swizzle):
    return f"kernel<{N}, {str(in_registers).lower()}, ptx::Major::{a}, ptx::Major::{b}, {swizzle}>"


def lying(X, major, swizzle):
    """X (mn, K) as it lies in shared memory: the bytes, and (their number, leading, stride, step)."""
    (mn, K), width = X.shape, swizzle // 2
    if swizzle == 0:  # pieces of 8 x 8, each of 128 bytes
        pieces = X.reshape(mn // 8, 8, K // 8, 8).transpose((0, 2, 1, 3) if major == "k" else (0, 2, 3, 1))
        return np.ascontiguousarray(pieces).view(np.uint8).ravel(), (2 * X.size, 128, 16 * K, 256)
    if major == "k":  # one tile whose rows are the rows of X
        assert width == K
        return exchanged(X, swizzle), (2 * X.size, 16, 8 * swizzle, 32)
    X = np.pad(X, ((0, -mn % width), (0, 0)))  # tiles of `width` columns of Xᵀ, one after the other
    tiles = [exchanged(part.T, swizzle) for part in X.reshape(-1, width, K)]
    return np.concatenate(tiles), (2 * X.size, K * swizzle, 8 * swizzle, 16 * swizzle)


def check_product(case, run):
    """run(*arguments, name=, shared_mem=) of the kernel against NumPy."""
    N, in_registers, major_a, major_b, swizzle = case
    K = swizzle // 2 or 32
    (a, A), (b, B) = bf16((64, K)), bf16((N, K), 1)
    D = np.random.default_rng(2).normal(size=(64, N)).astype(np.float32)
    accumulate = N != 24
    expected = accumulate * D.astype(np.float64) + A.astype(np.float64) @ B.astype(np.float64).T
    bytes_a, of_a = (a, (0, 0, 0, 0)) if in_registers else lying(a, major_a, swizzle)
    bytes_b, of_b = lying(b, major_b, swizzle)
    arguments = (bytes_a, bytes_b, D, *(np.array(of, "u4").view("V16") for of in (of_a, of_b)))
    memory = bytes_a.nbytes + bytes_b.nbytes + 1024
    run(*arguments, np.int32(K // 16), np.bool_(accumulate), name=expression(*case), shared_mem=memory)
    np.testing.assert_allclose(D, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_products(case, order):
    names = tuple(expression(*c) for c in CASES)
    module = RawModule(code=CODE, options=HOPPER, name_expressions=names)

    def simulated(*arguments, name, shared_mem):
        kernel = module.get_function(name)
        kernel.max_dynamic_shared_size_bytes = shared_mem
        with simulate(order):
            kernel((1,), (128,), arguments, shared_mem=shared_mem)

    check_product(case, simulated)


GROUPS = """#include "wgmma.cuh"
extern "C" __global__ void kernel(const unsigned short* x, float* y) {  // two products of x (64, 16) with itself
  __shared__ alignas(256) unsigned short tile[64][16];
  const int t = threadIdx.x;
  for (int i = t; i < 1024; i += 128) tile[i / 16][i % 16] = x[i];
  ptx::fence_proxy_async();
  __syncthreads();
  const auto p = ptx::wgmma_descriptor<0>(tile, 16, 256);  // not the layout, but the same numbers for both operands
  float first[32], second[32];
  ptx::wgmma_fence();
  ptx::wgmma(first, p, p, false);
  ptx::wgmma_commit();
  ptx::wgmma(second, p, p, false);
  ptx::wgmma(second, p, p);
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>();
  float sum = 0;
  for (int i = 0; i < 32; i++) sum += first[i];
  ptx::wgmma_wait<0>();
  float more = 0;
  for (int i = 0; i < 32; i++) more += second[i];
  y[2 * t] = sum, y[2 * t + 1] = more;
}"""


@pytest.mark.parametrize("order", [*ORDERS, "reverse"])
def test_groups_are_waited_for_one_by_one(order):
    x, _ = bf16((64, 16))
    y = np.zeros((128, 2), np.float32)
    run(GROUPS, 1, 128, x, y, order=order, options=HOPPER)
    np.testing.assert_allclose(y[:, 1], 2 * y[:, 0], rtol=1e-4, atol=1e-4)
    assert np.abs(y).min() > 0


REGISTERS = """#include "hopper.cuh"
extern "C" __global__ void __launch_bounds__(384, 1) kernel(int* y) {
  if (threadIdx.x < 128) ptx::setmaxnreg_dec<24>();
  else ptx::setmaxnreg_inc<240>();  // 24 + 2 x 240 = 3 x 168: there are just as many
  y[threadIdx.x] = threadIdx.x;
}"""


@pytest.mark.parametrize("order", [*ORDERS, "reverse"])
def test_registers_are_handed_over(order):
    y = np.zeros(384, np.int32)
    run(REGISTERS, 1, 384, y, order=order, options=HOPPER)
    np.testing.assert_array_equal(y, np.arange(384))


# O (64, 64) = sum over tiles of P V, P = bfloat16(Q Kᵀ) of 64 keys: the next tile's P is computed while O is added to
CHAIN = """#include "wgmma.cuh"
extern "C" __global__ void kernel(const unsigned short* Q, const unsigned short* K, const unsigned short* V, float* O,
                                  int tiles) {
  extern __shared__ __align__(1024) unsigned char memory[];  // Q, then the K and the V of every tile, swizzled
  const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4;
  auto numbers = reinterpret_cast<unsigned short*>(memory);
  for (int i = t; i < 4096; i += 128) numbers[i] = Q[i];
  for (int i = t; i < 4096 * tiles; i += 128) numbers[4096 + i] = K[i], numbers[4096 * (1 + tiles) + i] = V[i];
  ptx::fence_proxy_async();
  __syncthreads();
  float s[32], o[32];
  unsigned p[4][4];
  const auto products = [&](int tile) {
    const auto q = ptx::wgmma_descriptor<128>(memory, 16, 1024);
    const auto k = ptx::wgmma_descriptor<128>(memory + 8192 * (1 + tile), 16, 1024);
    for (int i = 0; i < 4; i++) ptx::wgmma(s, q + (32 * i >> 4), k + (32 * i >> 4), i > 0);
    ptx::wgmma_commit();
  };
  const auto round = [&] {
    for (int i = 0; i < 16; i++) p[i / 4][i % 4] = ptx::bf16_pair(s[2 * i], s[2 * i + 1]);
  };
  ptx::wgmma_fence();
  products(0);
  ptx::wgmma_wait<0>();
  round();
  for (int tile = 0; tile < tiles; tile++) {
    ptx::wgmma_fence();
    if (tile + 1 < tiles) products(tile + 1);
    const auto v = ptx::wgmma_descriptor<128>(memory + 8192 * (1 + tiles + tile), 16, 1024);
    for (int i = 0; i < 4; i++) ptx::wgmma<ptx::Major::mn>(o, p[i], v + (16 * 128 * i >> 4), tile + i > 0);
    ptx::wgmma_commit();
    if (tile + 1 < tiles) {
      ptx::wgmma_wait<1>();
      s[0] += 0;  // the next scores are there while O is under way
      ptx::wgmma_wait<0>();
      round();
    }
  }
  ptx::wgmma_wait<0>();
  for (int i = 0; i < 32; i++) O[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + t % 4 * 2 + i % 2] = o[i];
}"""


def chain(code, tiles, run=run, **launch):
    """(O of the kernel, what it should be)."""
    (q, Q), (k, K), (v, V) = bf16((64, 64)), bf16((tiles, 64, 64), 1), bf16((tiles, 64, 64), 2)
    tile = [exchanged(part, 128) for part in (q, *k, *v)]
    of_k, of_v = np.concatenate(tile[1 : 1 + tiles]), np.concatenate(tile[1 + tiles :])
    y = np.zeros((64, 64), np.float32)
    memory = 8192 * (1 + 2 * tiles)
    arguments = (a.view(np.uint16) for a in (tile[0], of_k, of_v))
    run(code, 1, 128, *arguments, y, np.int32(tiles), shared_mem=memory, **launch)
    bits = np.stack([Q @ part.T for part in K]).view(np.uint32)
    P = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
    return y, sum(p @ part for p, part in zip(P, V, strict=True))


@pytest.mark.parametrize("order", [*ORDERS, "reverse"])
def test_products_of_products(order):
    y, expected = chain(CHAIN, 3, order=order, options=HOPPER)
    np.testing.assert_allclose(y, expected, rtol=2**-8, atol=0.2)  # a P may round the other way


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("      ptx::wgmma_wait<0>();\n      round", "      round", "writes register of A 0"),
        ("      ptx::wgmma_wait<1>();\n", "", None),
        ("ptx::wgmma_wait<1>();", "ptx::wgmma_wait<2>();", "reads accumulator 0"),
    ],
)
def test_registers_in_use_are_not_touched(right, wrong, message):
    assert right in CHAIN
    code = CHAIN.replace(right, wrong)
    if message is None:  # s is touched too early
        code, message = code.replace(" += 0", " = 0"), "writes accumulator 0"
    with pytest.raises(SimulatorError, match=f"unfinished wgmma: .* {message} of wgmma at .* before wgmma_wait"):
        chain(code, 3, options=HOPPER)
