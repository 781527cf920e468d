"""Bugs planted in the AdamW step's CUDA kernels: the simulator names them, or the numbers are seen to be wrong."""

import numpy as np
import pytest
from nlp_kernels.adamw import cuda
from planted import assert_simulator_catches
from simulated import needs_simulator
from test_cuda_adamw import HYPER, assert_stepped, parameters, stepped

pytestmark = needs_simulator()
SHAPES = [(3,), (131,), (64,)]
WRONG = "Not equal to tolerance"

STEP = {  # name: (what is right, what is planted, the message)
    "a chunk that runs over its parameter": (
        *("left < length ? static_cast<int>(left) : length;\n  T* p", "length;\n  T* p"),
        r"out of bounds: .* theta\[0\]\[\d+\] at adamw/cuda.cu:\d+, but theta\[0\] has 3 elements",
    ),
    "vectors whatever the address": (
        *("aligned<V>(p) && aligned<V>(q) && aligned<V>(r) && aligned<V>(s) ? count / WIDTH : 0", "count / WIDTH"),
        r"misaligned: .* the address of [gmv]\[\d\]\[\d+\] as 'const struct Vector",
    ),
    "an address that is not looked at": (
        *("aligned<V>(r) && aligned<V>(s)", "aligned<V>(r)"),
        r"misaligned: .* the address of v\[\d\]\[\d+\] as 'const struct Vector",
    ),
    "a vector too many": (
        *("if (i >= count) continue;\n      vectors", "if (i > count) continue;\n      vectors"),
        r"out of bounds: .* reads .*theta\[\d\]\[\d+\]",
    ),
    "the last numbers once more": (*("count - done", "count"), r"out of bounds: .* theta\[\d\]\[\d+\]"),
    "the last numbers left out": (*("step<1>(", "if (!wide) step<1>("), WRONG),
    "a vector stepped twice": (*("first += ILP * blockDim.x", "first += blockDim.x"), WRONG),
    "two threads with one vector": (
        *("first + j * blockDim.x;", "(first + j * blockDim.x) / 2;"),
        r"race: .* (reads|writes) theta\[\d\]\[\d+\] at adamw/cuda.cu:\d+, which .* (read|wrote)",
    ),
    "a chunk that begins with its parameter": (
        *("ptx::global(theta[chunk.k]) + chunk.first", "ptx::global(theta[chunk.k])"),
        rf"{WRONG}|race: .* theta\[1\]",
    ),
    "a parameter too far": (
        *("g[chunk.k]) + chunk.first;\n  T* r", "g[chunk.k + 1]) + chunk.first;\n  T* r"),
        r"out of bounds: .* reads .*g(\[\d\]\[\d+\]|\[5\]) at adamw/cuda.cu:\d+",
    ),
    "a factor that is not applied": (*("g *= scale;", ""), WRONG),
    "a new mean in the second moment": (*("n.rest2 * (g * g)", "n.rest2 * (m * m)"), WRONG),
    "last step's numbers": (*("*numbers = values;", ""), WRONG),
}  # fmt: skip


@pytest.mark.parametrize("name", STEP)
def test_a_planted_bug_of_the_step_is_named(name, monkeypatch):
    monkeypatch.setattr(cuda, "LENGTH", 96)
    monkeypatch.setattr(cuda, "THREADS", 8)  # so that some go round, in chunks of 24 vectors, 8 and 3 numbers, or 96

    def run():
        rows = parameters(np.float32, SHAPES) + parameters(np.float32, SHAPES[:2], (0, 0, 0, 1))
        expected = stepped(rows, 0.25)
        cuda.step_all(rows, np.asarray(0.25, np.float32), **HYPER)
        assert_stepped(rows, expected)

    assert_simulator_catches(cuda, STEP[name], (cuda.STEP, cuda.SENDING), run, monkeypatch)


CLIP = {
    "a barrier less": (
        *("__syncthreads();\n  } else", "} else"),
        r"(race|unwritten): .* reads part\[\d+\] in shared memory at common/rows.cuh:\d+",
    ),
    "a gradient's end": (
        *("i < count; i += THREADS) sum", "i <= count; i += THREADS) sum"),
        r"out of bounds: .* reads g\[\d\]\[\d+\]",
    ),
    "every thread's own sum": (*("if (threadIdx.x == 0) partial", "partial"), r"race: .* writes partial\[\d\]"),
    "squares that overflow": (
        *("static_cast<double>(vector.v[w]) * vector.v[w]", "vector.v[w] * vector.v[w]"),
        WRONG,
    ),
    "a partial sum too many": (*("i < B; i += THREADS", "i <= B; i += THREADS"), r"out of bounds: .* partial\[\d\]"),
    "a factor above 1": (*("sum > max_norm && sum", "sum"), WRONG),
    "a factor of a norm that is infinite": (*("&& sum < infinity<double>()", ""), "an infinite norm"),
}


@pytest.mark.parametrize("name", CLIP)
def test_a_planted_bug_of_the_norm_is_named(name, monkeypatch):
    monkeypatch.setattr(cuda, "LENGTH", 64)

    def run():
        gradients = [1e25 * g for _, g, _, _ in parameters(np.float32, SHAPES)]
        right = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.longdouble))
        with np.errstate(over="ignore"):
            norm, scale = cuda.clip_scale(gradients, 2 * float(right))
        np.testing.assert_allclose((norm, scale), (right, 1), rtol=1e-12)
        gradients[0][0] = np.inf
        assert cuda.clip_scale(gradients, 1.0)[1] == 1, "an infinite norm"

    assert_simulator_catches(cuda, CLIP[name], (cuda.SQUARES, cuda.CLIP), run, monkeypatch)
