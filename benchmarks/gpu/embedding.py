"""Rows of a table and the sum of their gradients on a GPU, indices uniform or by Zipf's law."""

from dataclasses import replace

from nlp_kernels import embedding

from benchmarks import embedding as cpu
from benchmarks.gpu.passes import Bars, Pass, Subject


def forward(table, indices, dy):
    return lambda: {"y": embedding.forward(table, indices)[0]}


def backward(table, indices, dy):
    return lambda: {"dtable": embedding.backward(dy, table, indices, None)[0]}


def forward_bars(V, D, N, law) -> Bars:
    return {"copy": 0.95}


def backward_bars(V, D, N, law) -> Bars:
    return {"torch": 2.0}


def forward_counts(work):
    """Reads and writes N rows, and reads the indices."""
    dy, indices = work.arrays["dy"], work.arrays["indices"]
    return 2 * dy.nbytes + indices.nbytes, 0


def backward_counts(work):
    """Reads N rows and the indices, writes V rows: each sum once."""
    dy, indices, table = (work.arrays[name] for name in ("dy", "indices", "table"))
    return dy.nbytes + indices.nbytes + table.nbytes, dy.size


BENCHMARK = replace(
    cpu.BENCHMARK,
    sizes=tuple(
        (V, D, N, law)
        for V, D, N in ((50_000, 128, 1 << 20), (50_257, 768, 1 << 18), (1_000_000, 128, 1 << 20))
        for law in ("uniform", "Zipf")
    ),
    bars={},
)
SUBJECT = Subject(
    BENCHMARK,
    {
        "forward": Pass(forward, "forward", forward_counts, forward_bars),
        "backward": Pass(backward, "backward", backward_counts, backward_bars),
    },
)
