"""Layer norm of rows, forward and backward.

python -m benchmarks.layer_norm             --help lists the options
"""

from nlp_kernels import layer_norm

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, gamma, beta, dy):
    y, saved = layer_norm.forward(x, gamma, beta)
    dx, dgamma, dbeta, _ = layer_norm.backward(dy, x, gamma, beta, None, saved)
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def torch(torch, x, gamma, beta):
    return torch.nn.functional.layer_norm(x, gamma.shape, gamma, beta)


def jax(jax, x, gamma, beta):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return gamma * centred * jax.lax.rsqrt(variance + 1e-5) + beta


def work(rng, dtype, N, C):
    """Forward reads x and writes y; backward reads dy and x and writes dx."""
    shapes = {"x": (N, C), "gamma": (C,), "beta": (C,), "dy": (N, C)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}
    return Work(f"({N}, {C})", arrays, terms=max(N, C), bytes=5 * N * C * dtype.itemsize, flops=21 * N * C)


BENCHMARK = Benchmark(
    "layer_norm",
    ours,
    torch,
    jax,
    work,
    sizes=((768, 128), (4096, 768), (32768, 256)),
    quick=((3, 7),),
    bars={(4096, 768): {"best": 1.3}, (32768, 256): {"best": 3.0}},
    output="y",
    differentiable=("x", "gamma", "beta"),
)

if __name__ == "__main__":
    main(BENCHMARK)
