"""The kernels that the card's ceilings are measured with do what they are timed for, and compile to fast accesses."""

import numpy as np
import pytest
from nlp_kernels.simulator import RawModule, SimulatorError, SimulatorMissingError, build, simulate

from benchmarks import nvrtc
from benchmarks.gpu import ceilings

try:
    build.compiler(), build.headers()
    missing = ""
except SimulatorMissingError as error:
    missing = str(error)
try:
    nvrtc.library(), nvrtc.disassembler()
    uncompiled = ""
except nvrtc.NotThereError as error:
    uncompiled = str(error)
simulated = pytest.mark.skipif(bool(missing), reason=missing)
BLOCKS = (1, 2, 5)  # one that goes round, and more than there are tiles


def numbers(n, dtype):
    """Whole numbers, so that no sum depends on its order."""
    return np.random.default_rng(0).integers(-9, 10, n).astype(dtype)


@simulated
@pytest.mark.parametrize("order", ["forward", "random:1"])
@pytest.mark.parametrize("n", [4, 4 * 2048 + 400, 4 * 2048 * 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_is_copied_and_all_is_read(dtype, n, order):
    x = numbers(n, dtype)
    for blocks in BLOCKS:
        y, sums = np.full(n, np.nan, dtype), np.full(blocks, np.nan, dtype)
        with simulate(order):
            ceilings.copy_to(y, x, blocks)
            ceilings.sums(x, sums)
        np.testing.assert_array_equal(y, x)
        assert sums.sum() == x.sum()


@simulated
def test_multiply_adds_are_counted_and_done():
    y = np.full(64, np.nan, np.float32)
    with simulate("forward"):
        flops = ceilings.multiply_adds(y, 3, threads=32)
        ceilings.hold_up(y, 5, np.zeros(1, np.uint32))
        ceilings.nothing(y)()
    assert flops == 2 * ceilings.CHAINS * 3 * 64
    t, chains = np.arange(64) % 32, ceilings.CHAINS  # v ← v + 1 three times, from t, t + 1, …
    np.testing.assert_array_equal(y, chains * (t + 3) + chains * (chains - 1) // 2)


@simulated
@pytest.mark.parametrize(
    ("right", "wrong", "seen"),
    [
        ("held[j] = from[i + j * THREADS];\n", "if (j) held[j] = from[i + j * THREADS];\n", "copy"),
        ("if (i + j * THREADS < pieces) to[", "to[", "copy"),
        ("i + j * THREADS < pieces ? from[i + j * THREADS] : Piece{}", "from[i + j * THREADS]", "read"),
        ("if (threadIdx.x == 0) y[blockIdx.x] = sum", "y[blockIdx.x] = sum + threadIdx.x", "read"),
    ],
    ids=["a piece is not read", "written beyond the end", "read beyond the end", "every thread writes its sum"],
)
def test_bugs_in_the_ceilings_are_caught(right, wrong, seen, monkeypatch):
    source = ceilings.SOURCE
    code, options = source.code.replace(right, wrong), source.options("float32")
    assert source.code.count(right) == 1
    names = tuple(n for n in source.names("float32") if n.startswith(("copied", "summed")))
    module = RawModule(code=code, options=options, name_expressions=names)

    def kernel(self, instance, x):
        return module.get_function(instance.replace("T", "float", 1))

    monkeypatch.setattr(type(source), "kernel", kernel)
    x = numbers(400, np.float32)
    y, sums = np.full(400, np.nan, np.float32), np.full(1, np.nan, np.float32)

    def measured():
        with simulate("forward"):
            ceilings.copy_to(y, x, 1) if seen == "copy" else ceilings.sums(x, sums)
        result, expected = (y, x) if seen == "copy" else (sums[0], x.sum())
        np.testing.assert_array_equal(result, expected)

    with pytest.raises((AssertionError, SimulatorError)):
        measured()


@pytest.mark.skipif(bool(uncompiled), reason=uncompiled)
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_compile_without_spills_and_move_16_bytes(dtype, architecture):
    source = ceilings.SOURCE
    usages = nvrtc.compile_source(
        source.code, source.options(dtype), source.names(dtype), architecture, disassemble=True
    )
    assert not {name: usage for name, usage in usages.items() if usage.stack or usage.spills}
    for name, usage in usages.items():
        used = {op: [i for i in usage.instructions if i.startswith(op)] for op in ("LDG", "STG", "FFMA", "DFMA")}
        if name.startswith(("copied", "summed")):
            assert used["LDG"], name
            assert all(i.startswith("LDG.E.128") for i in used["LDG"]), name
        if name.startswith("copied"):
            assert all(i.startswith("STG.E.128") for i in used["STG"]), name
        if name.startswith("multiplied"):
            assert used["FFMA"] or used["DFMA"], name
