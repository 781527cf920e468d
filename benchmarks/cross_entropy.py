"""Cross-entropy from logits, one loss a row, forward and backward.

python -m benchmarks.cross_entropy          --help lists the options
"""

from nlp_kernels import cross_entropy

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, target, dloss):
    loss, saved = cross_entropy.forward(x, target)
    (dx,) = cross_entropy.backward(dloss, x, target, saved)
    return {"loss": loss, "dx": dx}


def torch(torch, x, target):
    return torch.nn.functional.cross_entropy(x, target, reduction="none")


def jax(jax, x, target):
    picked = jax.numpy.take_along_axis(x, target[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(x, axis=1) - picked


def work(rng, dtype, N, C):
    """Forward reads x; backward reads it again and writes dx."""
    arrays = {"x": rng.standard_normal((N, C), dtype), "target": rng.integers(0, C, N)}
    arrays["dloss"] = rng.standard_normal(N, dtype)
    return Work(f"({N}, {C})", arrays, terms=C, bytes=3 * N * C * dtype.itemsize, flops=9 * N * C)


BENCHMARK = Benchmark(
    "cross_entropy",
    ours,
    torch,
    jax,
    work,
    sizes=((768, 65), (4096, 65), (2048, 32000)),
    quick=((3, 7),),
    bars={(4096, 65): {"best": 2.5}, (2048, 32000): {"best": 4.0}},
    output="loss",
    differentiable=("x",),
)

if __name__ == "__main__":
    main(BENCHMARK)
