"""The wrappers of inline PTX compile for a GPU, to the instructions that they are meant to be."""

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

# wrapper: (statements of a kernel of one warp with `y` of float, `u` of unsigned; and the instruction that it becomes)
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


def instructions(header, statements, architecture):
    code = f"""#include "{header}"
    extern "C" __global__ void kernel(float* y, unsigned* u) {{
      __shared__ alignas(1024) float s[1024];
      s[threadIdx.x] = y[threadIdx.x];
      __syncwarp();
      {statements}
      y[threadIdx.x] += s[31 - threadIdx.x];
    }}"""
    return compile_source(code, OPTIONS, ("kernel",), architecture, disassemble=True)["kernel"].instructions


@pytest.mark.parametrize("wrapper", PORTABLE)
def test_portable_wrappers(wrapper):
    statements, expected = PORTABLE[wrapper]
    found = instructions("ptx.cuh", statements, "sm_80")
    assert found[expected], f"{expected} is not among {sorted(found)}"
