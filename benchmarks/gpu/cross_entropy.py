"""Cross-entropy from logits on a GPU, rows of 256 to 262,144 classes: forward, backward, both."""

from dataclasses import replace

from nlp_kernels import cross_entropy

from benchmarks import cross_entropy as cpu
from benchmarks.gpu.passes import LONG_ROWS, Bars, Pass, Subject, rows


def forward(x, target, dloss):
    return lambda: {"loss": cross_entropy.forward(x, target)[0]}


def backward(x, target, dloss):
    _, saved = cross_entropy.forward(x, target)
    return lambda: {"dx": cross_entropy.backward(dloss, x, target, saved)[0]}


def both(x, target, dloss):
    def run():
        loss, dx = cross_entropy.forward_backward(x, target, dloss)
        return {"loss": loss, "dx": dx}

    return run


def forward_bars(N, C) -> Bars:
    return {"read": 0.95} if C >= 4096 else {}


def both_bars(N, C) -> Bars:
    return ({"copy": 0.95} if C >= 4096 else {}) | {"torch": 2.0}


def forward_counts(work):
    x = work.arrays["x"]
    return x.nbytes, 4 * x.size


def backward_counts(work):
    x = work.arrays["x"]
    return 2 * x.nbytes, 5 * x.size


def both_counts(work):
    """Reads the logits once."""
    x = work.arrays["x"]
    return 2 * x.nbytes, 6 * x.size


BENCHMARK = replace(cpu.BENCHMARK, sizes=tuple((rows(C), C) for C in LONG_ROWS), quick=((3, 7), (2, 8)), bars={})
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts, forward_bars, "read", triton="cross_entropy_forward"),
        "backward": Pass(backward, "backward", backward_counts, triton="cross_entropy_backward"),
        "both": Pass(both, "both", both_counts, both_bars, triton="cross_entropy_both"),
    },
)
