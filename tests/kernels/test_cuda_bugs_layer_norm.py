"""Bugs planted in layer norm's CUDA kernels: the simulator names them, or the numbers are seen to be wrong."""

import numpy as np
import pytest
from nlp_kernels.layer_norm import cuda, reference
from planted import assert_simulator_catches
from simulated import needs_simulator
from test_cuda_layer_norm import draw

pytestmark = needs_simulator()
WRONG = "Not equal to tolerance"
SUMS = cuda._column_sums()

FORWARD = {  # name: (rows, columns, what is right, what is planted, the message)
    "the zeros beyond the row in the variance": (
        *(3, 39, "(t, C - at, [&](int i, int) { squares", "(t, GROUP * ITEMS, [&](int i, int) { squares"),
        WRONG,
    ),
    "every thread writes the statistics": (
        *(3, 39, "if (t == 0) mean[n]", "mean[n]"),
        r"race: .* writes mean\[\d\] at layer_norm/cuda.cu:\d+, which .* wrote",
    ),
    "every block of a cluster writes them": (
        *(1, 16388, "if (t == 0) mean[n]", "if (threadIdx.x == 0) mean[n]"),
        r"race: .* of block \(\d, 0, 0\) writes mean\[0\] at layer_norm/cuda.cu:\d+, which .* wrote",
    ),
    "the first columns' gamma for all": (3, 132, "g, gamma + at, t, C - at", "g, gamma, t, C - at", WRONG),
    "threads that hold nothing leave": (
        *(3, 1500, "const T mu = row_mean<", "if (t >= 32) return;\n    const T mu = row_mean<"),
        r"divergent barrier: .* __syncthreads at common/rows.cuh:\d+",
    ),
    "y of a residual that is not added": (3, 39, "if (!residual) return;", "return;", WRONG),
}  # fmt: skip

BACKWARD = {
    "no barrier before the groups' sums are read": (
        *(14, 39, "[t] = v[i];\n    __syncthreads();", "[t] = v[i];"),
        r"(race|unwritten): .* reads part\[\d+\] in shared memory at layer_norm/cuda.cu:\d+",
    ),
    "no barrier before they are written again": (
        *(14, 39, "[g][i][t];\n    __syncthreads();", "[g][i][t];"),
        r"race: .* part\[\d+\] in shared memory at layer_norm/cuda.cu:\d+, which .* (read|wrote)",
    ),
    "a group's sums left out": (14, 39, "g < FURTHER; g++", "g < FURTHER - 1; g++", WRONG),
    "the blocks' sums in one place": (
        *(14, 39, "sums + blockIdx.x / cluster_of<GROUP> * 2LL * C", "sums"),
        rf"{WRONG}|race: .* writes sums\[\d+\]",
    ),
    "a row of sums for each block of a cluster": (
        *(4, 8196, "blockIdx.x / cluster_of<GROUP> * 2LL", "blockIdx.x * 2LL"),
        rf"{WRONG}|out of bounds: .* writes .*sums\[\d+\]",
    ),
    "sums that begin anew with each row": (
        *(14, 39, "Means<T> own{0, 0};\n    load_h", "Means<T> own{0, 0};\n    for (T& v : dbeta) v = 0;\n    load_h"),
        WRONG,
    ),
    "dgamma of what gamma has multiplied": (
        *(3, 39, "dgamma[i + j] += dhhat * hhat;", "dgamma[i + j] += dhhat * w[j] * hhat;"),
        WRONG,
    ),
    "a mean without the other warps": (3, 519, "all = warp_sums(some);", "all.dhhat = warp_sums(some).dhhat;", WRONG),
    "the gradient of h dropped": (3, 39, "g[i] += h[i];", ";", WRONG),
    "a row asked for beyond its end": (
        *(3, 39, "if (i * GROUP < C - t * WIDTH) ptx::prefetch", "ptx::prefetch"),
        r"out of bounds: .* reads dh\[\d+\]",
    ),
    "the next lanes' columns": (
        *(14, 39, "if (c < 2LL * C)\n", "if (c <= 2LL * C)\n"),
        r"out of bounds: .* reads sums\[\d+\] at layer_norm/cuda.cu:\d+",
    ),
    "no barrier before the last sum": (
        *(14, 39, "part[warp][lane] = v;\n  __syncthreads();", "part[warp][lane] = v;"),
        r"(race|unwritten): .* reads part\[\d+\] in shared memory at layer_norm/cuda.cu:\d+",
    ),
    "dgamma for dbeta": (3, 39, "dbeta[c - C] =", "dgamma[c - C] =", rf"{WRONG}|race: .* writes dgamma"),
}  # fmt: skip

LONG = {
    "pieces that overlap": (3, 519, "at += GROUP * ITEMS) load(at)", "at += GROUP) load(at)", WRONG),
    "pieces that begin with the row": (3, 5000, "ITEMS, WIDTH>(w, gamma + at, t", "ITEMS, WIDTH>(w, gamma, t", WRONG),
    "every thread writes the means": (
        *(3, 519, "if (t == 0) means", "means"),
        r"race: .* writes means\[\d\] at layer_norm/long_rows.cuh:\d+, which .* wrote",
    ),
    "two blocks with one row": (
        *(6, 200, "n += gridDim.y", "n++"),
        rf"{WRONG}|race: .* writes dx\[\d+\] at common/rows.cuh:\d+",
    ),
}  # fmt: skip


def forward(case, cotangents):
    right, (mean, rstd) = reference.forward(*case.inputs)
    ours, saved = cuda.forward(*case.inputs)
    for a, b in zip((*ours, *saved), (*right, mean, rstd), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def backward(case, cotangents):
    _, saved = reference.forward(*case.inputs)
    right = reference.backward(cotangents, *case.inputs, saved)
    for a, b in zip(cuda.backward(cotangents, *case.inputs, saved), right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FORWARD)
def test_a_planted_bug_of_forward_is_named(name, monkeypatch):
    N, C, *bug = FORWARD[name]
    case, cotangents = draw(N, C)
    instance = cuda._plan(cuda.FORWARD, case.inputs[0])[1].name("layer_norm_forward", "true")
    assert_simulator_catches(cuda, bug, (instance,), lambda: forward(case, cotangents), monkeypatch)


@pytest.mark.parametrize("name", BACKWARD)
def test_a_planted_bug_of_backward_is_named(name, monkeypatch):
    N, C, *bug = BACKWARD[name]
    case, cotangents = draw(N, C)
    instance = cuda._plan(cuda.BACKWARD, case.inputs[0])[1].name("layer_norm_backward")
    assert_simulator_catches(cuda, bug, (instance, SUMS), lambda: backward(case, cotangents), monkeypatch)


@pytest.mark.parametrize("name", LONG)
def test_a_planted_bug_of_long_rows_is_named(name, monkeypatch):
    N, C, *bug = LONG[name]
    monkeypatch.setattr(cuda, "FORWARD", ())
    monkeypatch.setattr(cuda, "BACKWARD", ())
    case, cotangents = draw(N, C)
    wide = cuda._plan((), case.inputs[0])[0]
    means, columns = cuda.ROW_MEANS[wide].name("layer_norm_row_means"), cuda._columns(wide)
    instances = cuda.LONG_FORWARD[wide].name("layer_norm_forward", "false"), means, columns, SUMS

    def run():
        forward(case, cotangents)
        backward(case, cotangents)

    assert_simulator_catches(cuda, bug, instances, run, monkeypatch)
