"""Bugs planted in the embedding's CUDA kernels: the simulator names them, or the numbers are seen to be wrong."""

import numpy as np
import pytest
from nlp_kernels.determinism import use_deterministic_algorithms
from nlp_kernels.embedding import cuda
from planted import assert_simulator_catches
from simulated import needs_simulator
from test_cuda_embedding import by_pieces, lookup

pytestmark = needs_simulator()
WRONG = "Arrays are not equal"
GATHER = ("embedding_gather<T, long long, 16 / sizeof(T)>",)
SUMS = (
    "embedding_keys<long long>",
    "embedding_bounds",
    *(f"embedding_{k}<T, 16 / sizeof(T)>" for k in ("pieces", "rows")),
)
SCATTER = ("embedding_scatter<T, long long, 16 / sizeof(T)>",)

PLANTED = {  # name: (kernels, what is right, what is planted, the message)
    "a wrong index that is believed": (
        *(GATHER, "if (static_cast<unsigned long long>(j[a]) < V) row", "row"),
        r"(out of bounds|bad pointer): .* reads .*(table\[-?\d+\]|address)",
    ),
    "a negative index that is small": (
        *(GATHER, "static_cast<unsigned long long>(j[a]) < V) row", "j[a] < V) row"),
        r"out of bounds: .* reads .*table\[-\d+\] at embedding/cuda.cu:\d+",
    ),
    "an index past the last": (
        *(GATHER, "n + a * step < N ? static_cast<long long>(indices[n + a * step]) : V", "indices[n + a * step]"),
        r"out of bounds: .* reads indices\[\d+\] at embedding/cuda.cu:\d+, but indices has 90 elements",
    ),
    "a row past the last": (
        *(GATHER, "if (n + a * step < N) store", "store"),
        r"out of bounds: .* writes .*y\[\d+\] at embedding/cuda.cu:\d+",
    ),
    "a group too many": (
        *(GATHER, "threadIdx.x / lanes;\n", "threadIdx.x / lanes / 2;\n"),
        r"race: .* writes y\[\d+\] at embedding/cuda.cu:\d+, which .* wrote",
    ),
    "a row's end that is never written": (*(GATHER, "c < D; c +=", "c < D - WIDTH; c +="), WRONG),
    "columns one by one, vectors wide": (
        *(GATHER, "threadIdx.x % lanes) * WIDTH", "threadIdx.x % lanes)"),
        r"(misaligned|race): .*",
    ),
    "an end that is not marked": (*(SUMS, "i == N - 1 || keys", "i < N - 1 && keys"), WRONG),
    "a key past the last": (
        *(SUMS, "i == N - 1 || keys[i + 1]", "keys[i + 1]"),
        r"out of bounds: .* reads keys\[90\] at embedding/cuda.cu:\d+, but keys has 90 elements",
    ),
    "a row of the table for what counts for none": (
        *(SUMS, "if (r == V) continue;\n    if (i", "if (i"),
        r"out of bounds: .* writes bounds\[(22|23)\] at embedding/cuda.cu:\d+, but bounds has 22 elements",
    ),
    "padding that counts": (*(SUMS, "< V && j != ignored;", "< V;"), WRONG),
    "positions in the place of rows": (*(SUMS, "keys[i] & mask; });\n      }", "1ll * i; });\n      }"), WRONG),
    "a long row that begins in two places": (
        *(SUMS, "begin % piece ? begin / piece : -1", "begin / piece"),
        WRONG,
    ),
    "a long row's last piece left out": (*(SUMS, "(end - 1) / piece + 1", "(end - 1) / piece"), WRONG),
    "a piece that takes its neighbour's positions": (*(SUMS, "min(end, stop)", "end"), WRONG),
    "a piece past the last position": (
        *(SUMS, "min(start + piece, N)", "start + piece"),
        r"out of bounds: .* reads keys\[\d+\] at embedding/cuda.cu:\d+, but keys has 90 elements",
    ),
    "the loaded rows past the last added": (*(SUMS, "if (i + a >= to) continue;", ""), WRONG),
    "sums without atomic operations": (
        *(SCATTER, "atomicAdd(dtable + j * D + c + w, row.v[w])", "dtable[j * D + c + w] += row.v[w]"),
        r"race: .* (reads|writes) dtable\[\d+\] at embedding/cuda.cu:\d+",
    ),
    "an atomic sum of what counts for none": (
        *(SCATTER, "if (static_cast<unsigned long long>(j) >= V || j == ignored) continue;", ""),
        r"(out of bounds|bad pointer): .* writes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_named(name, monkeypatch):
    kernels, *bug = PLANTED[name]
    monkeypatch.setattr(cuda, "PIECE", 16)

    def check(table, indices, dy):
        right = (indices >= 0) & (indices < 11)
        if kernels == GATHER:
            y, _ = cuda.forward(table, indices)
            np.testing.assert_array_equal(y[right], table[indices[right]])
            return
        counted = right & (indices != 7)
        with use_deterministic_algorithms(kernels != SCATTER):
            (dtable,) = cuda.backward(dy, table, indices, padding_idx=7)
        if kernels == SUMS:
            np.testing.assert_array_equal(dtable, by_pieces(dy[counted], indices[counted], 11, 16))

    def run():
        table, indices, dy = lookup(np.float32, np.int64, D=20)
        check(table, np.random.default_rng(0).permutation(np.repeat([0, 4, 10], [16, 50, 24])), dy)
        indices[[3, 40]] = 11, -1
        check(table, indices, dy)

    assert_simulator_catches(cuda, tuple(bug), kernels, run, monkeypatch)
