"""Every cuda.cu compiles for five generations of GPUs without spills or stack, to the registers that were written down
and to the instructions that move memory fast."""

import itertools
import re

import pytest
from nlp_kernels.dispatch import ROOT
from nlp_kernels.simulator import translate
from planted import THOROUGH

from benchmarks import nvrtc, registers
from benchmarks.nvrtc import NotThereError, Usage, compile_source

try:
    VERSION = nvrtc.version()
    nvrtc.disassembler()
except NotThereError as error:
    VERSION = ""
    pytestmark = pytest.mark.skip(reason=str(error))


def to_compile():
    """Of a source whose table is up to date one, for Hopper; all of them with HYPOTHESIS_PROFILE=thorough."""
    for hot_path in registers.hot_paths():
        dtypes, architectures = registers.dtypes(hot_path), registers.architectures(hot_path)
        table = registers.written(hot_path)
        up_to_date = (table.version, table.digest) == (VERSION, registers.digest(hot_path))
        one = [(dtypes[0], "sm_90")]
        every = one if up_to_date and not THOROUGH else itertools.product(dtypes, architectures)
        yield from ((hot_path, *which) for which in every)


@pytest.mark.parametrize("hot_path", registers.hot_paths())
def test_the_table_is_of_the_source_as_it_is(hot_path):
    table = registers.written(hot_path)
    if table.version == VERSION:
        assert table.digest == registers.digest(hot_path), f"run python -m benchmarks.registers {hot_path}"


@pytest.mark.parametrize(("hot_path", "dtype", "architecture"), list(to_compile()))
def test_it_compiles_without_spills_or_stack(hot_path, dtype, architecture):
    usages = registers.compiled(hot_path, dtype, architecture, disassemble=_looked_into(hot_path, dtype, architecture))
    assert not {name: usage for name, usage in usages.items() if usage.stack or usage.spills}, "spills, or a stack"
    table = registers.written(hot_path)
    if table.version == VERSION:
        found = {(registers.readable(name), architecture): usage.registers for name, usage in usages.items()}
        wanted = {key: table.registers.get(key) for key in found}
        assert found == wanted, f"not what the table says: run python -m benchmarks.registers {hot_path}"
    if _looked_into(hot_path, dtype, architecture):
        for name, usage in usages.items():
            assert_fast_memory(registers.readable(name), usage)
            if re.match(r"hopper_(forward|backward)<", name):
                assert_products_run_under_exponentials(name, usage)


def _looked_into(hot_path, dtype, architecture):
    """Disassembled, which takes a third of the compiler's time."""
    return THOROUGH or (dtype, architecture) == (registers.dtypes(hot_path)[0], "sm_90")


TENSOR_CORES = ("LDGSTS.E.BYPASS.128", "LDSM.16.M", "HMMA.16816.F32.BF16")
WANTED = {  # what kernels of these names must have
    r"product<": TENSOR_CORES,
    r"attention_\w+<\d+>": TENSOR_CORES,
    r"multiply<": ("HGMMA.64x", "UTMALDG.2D", "UTMALDG.2D.MULTICAST", "UTMASTG.2D", "STSM.16.M", "USETMAXREG"),
    r"hopper_(forward|backward)<": ("HGMMA.64x", "UTMALDG.4D", "UTMASTG.4D", "STSM.16.M", "USETMAXREG"),
    r"hopper_rows": ("LDG.E.128",),
}


def assert_fast_memory(name, usage):
    """No local memory; accesses of 16 bytes in the kernels that are named for them (a last argument 4)."""
    local = [i for i in usage.instructions if i.startswith(("LDL", "STL"))]
    assert not local, f"{name} uses local memory: {local}"
    assert any(i.startswith(("LDG", "STG")) for i in usage.instructions), f"{name} touches no memory"
    if re.search(r", 4>$", name):
        assert any(i.startswith("LDG.E.128") for i in usage.instructions), f"{name} has no LDG.E.128"
    for pattern, instructions in WANTED.items():
        for wanted in instructions if re.match(pattern, name) else ():
            assert any(i.startswith(wanted) for i in usage.instructions), f"{name} has no {wanted}"


def assert_products_run_under_exponentials(name, usage):
    """Of a tile's exponentials at least half come after the wait for its scores and before that for what runs beside.

    The first wait leaves a group open, the second none; what comes before the next one belongs to the same tile.
    """
    scores, everything = (f"WARPGROUP.DEPBAR.LE gsb0, {groups}" for groups in ("0x1", "0x0"))
    loop = usage.instructions[usage.instructions.index(scores) :]
    first = loop.index(everything)
    second = loop.index(everything, first + 1)
    under, of_tile = (loop[:end].count("MUFU.EX2") for end in (first, second))
    assert 2 * under >= of_tile > 0, f"{name} waits before {of_tile - under} of {of_tile} exponentials"


def test_spills_and_errors_are_seen():
    code = """
    extern "C" __global__ void __launch_bounds__(1024, 2) kernel(double* y) {
      double v[64];
    #pragma unroll
      for (int i = 0; i < 64; i++) v[i] = y[i * 1024 + threadIdx.x];
      __syncthreads();
    #pragma unroll
      for (int i = 0; i < 64; i++) y[i * 1024 + threadIdx.x] = v[i] * v[63 - i];
    }"""
    usage = compile_source(code, (), ("kernel",), "sm_90", disassemble=True)["kernel"]
    assert isinstance(usage, Usage)
    assert usage.spills > 0
    assert usage.stack > 0
    with pytest.raises(AssertionError, match="local memory"):
        assert_fast_memory("kernel", usage)
    with pytest.raises(AssertionError, match=r'sm_90: .*COMPILATION\n.*"z" is undefined'):
        compile_source('extern "C" __global__ void kernel(int* y) { *y = z; }', (), ("kernel",), "sm_90")


WGMMA = """#include "wgmma.cuh"
extern "C" __global__ void kernel(float* y, unsigned long long a, unsigned long long b) {
  float d[4] = {1, 2, 3, 4};
  ptx::wgmma_fence();
  ptx::wgmma(d, a, b);
  // here
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = d[i];
}"""


def test_products_that_the_compiler_does_not_leave_alone_are_seen():
    options = ("-std=c++17", f"-I{ROOT / 'common'}", "-arch=sm_90a")
    usage = compile_source(WGMMA, options, ("kernel",), "sm_90", disassemble=True)["kernel"]
    assert any(i.startswith("HGMMA.64x8x16.F32.BF16") for i in usage.instructions)
    with pytest.raises(AssertionError, match=r"wgmma\.wait_group is injected"):
        compile_source(WGMMA.replace("// here", "d[0] += y[0];"), options, ("kernel",), "sm_90")
    with pytest.raises(AssertionError, match=r"multiply<float> has no UTMALDG\.2D"):
        assert_fast_memory("multiply<float>", usage)


def test_waits_that_come_before_a_softmax_are_seen():
    source, names = registers.source("attention.hopper"), ("hopper_forward<64>", "hopper_backward<64, false>")
    text, held = translate.flatten(source.code, []), "if (__any_sync(all_lanes, !(x >= 0))) __nanosleep(0);"
    assert held in text
    usages = compile_source(text.replace(held, ""), source.options("bfloat16"), names, "sm_90", disassemble=True)
    for name in names:
        with pytest.raises(AssertionError, match=r"waits before \d+ of \d+ exponentials"):
            assert_products_run_under_exponentials(name, usages[name])


def test_narrow_accesses_are_seen():
    code = "template <int N> __global__ void copy(float* y, const float* x) { y[threadIdx.x] = x[threadIdx.x]; }"
    usage = compile_source(code, (), ("copy<4>",), "sm_90", disassemble=True)["copy<4>"]
    with pytest.raises(AssertionError, match=r"no LDG\.E\.128"):
        assert_fast_memory("copy<float, 4>", usage)
    for kernel in ("product<float>", "attention_keys<64>"):
        with pytest.raises(AssertionError, match=rf"{kernel} has no LDGSTS"):
            assert_fast_memory(kernel, usage)
