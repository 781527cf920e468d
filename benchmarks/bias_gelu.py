"""Bias and GELU alone, what a matmul with an activation does beside its products, forward and backward.

python -m benchmarks.bias_gelu              --help lists the options
"""

from nlp_kernels import matmul

from benchmarks.hot_path import Benchmark, Work, main


def ours(z, b, dy, activation):
    y = matmul.activate(z, b, activation=activation)
    dz, db = matmul.activate_backward(dy, z, b, activation=activation)
    return {"y": y, "dz": dz, "db": db}


def torch(torch, z, b, activation):
    return torch.nn.functional.gelu(z + b, approximate="tanh" if activation == "gelu_tanh" else "none")


def jax(jax, z, b, activation):
    return jax.nn.gelu(z + b, approximate=activation == "gelu_tanh")


def work(rng, dtype, M, N, activation):
    """Forward reads z and writes y; backward reads dy and z and writes dz."""
    arrays = {name: rng.standard_normal((M, N), dtype) for name in ("z", "dy")}
    arrays["b"] = rng.standard_normal(N, dtype)
    bytes_, hyper = 5 * M * N * dtype.itemsize, {"activation": activation}
    return Work(f"({M}, {N}), {activation}", arrays, terms=M, bytes=bytes_, flops=27 * M * N, hyper=hyper)


BENCHMARK = Benchmark(
    "matmul",
    ours,
    torch,
    jax,
    work,
    sizes=((768, 512, "gelu_tanh"), (3072, 1536, "gelu"), (3072, 1536, "gelu_tanh")),
    quick=((3, 5, "gelu"), (3, 5, "gelu_tanh")),
    bars={(3072, 1536, "gelu"): {"best": 1.25}, (3072, 1536, "gelu_tanh"): {"best": 2.5}},
    output="y",
    differentiable=("z", "b"),
    part="bias_gelu",
)

if __name__ == "__main__":
    main(BENCHMARK)
