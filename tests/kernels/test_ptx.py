"""The wrappers of inline PTX compile for a GPU, to the instructions that they are meant to be."""

import functools
from pathlib import Path

import pytest
from nlp_kernels.dispatch import ROOT

from benchmarks import nvrtc
from benchmarks.nvrtc import NotThereError, compile_source

try:
    nvrtc.library()
    nvrtc.disassembler()
except NotThereError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

OPTIONS = ("-std=c++17", f"-I{ROOT / 'common'}")

# wrapper: (statements of a kernel of one warp, and the instruction that they become); `y` is of float, `u` of unsigned
PORTABLE = {
    "copy_async": ("ptx::copy_async<16>(s, y); ptx::copy_commit(); ptx::copy_wait<0>();", "LDGSTS.E.BYPASS.128"),
    "ldmatrix": ("unsigned r[4]; ptx::ldmatrix(r, s); u[0] = r[0] + r[1] + r[2] + r[3];", "LDSM.16.M88.4"),
    "ldmatrix of two": ("unsigned r[2]; ptx::ldmatrix(r, s); u[0] = r[0] + r[1];", "LDSM.16.M88.2"),
    "ldmatrix of one": ("unsigned r[1]; ptx::ldmatrix(r, s); u[0] = r[0];", "LDSM.16.M88"),
    "ldmatrix_transposed": (
        "unsigned r[4]; ptx::ldmatrix_transposed(r, s); u[0] = r[0] + r[1] + r[2] + r[3];",
        "LDSM.16.MT88.4",
    ),
    "mma_bf16": (
        "float d[4] = {}; unsigned a[4] = {u[0], u[1], u[2], u[3]}, b[2] = {u[4], u[5]}; ptx::mma_bf16(d, a, b);"
        "y[0] = d[0] + d[1] + d[2] + d[3];",
        "HMMA.16816.F32.BF16",
    ),
    "mma_tf32": (
        "float d[4] = {}; unsigned a[4] = {u[0], u[1], u[2], u[3]}, b[2] = {u[4], u[5]}; ptx::mma_tf32(d, a, b);"
        "y[0] = d[0] + d[1] + d[2] + d[3];",
        "HMMA.1688.F32.TF32",
    ),
    "bf16_pair": ("u[0] = ptx::bf16_pair(y[0], y[1]);", "F2FP.BF16.PACK_AB"),
    "tf32_of": ("u[0] = ptx::tf32_of(y[0]);", "LOP3.LUT"),
    "barriers": ("ptx::barrier_arrive(1, 64); ptx::barrier_sync(1, 64);", "BAR.ARV"),
}


@functools.cache
def compiled(header, architecture, kernels):
    """Statements -> usage of a kernel of them, all in one compilation."""
    hopper = architecture == "sm_90a"
    parameter = ", const __grid_constant__ ptx::TensorMap map" if hopper else ""
    code = f'#include "{header}"\n' + "".join(
        f"""extern "C" __global__ void __launch_bounds__(128, 1)
        kernel_{i}(float* y, unsigned* u{parameter}) {{
          extern __shared__ __align__(1024) float s[];
          {"__shared__ ptx::mbarrier b[1];" if hopper else ""}
          {statements}
          if (threadIdx.x == 40) y[0] = s[threadIdx.x];
        }}\n"""
        for i, statements in enumerate(kernels)
    )
    names = [f"kernel_{i}" for i in range(len(kernels))]
    usages = compile_source(code, OPTIONS, tuple(names), architecture, disassemble=True)
    return dict(zip(kernels, (usages[name] for name in names), strict=True))


def assert_becomes(header, architecture, table, wrapper):
    statements, expected = table[wrapper]
    usage = compiled(header, architecture, tuple(statements for statements, _ in table.values()))[statements]
    assert not usage.spills
    assert not usage.stack
    assert any(i.startswith(expected) for i in usage.instructions), f"no {expected} in {set(usage.instructions)}"


@pytest.mark.parametrize("wrapper", PORTABLE)
def test_portable_wrappers(wrapper):
    assert_becomes("ptx.cuh", "sm_80", PORTABLE, wrapper)


# of a warpgroup; `map` is a TensorMap, `b` an mbarrier, `s` shared memory
HOPPER = {
    "mbarrier_init": ("ptx::mbarrier_init(b, 2); ptx::fence_barrier_init();", "SYNCS.EXCH.64"),
    "mbarrier_arrive": ("ptx::mbarrier_arrive(b);", "SYNCS.ARRIVE.TRANS64.A1T0"),
    "mbarrier_arrive_remote": ("ptx::mbarrier_arrive_remote(b, 1);", "SYNCS.ARRIVE.TRANS64.RED.A1T0"),
    "mbarrier_arrive_expect_tx": ("ptx::mbarrier_arrive_expect_tx(b, 256);", "SYNCS.ARRIVE.TRANS64"),
    "mbarrier_wait": ("ptx::mbarrier_wait(b, 1);", "SYNCS.PHASECHK.TRANS64.TRYWAIT"),
    "fence_proxy_async": ("ptx::fence_proxy_async();", "FENCE.VIEW.ASYNC.S"),
    "bulk_load": ("ptx::bulk_load(s, y, 256, b);", "UBLKCP.S.G"),
    "bulk_store": ("ptx::bulk_store(y, s, 256); ptx::bulk_commit(); ptx::bulk_wait<0>();", "UBLKCP.G.S"),
    "bulk_wait_read": ("ptx::bulk_store(y, s, 256); ptx::bulk_commit(); ptx::bulk_wait_read<1>();", "DEPBAR"),
    "bulk_add": ("ptx::bulk_add(y, s, 256); ptx::bulk_commit(); ptx::bulk_wait<0>();", "UBLKRED.G.S.ADD.F32"),
    "tma_load of 1 axis": ("ptx::tma_load(s, &map, b, {1});", "UTMALDG.1D"),
    "tma_load of 2 axes": ("ptx::tma_load(s, &map, b, {1, 2});", "UTMALDG.2D"),
    "tma_load of 3 axes": ("ptx::tma_load(s, &map, b, {1, 2, 3});", "UTMALDG.3D"),
    "tma_load of 4 axes": ("ptx::tma_load(s, &map, b, {1, 2, 3, 4});", "UTMALDG.4D"),
    "tma_load of 5 axes": ("ptx::tma_load(s, &map, b, {1, 2, 3, 4, 5});", "UTMALDG.5D"),
    "tma_load_multicast": ("ptx::tma_load_multicast(s, &map, b, 3, {1, 2});", "UTMALDG.2D.MULTICAST"),
    "tma_store": ("ptx::tma_store(&map, s, {1, 2}); ptx::bulk_commit(); ptx::bulk_wait<0>();", "UTMASTG.2D"),
    "tma_prefetch": ("ptx::tma_prefetch(&map);", "UTMACCTL.PF"),
    "stmatrix": ("unsigned r[4] = {u[0], u[1], u[2], u[3]}; ptx::stmatrix(s, r);", "STSM.16.M88.4"),
    "stmatrix_transposed": ("unsigned r[2] = {u[0], u[1]}; ptx::stmatrix_transposed(s, r);", "STSM.16.MT88.2"),
    "setmaxnreg": ("if (u[0]) ptx::setmaxnreg_inc<240>(); else ptx::setmaxnreg_dec<24>();", "USETMAXREG"),
}  # fmt: skip


# N: products of 64 x N; all sizes with both operands in shared memory, some with the other forms
SIZES = {("ptx::wgmma", "p"): range(8, 257, 8)} | {
    (f"ptx::wgmma<{majors}>", a): (8, 64, 256)
    for majors, a in (
        ("ptx::Major::k, ptx::Major::mn", "p"),
        ("ptx::Major::mn, ptx::Major::k", "p"),
        ("ptx::Major::k", "r"),
        ("ptx::Major::mn", "r"),
    )
}
WGMMA = {
    f"{function}({a}) {N}": (
        f"""float d[{N // 2}];
        for (int i = 0; i < {N // 2}; i++) d[i] = y[i * 128 + threadIdx.x];
        unsigned r[4] = {{u[0], u[1], u[2], u[3]}};
        auto p = ptx::wgmma_descriptor<128>(s, 16, 1024), q = ptx::wgmma_descriptor<128>(s + 2048, 16, 1024);
        ptx::wgmma_fence();
        {function}(d, {a}, q);
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        for (int i = 0; i < {N // 2}; i++) y[i * 128 + threadIdx.x] = d[i];""",
        f"HGMMA.64x{N}x16.F32.BF16",
    )
    for (function, a), sizes in SIZES.items()
    for N in sizes
}


@pytest.mark.parametrize("wrapper", HOPPER)
def test_wrappers_of_hopper(wrapper):
    assert_becomes("wgmma.cuh", "sm_90a", HOPPER, wrapper)


@pytest.mark.parametrize("wrapper", WGMMA)
def test_wgmma_of_every_size(wrapper):
    assert_becomes("wgmma.cuh", "sm_90a", WGMMA, wrapper)


@pytest.mark.parametrize("k_first", ["false", "true"])
def test_a_pipeline_of_them(k_first):
    """The kernel whose bugs test_pipelines.py plants compiles without spills, and uses what it is meant to."""
    code = (Path(__file__).parent / "pipelines" / "gemm.cu").read_text()
    name = f"gemm<{k_first}, 4>"
    usage = compile_source(code, OPTIONS, (name,), "sm_90a", disassemble=True)[name]
    assert not usage.spills
    assert not usage.stack
    for expected in ("HGMMA.64x64x16.F32.BF16", "UTMALDG.2D", "UTMASTG.2D", "STSM.16.M88.4", "USETMAXREG"):
        assert any(i.startswith(expected) for i in usage.instructions), f"no {expected} in {set(usage.instructions)}"
