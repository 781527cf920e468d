"""Softmax and log-softmax of rows of 256 to 262,144 columns on a GPU, forward and backward."""

from dataclasses import replace

from nlp_kernels import softmax

from benchmarks import softmax as cpu
from benchmarks.gpu.passes import LONG_ROWS, Bars, Pass, Subject, rows


def forward(x, dp, log):
    return lambda: {"p": softmax.forward(x, log=log)[0]}


def backward(x, dp, log):
    _, saved = softmax.forward(x, log=log)
    return lambda: {"dx": softmax.backward(dp, x, None, saved, log=log)[0]}


def torch(torch, x, log):
    return torch.log_softmax(x, -1) if log else torch.softmax(x, -1)


def work(rng, dtype, N, C, log):
    made = cpu.work(rng, dtype, N, C)
    return replace(made, label=f"{'log ' if log else ''}{made.label}", hyper={"log": log})


def bars(N, C, log) -> Bars:
    copy = {"copy": 0.95} if C >= 4096 else {"copy": 0.85} if C >= 1024 else {}
    return copy | {"compile": 1.0}


def forward_counts(work):
    x = work.arrays["x"]
    return 2 * x.nbytes, 5 * x.size


def backward_counts(work):
    x = work.arrays["x"]
    return 3 * x.nbytes, 6 * x.size


BENCHMARK = replace(
    cpu.BENCHMARK,
    torch=torch,
    work=work,
    sizes=(*((rows(C), C, False) for C in LONG_ROWS), *((rows(C), C, True) for C in (1024, 4096, 32768, 262144))),
    quick=((3, 7, False), (2, 8, True)),
    bars={},
)
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts, bars, triton="softmax_forward"),
        "backward": Pass(backward, "backward", backward_counts, bars, triton="softmax_backward"),
    },
)
