"""Rows of a table and the scatter-add of their gradients, indices uniform or by Zipf's law, forward and backward.

python -m benchmarks.embedding              --help lists the options
"""

import numpy as np
from nlp_kernels import embedding

from benchmarks.hot_path import Benchmark, Work, main


def ours(table, indices, dy):
    y, saved = embedding.forward(table, indices)
    (dtable,) = embedding.backward(dy, table, indices, saved)
    return {"y": y, "dtable": dtable}


def torch(torch, table, indices):
    return torch.nn.functional.embedding(indices, table)


def jax(jax, table, indices):
    return table[indices]


def work(rng, dtype, V, D, N, law):
    """Forward reads and writes N rows; backward writes V rows of zeros, then reads two rows and writes one, N times."""
    rank = 1 / np.arange(1.0, V + 1)
    p = rank / rank.sum() if law == "Zipf" else None
    arrays = {"table": rng.standard_normal((V, D), dtype), "indices": rng.choice(V, N, p=p)}
    arrays["dy"] = rng.standard_normal((N, D), dtype)
    repeats = int(np.bincount(arrays["indices"]).max())
    bytes_ = (5 * N + V) * D * dtype.itemsize
    return Work(f"V{V} D{D} N{N}, {law}", arrays, terms=repeats, bytes=bytes_, flops=N * D)


BENCHMARK = Benchmark(
    "embedding",
    ours,
    torch,
    jax,
    work,
    sizes=((65, 128, 768, "uniform"), (50_000, 128, 65_536, "uniform"), (50_000, 128, 65_536, "Zipf")),
    quick=((5, 4, 9, "uniform"), (5, 4, 9, "Zipf")),
    bars={(50_000, 128, 65_536, "uniform"): {"best": 2.5}, (50_000, 128, 65_536, "Zipf"): {"best": 2.5}},
    output="y",
    differentiable=("table",),
)

if __name__ == "__main__":
    main(BENCHMARK)
