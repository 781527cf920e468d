"""The steps to a fast matrix product, C = A B of n × n numbers: first they must agree, then GFLOP/s of each.

    naive     the definition: a sum for each number of C, B read by columns
    loops     C row by row, B row by row, as a compiler vectorises it
    tiles     C in registers, B where it lies: common/microkernel.py
    packed    the same with B in panels, in blocks that fit the caches: matmul/packed.py
    blas      the library NumPy and SciPy come with (OpenBLAS, MKL, …), cut among the same threads

python -m benchmarks.sgemm                  --sizes 256 1024 --threads 1 --dtype float64
"""

from __future__ import annotations

import argparse

import numpy as np
from nlp_kernels.common import blas, microkernel, threads
from nlp_kernels.common.compiled import kernel
from nlp_kernels.common.memory import empty
from nlp_kernels.matmul import packed
from numba import prange
from rich.console import Console
from rich.table import Table

from benchmarks.compare import Candidate, interleaved, machine, save, summary

SIZES = (128, 256, 512, 1000, 1024, 2048)
LARGEST = {"naive": 512, "loops": 1024}  # beyond it they take too long


@kernel("c[M,N] | a[M,K] b[K,N] workers:int64")
def _naive(c, a, b, workers):
    (M, K), N = a.shape, b.shape[1]
    for w in prange(workers):
        for m in range(w * M // workers, (w + 1) * M // workers):
            for n in range(N):
                total = a.dtype.type(0)
                for k in range(K):
                    total += a[m, k] * b[k, n]
                c[m, n] = total


@kernel("c[M,N] | a[M,K] b[K,N] workers:int64")
def _loops(c, a, b, workers):
    (M, K), N = a.shape, b.shape[1]
    for w in prange(workers):
        for m in range(w * M // workers, (w + 1) * M // workers):
            c_m, a_m = c[m], a[m]
            c_m[:] = 0
            for k in range(K):
                a_mk, b_k = a_m[k], b[k]
                for n in range(N):
                    c_m[n] += a_mk * b_k[n]


@kernel("c[M,N] | a[M,K] b[K,N] workers:int64")
def _tiles(c, a, b, workers):
    M = len(a)
    for w in prange(workers):
        m0, m1 = w * M // workers, (w + 1) * M // workers
        microkernel.product(c[m0:m1], a[m0:m1], b, False)


def by_rows(multiply):
    def product(a, b):
        c = empty((len(a), b.shape[1]), a.dtype)
        multiply(c, a, b, threads.workers(len(a)))
        return c

    return product


CANDIDATES = {
    "naive": by_rows(_naive),
    "loops": by_rows(_loops),
    "tiles": by_rows(_tiles),
    "packed": packed.product,
    "blas": blas.product,
}


def candidates(n, dtype):
    """The functions that multiply n × n matrices: tiles where they are whole, and nothing that takes too long."""
    left_out = {name for name, largest in LARGEST.items() if n > largest}
    if n % microkernel.columns(dtype):
        left_out.add("tiles")
    return {name: function for name, function in CANDIDATES.items() if name not in left_out}


def measured(n, dtype, seconds):
    """GFLOP/s of each candidate: median, and at the slower and the faster quartile."""
    a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype(dtype)
    right, functions = a @ b, candidates(n, dtype)
    for name, function in functions.items():
        off = np.abs(function(a, b) - right).max()
        if not off <= 8 * np.finfo(dtype).eps * n:
            raise SystemExit(f"{name} is off by {off:.3g} for n = {n}")
    chosen = {name: Candidate(lambda f=f: f(a, b)) for name, f in functions.items()}
    rows = {name: summary(times) for name, times in interleaved(chosen, seconds=seconds).items()}
    return {name: row | {"gflop_per_s": 2 * n**3 / row["median_us"] / 1e3} for name, row in rows.items()}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sgemm", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each size")
    args = parser.parse_args(argv)
    rows: dict = {}
    for count in args.threads:
        threads.set_num_threads(count)
        for n in args.sizes:
            rows[f"n = {n}, threads: {threads.get_num_threads()}"] = measured(n, np.dtype(args.dtype), args.seconds)
    table = Table("work", *CANDIDATES, title=f"C = A B, {args.dtype}, GFLOP/s, median (quartiles), {machine()}")
    for work, row in rows.items():
        cells = []
        for name in CANDIDATES:
            r = row.get(name)
            low, high = (r["gflop_per_s"] * r["median_us"] / r[k] for k in ("high_us", "low_us")) if r else (0, 0)
            cells.append(f"{r['gflop_per_s']:.0f} ({low:.0f} – {high:.0f})" if r else "")
        table.add_row(work, *cells)
    Console().print(table)
    if tuple(args.sizes) == SIZES:
        print("saved:", save("sgemm" if args.dtype == "float32" else "dgemm", rows, dtype=args.dtype))
    return rows


if __name__ == "__main__":
    main()
