"""Softmax of rows, forward and backward.

python -m benchmarks.softmax                --help lists the options
"""

from nlp_kernels import softmax

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, dp):
    p, saved = softmax.forward(x)
    (dx,) = softmax.backward(dp, x, None, saved)
    return {"p": p, "dx": dx}


def eager(torch, x, dp):
    p = torch.softmax(x, -1)
    (dx,) = torch.autograd.grad(p, x, dp)
    return {"p": p, "dx": dx}


def work(rng, dtype, N, C):
    """Forward reads x and writes p; backward reads dp and p and writes dx."""
    arrays = {name: rng.standard_normal((N, C), dtype) for name in ("x", "dp")}
    return Work(f"({N}, {C})", arrays, terms=C, bytes=5 * N * C * dtype.itemsize)


BENCHMARK = Benchmark(
    "softmax",
    ours,
    eager,
    work,
    sizes=((64, 512), (4096, 1024), (8192, 4096), (256, 32000)),
    quick=((3, 7),),
    differentiable=("x",),
)

if __name__ == "__main__":
    main(BENCHMARK)
