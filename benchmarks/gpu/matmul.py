"""Matrix products of a linear layer on a GPU, with what is fused to them: square ones, and those of GPTs."""

from dataclasses import replace

from nlp_kernels import matmul

from benchmarks import matmul as cpu
from benchmarks.gpu.passes import Bars, Pass, Subject


def forward(x, w, b, dy, activation):
    return lambda: {"y": matmul.forward(x, w, b, activation=activation, transpose_w=True)[0]}


def backward(x, w, b, dy, activation):
    hyper = {"activation": activation, "transpose_w": True}
    _, saved = matmul.forward(x, w, b, **hyper)

    def run():
        dx, dw, db, _ = matmul.backward(dy, x, w, b, None, saved, **hyper)
        return {"dx": dx, "dw": dw, "db": db}

    return run


def bars(M, K, N, activation) -> Bars:
    """In three parts on tensor cores 1.8 times as fast as PyTorch with TF32 off; on CUDA cores nearly as fast."""
    return {"torch": 1.8, "cuda/torch": 0.9} if M == K == N else {}


def forward_bars(M, K, N, activation) -> Bars:
    """In bfloat16, against cuBLAS, which has activations as separate operations."""
    return {"cublas": 1.0 if activation != "none" else 0.9 if M == K == N else 0.7}


def backward_bars(M, K, N, activation) -> Bars:
    return {"cublas": 0.9 if M == K == N else 0.7}


def forward_counts(work):
    """Reads x and w, writes y, and z where there is an activation."""
    x, w, dy = (work.arrays[name] for name in ("x", "w", "dy"))
    return x.nbytes + w.nbytes + (1 + (work.hyper["activation"] != "none")) * dy.nbytes, 2 * x.size * w.shape[0]


def backward_counts(work):
    """Reads dy, z, x and w, writes dx and dw."""
    x, w, dy = (work.arrays[name] for name in ("x", "w", "dy"))
    return 2 * x.nbytes + 2 * w.nbytes + (1 + (work.hyper["activation"] != "none")) * dy.nbytes, 4 * x.size * w.shape[0]


BENCHMARK = replace(
    cpu.BENCHMARK,
    sizes=(
        (4096, 4096, 4096, "none"),
        (8192, 8192, 8192, "none"),
        (3072, 384, 1536, "gelu_tanh"),
        (16384, 768, 3072, "gelu"),
        (16384, 3072, 768, "none"),
    ),
    bars={},
)
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts, bars),
        "backward": Pass(backward, "backward", backward_counts, bars),
    },
)
BFLOAT16 = Subject(
    replace(BENCHMARK, quick=((8, 16, 24, "none"), (8, 16, 24, "gelu"))),
    {
        "forward": Pass(forward, "forward", forward_counts, forward_bars, compiled=False),
        "backward": Pass(backward, "backward", backward_counts, backward_bars, compiled=False),
    },
)
