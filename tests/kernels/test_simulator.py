"""The simulator does what a GPU does: collectives, barriers, memory, atomics, clusters, copies; and wrong launches."""

import numpy as np
import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import (
    ORDERS,
    Pointers,
    RawModule,
    SimulatorError,
    SimulatorMissingError,
    build,
    every_order,
    simulate,
    simulating,
)
from simulated import body, needs_simulator, result, run

pytestmark = needs_simulator()
LANES = np.arange(32)
EVERY = [*ORDERS, "reverse"]


@pytest.mark.parametrize("order", EVERY)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("__shfl_sync(~0u, t * t, 5)", np.full(32, 25)),
        ("__shfl_sync(~0u, t, t + 1)", (LANES + 1) % 32),
        ("__shfl_sync(~0u, t, 3, 8)", LANES // 8 * 8 + 3),
        ("__shfl_up_sync(~0u, t, 2)", np.where(LANES < 2, LANES, LANES - 2)),
        ("__shfl_up_sync(~0u, t, 1, 4)", np.where(LANES % 4 < 1, LANES, LANES - 1)),
        ("__shfl_down_sync(~0u, t, 3)", np.where(LANES > 28, LANES, LANES + 3)),
        ("__shfl_down_sync(~0u, t, 2, 16)", np.where(LANES % 16 > 13, LANES, LANES + 2)),
        ("__shfl_xor_sync(~0u, t, 7)", LANES ^ 7),
        ("(int)__ballot_sync(~0u, t % 3 == 0)", np.full(32, sum(1 << i for i in range(0, 32, 3))).astype(np.int32)),
        ("__any_sync(~0u, t == 31) + 2 * __any_sync(~0u, t > 31)", np.ones(32)),
        ("__all_sync(~0u, t < 32) + 2 * __all_sync(~0u, t < 31)", np.ones(32)),
        ("__popc(__match_any_sync(~0u, t / 4))", np.full(32, 4)),
        ("__reduce_add_sync(~0u, t)", np.full(32, LANES.sum())),
        ("__reduce_max_sync(~0u, t) - __reduce_min_sync(~0u, t)", np.full(32, 31)),
        ("(int)__reduce_xor_sync(~0u, 1u << t)", np.full(32, -1)),
        ("(int)__activemask()", np.full(32, -1)),
        ("(int)__shfl_xor_sync(~0u, 1000.0 * t, 1) / 1000", LANES ^ 1),
    ],
)
def test_warp_collectives(expression, expected, order):
    np.testing.assert_array_equal(result(f"y[t] = {expression};", order=order), expected)


@pytest.mark.parametrize("order", EVERY)
def test_a_mask_names_the_lanes_that_meet(order):
    """Half a warp each way, and the halves need not wait for each other."""
    text = """
      unsigned even = 0x55555555u;
      if (t % 2 == 0) {
        for (int i = 0; i < 3; i++) y[t] = __shfl_sync(even, t + i, 30);
      } else {
        y[t] = __reduce_add_sync(~even, t);
        __syncwarp(~even);
      }"""
    np.testing.assert_array_equal(result(text, order=order), np.where(LANES % 2, 256, 32))


def test_match_all_and_a_warp_that_is_not_full():
    text = "int all; unsigned m = __match_all_sync(~0u, t < 40, &all); y[t] = all * 100 + __popc(m);"
    expected = np.where(np.arange(40) < 32, 132, 108)
    np.testing.assert_array_equal(result(text, 40), expected)


@pytest.mark.parametrize("order", EVERY)
def test_block_barriers_order_shared_memory_and_count(order):
    text = """
      __shared__ int a[96], sum;
      a[t] = t;
      int odd = __syncthreads_count(t % 2), all = __syncthreads_and(t < 96), any = __syncthreads_or(t > 95);
      if (t == 0) { sum = 0; for (int i = 0; i < 96; i++) sum += a[i]; }
      __syncthreads();
      y[t] = sum + 10000 * odd + 1000000 * all + 2000000 * any + a[95 - t];"""
    np.testing.assert_array_equal(result(text, 96, order=order), 4560 + 480000 + 1000000 + 95 - np.arange(96))


@pytest.mark.parametrize("order", EVERY)
def test_named_barriers_pass_a_buffer_from_producers_to_consumers(order):
    code = '#include "ptx.cuh"\n' + body("""
      __shared__ int a[32];
      for (int i = 0; i < 4; i++) {
        if (t < 32) {
          if (i) ptx::barrier_sync(2, 64);
          a[t] = 100 * i + t;
          ptx::barrier_arrive(1, 64);
        } else {
          ptx::barrier_sync(1, 64);
          y[32 * i + t - 32] = a[63 - t];
          if (i < 3) ptx::barrier_arrive(2, 64);
        }
      }""")
    y = np.zeros(128, np.int32)
    run(code, 1, 64, y, order=order, options=(f"-I{ROOT / 'common'}",))
    np.testing.assert_array_equal(y, np.concatenate([100 * i + LANES[::-1] for i in range(4)]))


def test_dynamic_shared_memory_and_types_of_any_name():
    code = """
    template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T v[N]; };
    template <typename T, int N> __global__ void kernel(T* y) {
      extern __shared__ __align__(16) unsigned char raw[];  // of any type
      __shared__ alignas(32) Pack<T, 2> packs[N][2], one;
      T* a = reinterpret_cast<T*>(raw);
      a[threadIdx.x] = threadIdx.x;
      packs[threadIdx.x][1].v[1] = a[threadIdx.x] + 1;
      if (threadIdx.x == 0) one = {3, 4};
      __syncthreads();
      y[threadIdx.x] = packs[N - 1 - threadIdx.x][1].v[1] * a[threadIdx.x] + one.v[1];
    }"""
    for T, dtype in (("float", np.float32), ("double", np.float64)):
        y = np.zeros(8, dtype)
        run(code, 1, 8, y, name=f"kernel<{T}, 8>", shared_mem=8 * y.itemsize)
        np.testing.assert_array_equal(y, (8 - np.arange(8)) * np.arange(8) + 4)


@pytest.mark.parametrize("order", EVERY)
def test_atomics(order):
    text = """
      __shared__ unsigned s[2];
      if (t < 2) s[t] = 0;
      __syncthreads();
      atomicAdd(&s[0], 1u), atomicMax(&s[1], (unsigned)t);
      atomicAdd(&y[0], t), atomicSub(&y[1], 1), atomicMin(&y[2], -t), atomicOr(&y[3], 1 << t % 8), atomicXor(&y[4], t);
      atomicAnd(&y[5], ~(1 << t % 4)), atomicExch(&y[6], 7), atomicCAS(&y[7], 0, 1);
      __syncthreads();
      if (t == 0) y[8] = s[0], y[9] = s[1];"""
    y = np.zeros(10, np.int32)
    y[5] = 255
    run(body(text), 1, 64, y, order=order)
    np.testing.assert_array_equal(y, [2016, -64, -63, 255, 0, 240, 7, 1, 64, 63])
    f = np.zeros(1, np.float64)
    run(body("atomicAdd(y, 0.5);", "double* y"), 3, 32, f, order=order)
    assert f == 48


@pytest.mark.parametrize("order", EVERY)
def test_a_lock_of_atomics(order):
    text = """
      if (t % 32 == 0) {
        while (atomicCAS(&y[0], 0, 1)) __nanosleep(20);
        __threadfence();
        y[1] = y[1] + 1;
        __threadfence();
        atomicExch(&y[0], 0);
      }"""
    y = np.zeros(2, np.int32)
    run(body(text), 4, 128, y, order=order)
    np.testing.assert_array_equal(y, [0, 16])


@pytest.mark.parametrize("order", EVERY)
def test_the_last_block_finishes(order):
    """A reduction over a grid without a second kernel: partial sums, a fence, a counter of arrivals."""
    code = """
    extern "C" __global__ void kernel(const int* x, int* parts, unsigned* arrived, int* y) {
      __shared__ bool last;
      int s = __reduce_add_sync(~0u, x[blockIdx.x * 32 + threadIdx.x]);
      if (threadIdx.x == 0) {
        parts[blockIdx.x] = s;
        __threadfence();
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
      }
      __syncthreads();
      if (last && threadIdx.x == 0) {
        int all = 0;
        for (int i = 0; i < gridDim.x; i++) all += parts[i];
        *y = all;
      }
    }"""
    x = np.arange(5 * 32, dtype=np.int32)
    y, parts, arrived = np.zeros(1, np.int32), np.zeros(5, np.int32), np.zeros(1, np.uint32)
    run(code, 5, 32, x, parts, arrived, y, order=order)
    assert y == x.sum()


GRID = """#include <cooperative_groups.h>
namespace cg = cooperative_groups;
template <int T> __global__ void kernel(const float* W, float* h, unsigned* arrived) {  // h: (T + 1, H)
  int H = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int t = 0; t < T; t++) {
    float s = 0;
    for (int k = 0; k < H; k++) s += W[i * H + k] * h[t * H + k];
    h[(t + 1) * H + i] = s;
    BARRIER
  }
}"""
OWN_BARRIER = """__syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(arrived, 1u);
      while (atomicAdd(arrived, 0u) < (t + 1) * gridDim.x) { }
      __threadfence();
    }
    __syncthreads();"""


@pytest.mark.parametrize("order", EVERY)
@pytest.mark.parametrize("barrier", ["cg::this_grid().sync();", OWN_BARRIER], ids=["grid.sync", "atomics"])
def test_a_cooperative_grid_runs_a_recurrence(barrier, order):
    rng, H, T = np.random.default_rng(0), 48, 3
    W, h = rng.normal(size=(H, H)).astype(np.float32), np.zeros((T + 1, H), np.float32)
    h[0] = rng.normal(size=H)
    expected = [h[0]]
    for _ in range(T):
        expected.append(W @ expected[-1])
    arrived = np.zeros(1, np.uint32)
    run(GRID.replace("BARRIER", barrier), 3, 16, W, h, arrived, name=f"kernel<{T}>", cooperative=True, order=order)
    np.testing.assert_allclose(h, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("order", EVERY)
def test_clusters_read_each_others_shared_memory(order):
    code = """#include "ptx.cuh"
    extern "C" __global__ void __cluster_dims__(4, 1, 1) kernel(int* y) {
      __shared__ int a[32];
      a[threadIdx.x] = 100 * blockIdx.x + threadIdx.x;
      ptx::cluster_sync();
      unsigned next = (ptx::cluster_rank() + 1) % ptx::cluster_size();
      y[blockIdx.x * 32 + threadIdx.x] = ptx::map_shared(a, next)[31 - threadIdx.x];
      ptx::cluster_sync();
    }"""
    y = np.zeros(8 * 32, np.int32)
    run(code, 8, 32, y, order=order, options=(f"-I{ROOT / 'common'}",))
    block = np.arange(8)
    neighbour = block // 4 * 4 + (block + 1) % 4
    np.testing.assert_array_equal(y.reshape(8, 32), 100 * neighbour[:, None] + LANES[::-1])


COPIES = """#include "ptx.cuh"
extern "C" __global__ void kernel(const float4* x, float4* y, int n) {
  __shared__ float4 ring[2][32];
  int t = threadIdx.x;
  ptx::copy_async<16>(&ring[0][t], &x[t], t < n);
  ptx::copy_commit();
  for (int i = 0; 32 * i < n; i++) {
    int next = 32 * (i + 1) + t;
    ptx::copy_async<16>(&ring[(i + 1) % 2][t], &x[next < n ? next : 0], next < n);
    ptx::copy_commit();
    ptx::copy_wait<1>();
    __syncthreads();
    if (32 * i + t < n) y[32 * i + t] = ring[i % 2][t ^ 1];
    __syncthreads();
  }
  ptx::copy_wait<0>();
}"""


@pytest.mark.parametrize("order", EVERY)
def test_asynchronous_copies(order):
    x = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32)
    y = np.zeros_like(x)
    run(COPIES, 1, 32, x, y, np.int32(70), order=order, options=(f"-I{ROOT / 'common'}",))
    np.testing.assert_array_equal(y, x[np.arange(70) ^ 1])


def test_half_precision_is_cudas_own():
    code = """#include <cuda_bf16.h>
    #include <cuda_fp16.h>
    template <typename T> __global__ void kernel(const float* x, T* y, float* z) {
      y[threadIdx.x] = T(x[threadIdx.x]);
      z[threadIdx.x] = float(y[threadIdx.x]) + float(__shfl_xor_sync(~0u, y[threadIdx.x], 1));
    }"""
    x = np.random.default_rng(0).normal(size=32).astype(np.float32)
    y, z = np.zeros(32, np.uint16), np.zeros(32, np.float32)
    run(code, 1, 32, x, y, z, name="kernel<__half>")
    np.testing.assert_array_equal(y.view(np.float16), x.astype(np.float16))
    run(code, 1, 32, x, y, z, name="kernel<__nv_bfloat16>")
    wide = (y.astype(np.uint32) << 16).view(np.float32)
    assert np.all(np.abs(wide - x) <= np.abs(x) * 2**-8)
    np.testing.assert_array_equal(z, wide + wide[LANES ^ 1])


def test_indices_of_three_dimensions_values_by_copy_and_null_pointers():
    code = """
    struct Step { float scale; int shift[3]; };
    extern "C" __global__ void kernel(float* y, Step s, double d, const float* none, bool b) {
      unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
      unsigned g = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      unsigned n = blockDim.x * blockDim.y * blockDim.z;
      y[g * n + t] = s.scale * (g * n + t) + s.shift[2] + d + (none != nullptr) + b;
    }"""
    y = np.zeros(2 * 3 * 2 * 4 * 2 * 3, np.float32)
    step = np.array([(2.0, (0, 0, 5))], np.dtype([("scale", "f4"), ("shift", "i4", 3)]))
    run(code, (2, 3, 2), (4, 2, 3), y, step, np.float64(0.25), None, np.bool_(True))
    np.testing.assert_array_equal(y, 2 * np.arange(y.size) + 6.25)


def test_one_array_given_twice_is_one_array():
    y = np.arange(8, dtype=np.int32)
    code = body("int v = x[t + 1]; __syncwarp(); y[t] = v;", "const int* x, int* y")
    run(code, 1, 7, y, y)
    np.testing.assert_array_equal(y, [1, 2, 3, 4, 5, 6, 7, 7])
    z = np.arange(8, dtype=np.int32)
    run(code, 1, 4, z[:5], z[4:])
    np.testing.assert_array_equal(z, [0, 1, 2, 3, 1, 2, 3, 4])


TABLE = body("for (int k = 0; k < K; k++) if (x[k]) for (int i = t; i < n[k]; i += 32) y[k][i] += 2 * x[k][i];",
             "float* const* y, const float* const* x, const int* n, int K")  # fmt: skip


@pytest.mark.parametrize("order", EVERY)
def test_arrays_by_a_table_of_their_addresses(order):
    """Of any size, an empty one and a null pointer among them; and one that is in two tables."""
    sizes = [5, 0, 70, 1, 3]
    y = [np.arange(n, dtype=np.float32) for n in sizes]
    x = [np.full(n, k + 1, np.float32) for k, n in enumerate(sizes)]
    x[4], x[3] = None, y[3]
    expected = [a if b is None else a + 2 * b for a, b in zip(y, x, strict=True)]
    table = Pointers(y), Pointers(x)
    run(TABLE, 1, 32, *table, np.array(sizes, np.int32), np.int32(5), order=order)
    for a, b in zip(y, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert x[0].tolist() == [1] * 5  # and the others are as they were


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (lambda y, x: (y[0], Pointers(x)), "y is a table, expected Pointers or None, not array"),
        (lambda y, x: (Pointers(y), Pointers([x[0], x[1].astype(np.float64)])), r"x\[1\] has float64 elements of 8"),
        (lambda y, x: (Pointers([y[0], y[1][::2]]), Pointers(x)), r"y\[1\] is not contiguous"),
        (lambda y, x: (Pointers([np.broadcast_to(y[1][:1], 1)]), Pointers(x)), r"y\[0\] is written, .* read-only"),
        (lambda y, x: (Pointers([y[0], [1.0]]), Pointers(x)), r"y\[1\] is a pointer, expected a NumPy array or None"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused(tables, message):
    y, x = np.zeros((2, 2, 8), np.float32)
    with pytest.raises(SimulatorError, match=message):
        run(TABLE, 1, 32, *tables(list(y), list(x)), np.array([8, 8], np.int32), np.int32(2))
    with pytest.raises(SimulatorError, match="y is no table of pointers"):
        run(body("y[t] = 0;"), 1, 8, Pointers([np.zeros(8, np.int32)]))


def test_every_order_gives_the_same_bits():
    assert not simulating()

    def sums(text):
        y = np.zeros(1, np.float32)
        run_here(body(text, "float* y"), 1, 64, y)
        return y

    assert every_order(lambda: sums("__syncthreads(); if (t == 0) *y = 1.5f;")) == 1.5
    with pytest.raises(
        SimulatorError, match=r"the thread order changes result 0: element \(0,\) is .* in order random"
    ):
        every_order(lambda: sums("atomicAdd(y, 1.0f / (t + 1));"))
    with simulate("random:5"):
        assert simulating()


def run_here(code, grid, block, *args):
    RawModule(code=code).get_function("kernel")((grid,), (block,), args)


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (lambda k, y: k((1,), (32,), (y, np.int64(3), None)), "n is int64 of 8 bytes, the kernel takes 4"),
        (lambda k, y: k((1,), (32,), (y, 3, None)), "n is int64 of 8 bytes, the kernel takes 4"),
        (lambda k, y: k((1,), (32,), (y, np.int32(3))), r"2 arguments for 3 parameters \(y, n, x\)"),
        (lambda k, y: k((1,), (32,), (y.astype(np.float64), np.int32(3), y)), "y has float64 elements of 8 bytes"),
        (lambda k, y: k((1,), (32,), (y[::2], np.int32(3), y)), "y is not contiguous"),
        (lambda k, y: k((1,), (32,), (np.broadcast_to(y[:1], 1), np.int32(3), y)), "y is written, .* read-only"),
        (lambda k, y: k((1,), (32,), ([1.0], np.int32(3), y)), "y is a pointer, expected a NumPy array or None"),
        (lambda k, y: k((1,), (1025,), (y, np.int32(3), y)), r"a block of \(1025,\) threads, expected 1 to 1024"),
        (lambda k, y: k((0,), (32,), (y, np.int32(3), y)), r"a grid of \(0,\) blocks"),
        (lambda k, y: k((1,), (32,), (y, np.int32(3), y), shared_mem=50000), "set it first"),
    ],
)
def test_a_wrong_launch_is_refused(launch, message):
    kernel = RawModule(code=body("y[t] = n;", "float* y, int n, const float* x")).get_function("kernel")
    with pytest.raises(SimulatorError, match=message):
        launch(kernel, np.zeros(32, np.float32))


def test_a_source_that_does_not_compile_is_named_with_its_line():
    with pytest.raises(SimulatorError, match=r"does not compile:\nkernel.cu:3:.*'z' was not declared"):
        result("y[t] = z;")
    with pytest.raises(SimulatorError, match=r'kernel.cu:1: there is no "nowhere.cuh" in'):
        run('#include "nowhere.cuh"\n' + body(""), 1, 32, np.zeros(1, np.int32))
    with pytest.raises(SimulatorError, match="no kernel 'other'; it has kernel"):
        run(body(""), 1, 32, np.zeros(1, np.int32), name="other")


@pytest.mark.parametrize("order", ["sideways", "random", "random:x", "forward:1"])
def test_an_unknown_order_is_refused(order):
    with pytest.raises(SimulatorError, match="no thread order"), simulate(order):
        pass


@pytest.mark.parametrize(
    ("function", "patch", "message"),
    [
        ("compiler", {"shutil.which": lambda name: None}, r"g\+\+, which is not there: apt-get install g\+\+"),
        ("headers", {"_header_folders": lambda: ()}, "pip install nvidia-cuda-runtime nvidia-cuda-crt"),
        ("compiler", {"platform.machine": lambda: "aarch64"}, "runs on x86-64 Linux, this is linux aarch64"),
    ],
)
def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch, function, patch, message):
    for target, replacement in patch.items():
        monkeypatch.setattr(f"nlp_kernels.simulator.build.{target}", replacement)
    with pytest.raises(SimulatorMissingError, match=message):
        getattr(build, function).__wrapped__()


def test_a_key_holds_all_that_a_library_is_made_of(monkeypatch, tmp_path):
    """Another source, flag or header is another library; the same ones are compiled once."""
    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path))
    compiled = []
    monkeypatch.setattr(build, "_compile", lambda arguments: (compiled.append(arguments), _touch(arguments)))
    first = build.library("int a;")
    assert build.library("int a;") == first
    assert build.library("int b;") != first
    monkeypatch.setattr(build, "INSTRUMENTED", (*build.INSTRUMENTED, "-g"))
    assert build.library("int a;") != first
    assert sum("-c" in arguments for arguments in compiled) == 4  # the runtime once, three sources


def _touch(arguments):
    open(arguments[arguments.index("-o") + 1], "w").close()
