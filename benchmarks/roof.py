"""What this machine can do at most: bytes copied and multiply-adds done a second.

python -m benchmarks.roof                   --threads 1 for one core
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange
from numba.core import cgutils
from numba.extending import intrinsic

MEMORY = 256 << 20  # bytes a copy reads: far more than a cache holds
CACHE = 128 << 10  # bytes a core reads of its own second-level cache, and as many that it writes
CHAINS = 12  # independent multiply-adds: latency times throughput of any current core, and registers for all


def roofs(threads: int, dtype: str = "float32") -> dict[str, float]:
    """GB/s copied from memory and within the cores' caches (read plus written), GFLOP/s of multiply-adds."""
    return {
        "copy_gb_per_s": _copied(MEMORY, threads, times=1),
        "cache_copy_gb_per_s": _copied(CACHE * threads, threads, times=1000),
        "fma_gflop_per_s": _multiply_adds(threads, np.dtype(dtype)),
    }


def _copied(size: int, threads: int, times: int) -> float:
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return 2 * size * times / _fastest(lambda: _copy(target, source, times, threads), threads) / 1e9


def _multiply_adds(threads: int, dtype: np.dtype, turns: int = 1_000_000) -> float:
    out = np.zeros(threads, dtype)
    one = dtype.type(1)
    seconds = _fastest(lambda: _chains(out, one, one, turns, threads), threads)
    return 2 * CHAINS * (64 // dtype.itemsize) * turns * threads / seconds / 1e9


def _fastest(run: Callable[[], Any], threads: int, repeats: int = 7) -> float:
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        seconds = []
        for _ in range(1 + repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])  # the first compiles
    finally:
        numba.set_num_threads(before)


@numba.njit(parallel=True)
def _copy(target, source, times, workers):
    N = len(source)
    for w in prange(workers):
        mine = slice(w * N // workers, (w + 1) * N // workers)
        for _ in range(times):
            target[mine] = source[mine]


@numba.njit(parallel=True)
def _chains(out, a, b, turns, workers):
    for w in prange(workers):
        out[w] = _chained(a, b, turns)


@intrinsic
def _chained(typingctx, a, b, turns):
    """v ← v a + b in `CHAINS` vectors of 64 bytes, so many times; the first entry of their sum."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = args[0].type
        lanes = 16 if isinstance(scalar, ir.FloatType) else 8
        vector = ir.VectorType(scalar, lanes)

        def spread(value: Any) -> Any:
            v = ir.Constant(vector, ir.Undefined)
            for lane in range(lanes):
                v = builder.insert_element(v, value, ir.Constant(ir.IntType(32), lane))
            return v

        a, b = spread(args[0]), spread(args[1])
        chains = [cgutils.alloca_once_value(builder, b) for _ in range(CHAINS)]
        with cgutils.for_range(builder, args[2]):
            for chain in chains:
                product = builder.fmul(builder.load(chain), a, flags=("contract",))
                builder.store(builder.fadd(product, b, flags=("contract",)), chain)
        total = builder.load(chains[0])
        for chain in chains[1:]:
            total = builder.fadd(total, builder.load(chain))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return a(a, b, turns), codegen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    args = parser.parse_args()
    for name, value in roofs(args.threads, args.dtype).items():
        print(f"{name}: {value:.1f}")


if __name__ == "__main__":
    main()
