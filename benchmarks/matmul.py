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


def eager(torch, x, w, b, dy, activation):
    y = torch.nn.functional.linear(x, w, b)
    match activation:
        case "relu":
            y = torch.relu(y)
        case "gelu":
            y = torch.nn.functional.gelu(y)
        case "gelu_tanh":
            y = torch.nn.functional.gelu(y, approximate="tanh")
    dx, dw, db = torch.autograd.grad(y, (x, w, b), dy)
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def work(rng, dtype, M, K, N, activation):
    """M × K × N; three products of 2 M K N: x wᵀ, dz w and dzᵀ x."""
    shapes = {"x": (M, K), "w": (N, K), "b": (N,), "dy": (M, N)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}
    arrays["w"] /= K**0.5  # z near 1, where the activations bend
    label = f"{M} × {K} × {N}, {activation}"
    return Work(label, arrays, terms=max(M, K, N), hyper={"activation": activation}, flops=6 * M * K * N)


BENCHMARK = Benchmark(
    "matmul",
    ours,
    eager,
    work,
    sizes=(
        (768, 128, 512, "gelu"),
        (1024, 1024, 1024, "none"),
        (3072, 384, 1536, "relu"),
        (3072, 384, 1536, "gelu"),
        (3072, 384, 1536, "gelu_tanh"),
    ),
    quick=((3, 4, 5, "none"), (3, 4, 5, "relu"), (3, 4, 5, "gelu"), (3, 4, 5, "gelu_tanh")),
    differentiable=("x", "w", "b"),
)

if __name__ == "__main__":
    main(BENCHMARK)
