"""Attention on a GPU: causal, with lengths, unmasked, decoding; heads of 64 and 128, up to sixteen thousand tokens."""

from dataclasses import replace

from nlp_kernels import attention

from benchmarks import attention as cpu
from benchmarks.gpu.passes import Bars, Pass, Subject


def forward(q, k, v, do, key_lengths=None, *, causal):
    return lambda: {"o": attention.forward(q, k, v, None, key_lengths, causal=causal)[0]}


def backward(q, k, v, do, key_lengths=None, *, causal):
    _, saved = attention.forward(q, k, v, None, key_lengths, causal=causal)

    def run():
        gradients = attention.backward(do, q, k, v, None, key_lengths, saved, causal=causal)
        return dict(zip(("dq", "dk", "dv"), gradients, strict=True))

    return run


def forward_counts(work):
    """Reads q, k and v and writes o; two of the seven products."""
    return work.bytes // 3, 2 * work.flops // 7


def backward_counts(work):
    """Reads q, k, v, o and do, writes dq, dk and dv; five products."""
    return 2 * work.bytes // 3, 5 * work.flops // 7


def forward_bars(*size) -> Bars:
    return {"flash": 1.0, "cudnn": 0.85}


def backward_bars(*size) -> Bars:
    return {"flash": 1.0}


BENCHMARK = replace(
    cpu.BENCHMARK,
    sizes=(
        (12, 6, 256, 64, "causal"),
        (16, 16, 1024, 64, "causal"),
        (16, 16, 1024, 64, "lengths"),
        (4, 16, 4096, 64, "causal"),
        (4, 8, 4096, 128, "causal"),
        (1, 16, 16384, 64, "causal"),
        (4, 32, 4096, 128, "causal", 8),
        (16, 32, 1, 128, "lengths", 8, 8192),
    ),
    quick=((2, 3, 5, 4, "causal"), (2, 4, 1, 4, "lengths", 2, 130)),
    bars={},
)
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts),
        "backward": Pass(backward, "backward", backward_counts),
    },
)
TOKENS, WIDTH = 16384, 2048  # of all sequences together, and of all heads
BFLOAT16 = Subject(
    replace(
        BENCHMARK,
        sizes=(
            *(
                (TOKENS // T, WIDTH // D, T, D, mask)
                for T in (4096, 16384)
                for D in (64, 128)
                for mask in ("causal", "all")
            ),
            (4, 32, 4096, 128, "causal", 8),
            (16, 32, 1, 128, "all", 8, 8192),
        ),
        quick=((2, 4, 5, 8, "causal", 2), (2, 4, 1, 8, "all", 2, 130)),
    ),
    {
        "forward": Pass(forward, "forward", forward_counts, forward_bars, compiled=False),
        "backward": Pass(backward, "backward", backward_counts, backward_bars, compiled=False),
    },
)
