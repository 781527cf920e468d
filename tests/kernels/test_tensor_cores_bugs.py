"""Bugs planted in the tensor-core matmul: the simulator names them, or the numbers are wrong; in two thread orders."""

import re

import numpy as np
import pytest
from nlp_kernels.matmul import tensor_cores
from nlp_kernels.simulator import RawModule, SimulatorError, simulate, translate
from planted import shown
from simulated import needs_simulator

pytestmark = needs_simulator()
WRONG = "wrong numbers"
INSTANCES = ("product<float, 64, true, false>", "split<float, 1>", "finish<float>")
CODE = translate.flatten(tensor_cores.SOURCE.code, [])
RAGGED, SHARED = (20, 75, 39), (9, 270, 7)  # M, K, N: three steps of one block; blocks that share K

# name: (shape, what is right, what is planted, the message or WRONG)
PLANTED = {
    "a group too few is waited for": (
        *(RAGGED, "copy_wait<STAGES - 2>", "copy_wait<STAGES - 1>"),
        r"unfinished copy: .* reads ring\[\d+\] in shared memory at matmul/tensor_cores.cu:\d+ \(ldmatrix",
    ),
    "no barrier of a step": (
        *(RAGGED, "__syncthreads();  \n    load(step + STAGES - 1);", "load(step + STAGES - 1);"),
        r"(race|unfinished copy|unwritten): .* ring\[\d+\]",
    ),
    "a stage is written before its readers have met": (
        *(RAGGED, "__syncthreads();  \n    load(step + STAGES - 1);", "load(step + STAGES - 1);\n    __syncthreads();"),
        r"(race|unfinished copy): .* ring\[\d+\]",
    ),
    "a ring one stage too short": (
        *(RAGGED, "ring + step % STAGES * STAGE;\n#pragma", "ring + step % (STAGES - 1) * STAGE;\n#pragma"),
        r"(race|unfinished copy|unwritten): .* ring\[\d+\]",
    ),
    "the swizzle at one side only": (
        *(RAGGED, "ldmatrix(r, part + place(row + lane % 16, k_half))",
          "ldmatrix(r, part + (row + lane % 16) * STEP + k_half)"), WRONG,
    ),
    "another swizzle at one side": (
        *(RAGGED, "place(row + lane / 8 % 2 * 8, k_half + lane % 8)",
          "(place(row + lane / 8 % 2 * 8, k_half + lane % 8) ^ 8)"), WRONG,
    ),
    "no .trans": (RAGGED, "ptx::ldmatrix_transposed(r,", "ptx::ldmatrix(r,", WRONG),
    "pieces of b in the order of a": (
        RAGGED, "{four[j % 2], four[j % 2 + 2]}", "{four[j % 2 * 2], four[j % 2 * 2 + 1]}", WRONG,
    ),
    "no lo": (RAGGED, "int order = PLANES - 1;", "int order = PLANES - 2;", WRONG),
    "mid mid is left out": (RAGGED, "p <= order; p++", "p <= order; p += 1 + (order == 2)", WRONG),
    "mid is not what hi leaves": (RAGGED, "rest[2 * i] -=", "rest[2 * i] = 0 *", WRONG),
    "sums are not added up": (RAGGED, "sum[i][j / 4][j % 4] += own", "sum[i][j / 4][j % 4] = own", WRONG),
    "no zeros beyond K": (
        *(RAGGED, "first + row < rows && k0 + k < K", "first + row < rows"),
        r"out of bounds: .* reads 8 elements from [ab]\[\d+\]",
    ),
    "no zeros beyond the rows": (
        *(RAGGED, "first + row < rows && k0 + k < K", "k0 + k < K"),
        r"out of bounds: .* reads 8 elements from [ab]\[\d+\]",
    ),
    "a split reads past the row": (
        RAGGED, "if (column + i >= columns) continue;", "", r"out of bounds: .* reads x\[\d+\] at .*tensor_cores.cu",
    ),
    "padding that is no number": (
        RAGGED, "float rest[8] = {};", "float rest[8]; for (float& r : rest) r = __int_as_float(0x7fffffff);", WRONG,
    ),
    "a share goes on to the end": (SHARED, "last = min(K, first + share)", "last = K", WRONG),
    "partial sums of all shares in one place": (
        *(SHARED, "partial[split * size + to]", "partial[to]"),
        rf"race: .* writes partial\[\d+\]|{WRONG}",
    ),
    "the sums over one plane": (
        SHARED, "number(part[p * P::SIZE + P::place(row, k)])", "p ? 0 : number(part[P::place(row, k)])", WRONG,
    ),
    "writing before all have read their stage": (
        *(RAGGED, "__syncthreads();  \n#pragma unroll\n    for (int j = 0; j < TILE / 2",
          "#pragma unroll\n    for (int j = 0; j < TILE / 2"), r"race: .* ring\[\d+\]",
    ),
    "no barrier before the rows are written out": (
        RAGGED, "__syncthreads();\n#pragma unroll 1", "#pragma unroll 1", r"(race|unwritten): .* ring\[\d+\]",
    ),
    "a number past the edge": (RAGGED, "if (m < M && n < N) f(", "f(", r"(race|out of bounds): .* writes y\["),
}  # fmt: skip


class Planted:
    """tensor_cores.SOURCE with a bug: the instances that the shapes need."""

    def __init__(self, right: str, wrong: str):
        text = re.sub(r"[ \t]+(?=\n)", "  ", CODE)  # where comments were
        assert right in text
        self.module = RawModule(code=text.replace(right, wrong), name_expressions=INSTANCES)

    def kernel(self, instance, x):
        return self.module.get_function(instance.replace("T,", "float,").replace("<T>", "<float>"))


def outcome(source, shape, order, monkeypatch):
    """What becomes of a product and the sums of b's columns: right to float32, wrong, or an error."""
    (M, K, N), rng = shape, np.random.default_rng(0)
    a, b = rng.normal(size=(M, K)).astype(np.float32), rng.normal(size=(K, N)).astype(np.float32)
    monkeypatch.setattr(tensor_cores, "SOURCE", source)
    try:
        with simulate(order):
            y, _, sums = tensor_cores._product(tensor_cores.operand(a), tensor_cores.operand(b), sums="b")
    except SimulatorError as error:
        return str(error)
    right = a.astype(np.float64) @ b.astype(np.float64), b.astype(np.float64).sum(axis=0)
    near = (np.allclose(mine, r, rtol=0, atol=2e-6 * K**0.5) for mine, r in zip((y, sums), right, strict=True))
    return "right" if all(near) else WRONG


@pytest.mark.parametrize("shape", [RAGGED, SHARED], ids=str)
def test_without_a_bug_it_is_right(shape, monkeypatch):
    assert outcome(Planted("", ""), shape, "random:1", monkeypatch) == "right"


@pytest.mark.parametrize("name", shown(PLANTED))
def test_a_planted_bug_is_caught(name, monkeypatch):
    shape, right, wrong, message = PLANTED[name]
    source = Planted(right, wrong)
    for order in ("forward", "random:1"):
        assert re.search(message, outcome(source, shape, order, monkeypatch))
