"""Every CPU kernel, compiled for narrower processors than this one: the same contract at each vector width."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from planted import THOROUGH

ROOT = Path(__file__).parents[2]
WIDTHS = {"nehalem": (16, "sse4.2"), "haswell": (32, "avx2")}  # LLVM's processor: bytes in a vector, what it needs


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize("processor", WIDTHS if THOROUGH else ["haswell"])  # compiling takes a minute and more for each
def test_the_contract_holds_at_this_width(processor):
    size, feature = WIDTHS[processor]
    if not llvm.get_host_cpu_features().get(feature):
        pytest.skip(f"this processor has no {feature}")
    environment = {
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": "",  # those of the name, not this machine's
        "TINYGRAD_NLP_VECTOR_BYTES": str(size),
        "HYPOTHESIS_PROFILE": "default" if THOROUGH else "few",
    }
    some = "softmax or layer_norm or matmul or gru"  # loops over rows, products, and both
    chosen = "cpu or packed" if THOROUGH else f"(cpu or packed) and f32 and ({some})"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", chosen, "tests/kernels/test_contract.py"],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
