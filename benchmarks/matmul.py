"""Matrix product with bias and activation, weights stored (N, K) as a linear layer's, forward and backward.

python -m benchmarks.matmul                 --help lists the options
"""

from nlp_kernels import matmul

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, w, b, dy, activation):
    hyper = {"activation": activation, "transpose_w": True}
    y, saved = matmul.forward(x, w, b, **hyper)
    dx, dw, db, _ = matmul.backward(dy, x, w, b, None, saved, **hyper)
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def torch(torch, x, w, b, activation):
    z = torch.nn.functional.linear(x, w, b)
    match activation:
        case "relu":
            return torch.relu(z)
        case "gelu":
            return torch.nn.functional.gelu(z)
        case "gelu_tanh":
            return torch.nn.functional.gelu(z, approximate="tanh")
    return z


def jax(jax, x, w, b, activation):
    z = x @ w.T + b
    match activation:
        case "relu":
            return jax.nn.relu(z)
        case "gelu":
            return jax.nn.gelu(z, approximate=False)
        case "gelu_tanh":
            return jax.nn.gelu(z, approximate=True)
    return z


def work(rng, dtype, M, K, N, activation):
    """M × K × N; three products of 2 M K N: x wᵀ, dz w and dzᵀ x.

    Forward reads x and w and writes y and z; backward reads dy, z, x and w and writes dz, dx and dw.
    """
    shapes = {"x": (M, K), "w": (N, K), "b": (N,), "dy": (M, N)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}
    arrays["w"] /= K**0.5  # z near 1, where the activations bend
    label, hyper = f"{M} × {K} × {N}, {activation}", {"activation": activation}
    bytes_ = (3 * M * K + 3 * K * N + 5 * M * N) * dtype.itemsize
    return Work(label, arrays, terms=max(M, K, N), bytes=bytes_, flops=6 * M * K * N, hyper=hyper)


BENCHMARK = Benchmark(
    "matmul",
    ours,
    torch,
    jax,
    work,
    sizes=(
        (768, 128, 512, "gelu_tanh"),
        (1024, 1024, 1024, "none"),
        (3072, 384, 1536, "relu"),
        (3072, 384, 1536, "gelu"),
        (3072, 384, 1536, "gelu_tanh"),
    ),
    quick=((3, 4, 5, "none"), (3, 4, 5, "relu"), (3, 4, 5, "gelu"), (3, 4, 5, "gelu_tanh")),
    bars={
        (768, 128, 512, "gelu_tanh"): {"best": 1.2},
        (3072, 384, 1536, "gelu"): {"best": 1.2},
        (3072, 384, 1536, "gelu_tanh"): {"best": 1.2},
    },
    output="y",
    differentiable=("x", "w", "b"),
)

if __name__ == "__main__":
    main(BENCHMARK)
