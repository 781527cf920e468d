"""Layer norm on a GPU, forward and backward: 4096 wide and long rows, and those of GPTs."""

from dataclasses import replace

from nlp_kernels import layer_norm

from benchmarks import layer_norm as cpu
from benchmarks.gpu.passes import Bars, Pass, Subject


def forward(x, gamma, beta, dy):
    return lambda: {"y": layer_norm.forward(x, gamma, beta)[0]}


def backward(x, gamma, beta, dy):
    _, saved = layer_norm.forward(x, gamma, beta)

    def run():
        dx, dgamma, dbeta, _ = layer_norm.backward(dy, x, gamma, beta, None, saved)
        return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    return run


def forward_bars(N, C) -> Bars:
    return {"copy": 0.95} if C >= 2048 else {}


def backward_bars(N, C) -> Bars:
    return {"copy": 0.8, "torch": 1.8} if C >= 2048 else {}


def forward_counts(work):
    x = work.arrays["x"]
    return 2 * x.nbytes, 8 * x.size


def backward_counts(work):
    x = work.arrays["x"]
    return 3 * x.nbytes, 13 * x.size


BENCHMARK = replace(
    cpu.BENCHMARK,
    sizes=((4096, 4096), (4096, 16384), (3072, 384), (16384, 768), (8192, 1600), (32768, 1024)),
    bars={},
)
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts, forward_bars, triton="layer_norm_forward"),
        "backward": Pass(backward, "backward", backward_counts, backward_bars, triton="layer_norm_backward"),
    },
)
