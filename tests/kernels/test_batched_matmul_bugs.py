"""Bugs planted in products of stacks, in the kernels and in the strides: each is named, or the numbers are wrong."""

import numpy as np
import pytest
from nlp_kernels.matmul import batches, cuda, tensor_cores
from nlp_kernels.simulator import simulate
from planted import assert_simulator_catches, plant, shown
from simulated import needs_simulator

pytestmark = needs_simulator()
INSTANCES = {
    cuda: tuple(name for name in cuda.SOURCE.instances if name.endswith((", 1>", "finish<T>"))),
    tensor_cores: ("product<T, 64, true, false>", "split<T, 1>", "finish<T>"),
}
WRONG = "is wrong"
AMISS = rf"out of bounds|{WRONG}"
BOTH, CUT, SHARED = ((2, 1), (3,), 21), ((5,), (5,), 21), ((2,), (2,), 301)  # batch axes of a and b, and K


def run(kernels, of_a, of_b, K):
    """Matrices that lie far apart, in the kernel's own order and in the other one."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*of_a, 120, 400)).astype(np.float32)[..., :5, :K]
    b = rng.normal(size=(*of_b, K, 7)).astype(np.float32)
    right = np.matmul(a.astype(np.float64), b.astype(np.float64))
    error = np.abs(kernels.product(a, b) - right)
    assert error.max() <= 1e-4, "the product is wrong"


@pytest.fixture(autouse=True)
def short_grids(monkeypatch):
    """Five products are more than an axis of the grid has; blocks are left over."""
    monkeypatch.setattr(batches, "LONGEST", 3)
    batches.batches.cache_clear()
    yield
    batches.batches.cache_clear()


# name: (shapes, right, wrong, message)
PLANTED = {
    "a stays at its first matrix": (BOTH, "blockIdx.z * a_outer + blockIdx.y * a_inner", "0", WRONG),
    "the outer axis is forgotten": (BOTH, "blockIdx.z * a_outer +", "", WRONG),
    "the inner axis is forgotten": (BOTH, "+ blockIdx.y * b_inner", "", WRONG),
    "b goes as a does": (
        BOTH, "blockIdx.z * b_outer + blockIdx.y * b_inner", "blockIdx.z * a_outer + blockIdx.y * a_inner", AMISS,
    ),
    "the axes change places": (
        BOTH, "blockIdx.z * gridDim.y + blockIdx.y", "blockIdx.y * gridDim.z + blockIdx.z", WRONG,
    ),
    "offsets of 16 bits": (
        BOTH, "blockIdx.z * a_outer + blockIdx.y * a_inner", "short(blockIdx.z * a_outer + blockIdx.y * a_inner)",
        AMISS,
    ),
    "every product at the place of the first": (
        BOTH, "(static_cast<long long>(batches.here()) * M + m) * N + n", "static_cast<long long>(m) * N + n",
        rf"race: .* writes y\[|{WRONG}",
    ),
    "products lie as far apart as rows": (
        BOTH, "(static_cast<long long>(batches.here()) * M + m) * N + n", "(batches.here() + m) * (long long)N + n",
        rf"race: .* writes y\[|{WRONG}",
    ),
    "blocks that are left over go on": (CUT, "if (batches.here() >= batches.count) return;", "", "out of bounds"),
    "the last product is left out": (CUT, ">= batches.count) return", ">= batches.count - 1) return", WRONG),
    "the sums of a share where another product's are": (
        SHARED, "partial[split * size + to]", "partial[split * (static_cast<long long>(M) * N) + to]",
        rf"race: .* writes partial\[|{WRONG}",
    ),
}  # fmt: skip


# what is split into planes lies close together, and has no large offsets
IN = [(k, name) for name in shown(PLANTED) for k in INSTANCES if name != "offsets of 16 bits" or k is cuda]


@pytest.mark.parametrize(("kernels", "name"), IN, ids=lambda v: getattr(v, "__name__", v).rpartition(".")[2])
def test_a_planted_bug_is_caught(kernels, name, monkeypatch):
    shapes, *bug = PLANTED[name]
    assert_simulator_catches(kernels, bug, INSTANCES[kernels], lambda: run(kernels, *shapes), monkeypatch)


# name: (shapes, right, wrong) in batches.py
STRIDES = {
    "the one matrix of an axis has a neighbour": (BOTH, "if n > 1 else 0", "if True else 0"),
    "axes are one where a alone steps evenly": (
        ((2, 3), (3,), 21), "axes[-1][1:] == tuple(n * stride for stride in apart)", "axes[-1][1] == n * apart[0]",
    ),
    "merged axes step as the outer one did": (CUT, "n *= axes.pop()[0]\n        axes.append((n, *apart))",
                                              "n *= axes.pop()[0]\n        axes.append((n, *(2 * s for s in apart)))"),
    "absent axes are the last ones": (BOTH, "(0,) * (len(shape) - len(apart)) + apart",
                                      "apart + (0,) * (len(shape) - len(apart))"),
    "a long axis is cut into equal steps": (CUT, "inner * a_inner, inner * b_inner", "a_inner, b_inner"),
    "a third axis is forgotten": (((2, 1, 2), (3, 1), 21), "len(axes) > 2", "len(axes) > 9"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRIDES)
def test_a_wrong_stride_is_caught(name, monkeypatch):
    shapes, right, wrong = STRIDES[name]
    with simulate():
        run(cuda, *shapes)
    mutant = plant(batches, right, wrong)
    mutant.LONGEST = 3
    for function in ("stacks", "strides", "batches"):
        monkeypatch.setattr(cuda, function, getattr(mutant, function))
    with pytest.raises(Exception, match=rf"{AMISS}|too many values"), simulate():
        run(cuda, *shapes)
