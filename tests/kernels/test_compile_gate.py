"""Every cuda.cu compiles for five generations of GPUs, float and double: no spills, no stack, registers as expected."""

from importlib import import_module

import numpy as np
import nvrtc
import pytest
from nlp_kernels import dispatch
from nvrtc import ARCHITECTURES, NotThereError, Usage, compile_source

try:
    nvrtc.library()
except NotThereError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

SOURCES = sorted(path.parent.name for path in dispatch.ROOT.glob("*/cuda.cu"))
# The most that any architecture may take; with 512 threads in a block there are 128 for each, with 128 there are 255.
REGISTERS = {"adamw": 128, "softmax": 168}


def compiled(hot_path, dtype, architecture):
    source = import_module(f"nlp_kernels.{hot_path}.cuda").SOURCE
    return compile_source(source.code, source.options, source.names(dtype), architecture)


def test_every_source_has_a_bound():
    assert set(SOURCES) == set(REGISTERS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("hot_path", SOURCES)
def test_it_compiles_without_spills_or_stack(hot_path, dtype, architecture, record_property):
    usages = compiled(hot_path, dtype, architecture)
    record_property("registers", {name: usage.registers for name, usage in usages.items()})
    print("\n".join(f"{architecture} {usage.registers:4d} registers  {name}" for name, usage in usages.items()))
    most = REGISTERS[hot_path]
    wrong = {name: usage for name, usage in usages.items() if usage.stack or usage.spills or usage.registers > most}
    assert not wrong, f"more than {most} registers, or spills, or a stack: {wrong}"


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
    usage = compile_source(code, (), ("kernel",), "sm_90")["kernel"]
    assert isinstance(usage, Usage)
    assert usage.spills > 0
    assert usage.stack > 0
    with pytest.raises(AssertionError, match=r'sm_90: .*COMPILATION\n.*"z" is undefined'):
        compile_source('extern "C" __global__ void kernel(int* y) { *y = z; }', (), ("kernel",), "sm_90")
