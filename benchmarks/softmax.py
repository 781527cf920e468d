"""Softmax of rows, forward and backward.

python -m benchmarks.softmax                --help lists the options
"""

from nlp_kernels import softmax

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, dp):
    p, saved = softmax.forward(x)
    (dx,) = softmax.backward(dp, x, None, saved)
    return {"p": p, "dx": dx}


def torch(torch, x):
    return torch.softmax(x, -1)


def jax(jax, x):
    return jax.nn.softmax(x)


def work(rng, dtype, N, C):
    """Forward reads x and writes p; backward reads dp and p and writes dx."""
    arrays = {name: rng.standard_normal((N, C), dtype) for name in ("x", "dp")}
    return Work(f"({N}, {C})", arrays, terms=C, bytes=5 * N * C * dtype.itemsize, flops=11 * N * C)


BENCHMARK = Benchmark(
    "softmax",
    ours,
    torch,
    jax,
    work,
    sizes=((64, 512), (4096, 1024), (8192, 4096), (256, 32000)),
    quick=((3, 7),),
    bars={
        (64, 512): {"best": 2.0},
        (4096, 1024): {"best": 1.2},
        (256, 32000): {"best": 1.2},
        (8192, 4096): {"best": 3.0},
    },
    output="p",
    differentiable=("x",),
)

if __name__ == "__main__":
    main(BENCHMARK)
