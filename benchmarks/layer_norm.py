"""Layer norm of rows, forward and backward.

python -m benchmarks.layer_norm             --help lists the options
"""

from nlp_kernels import layer_norm

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, gamma, beta, dy):
    y, saved = layer_norm.forward(x, gamma, beta)
    dx, dgamma, dbeta, _ = layer_norm.backward(dy, x, gamma, beta, None, saved)
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def eager(torch, x, gamma, beta, dy):
    y = torch.nn.functional.layer_norm(x, gamma.shape, gamma, beta)
    dx, dgamma, dbeta = torch.autograd.grad(y, (x, gamma, beta), dy)
    return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def work(rng, dtype, N, C):
    """Forward reads x and writes y; backward reads dy and x and writes dx."""
    shapes = {"x": (N, C), "gamma": (C,), "beta": (C,), "dy": (N, C)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}
    return Work(f"({N}, {C})", arrays, terms=max(N, C), bytes=5 * N * C * dtype.itemsize)


BENCHMARK = Benchmark(
    "layer_norm",
    ours,
    eager,
    work,
    sizes=((768, 128), (4096, 768), (32768, 256)),
    quick=((3, 7),),
    differentiable=("x", "gamma", "beta"),
)

if __name__ == "__main__":
    main(BENCHMARK)
