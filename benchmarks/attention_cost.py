"""Attention's time grows with the square of the length, a recurrent network's with the length  (E38).

Its memory need not: the reference holds T×T scores, the kernels hold tiles of them.

python -m benchmarks.attention_cost          writes docs/figures/attention-cost.png
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import statistics
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
from nlp_kernels import attention, dispatch
from nlp_kernels.common import memory
from nlp_kernels.common.cuda import Source

import tinygrad_nlp as tn
from benchmarks.compare import save

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "attention-cost.png"
D = 64
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
LONGER = (8192, 16384)  # for memory alone
rng = np.random.default_rng(0)


def inputs(T: int) -> list[np.ndarray]:
    return [rng.normal(size=(1, 1, T, D)).astype(np.float32) for _ in range(4)]


def passes(q: np.ndarray, k: np.ndarray, v: np.ndarray, do: np.ndarray) -> None:
    _, saved = attention.forward(q, k, v, causal=True)
    attention.backward(do, q, k, v, None, None, saved, causal=True)


def attention_once(T: int) -> None:
    q, k, v, do = inputs(T)
    _, saved = attention.forward(q, k, v)
    attention.backward(do, q, k, v, None, None, saved)


def peak_bytes(backend: str, T: int) -> int:
    """The most that forward and backward hold at a time beside their inputs.

    Measured on the CPU; of a GPU's kernels all that their launchers ask for, the kernels themselves left out.
    """
    arrays = inputs(T)
    memory.clear()
    with ExitStack() as stack:
        stack.enter_context(dispatch.use_backend(backend, "attention", simulate=backend in dispatch.ON_GPU))
        if backend in dispatch.ON_GPU:
            stack.enter_context(mock.patch.object(Source, "kernel"))
        else:
            passes(*inputs(64))  # compiled
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        passes(*arrays)
        return tracemalloc.get_traced_memory()[1]


def bytes_by_length(backends: Callable[[int], tuple[str, ...]]) -> dict[str, dict[int, int]]:
    """Of each backend, for the lengths that it is wanted at."""
    found: dict[str, dict[int, int]] = {}
    for T in (*LENGTHS, *LONGER):
        for backend in backends(T):
            found.setdefault(backend, {})[T] = peak_bytes(backend, T)
    return found


def growth(values: dict[int, float]) -> float:
    """The power of T that the last three grow with."""
    T, of_it = list(values)[-3:], list(values.values())[-3:]
    return float(np.polyfit(np.log(T), np.log(of_it), 1)[0])


def recurrent_once(T: int) -> None:
    """h_t = tanh(h W_hh + x_t W_xh), forward and backward, one step after the other (E17)."""
    x = tn.Tensor(rng.normal(size=(T, 1, D)).astype(np.float32), requires_grad=True)
    w_hh, w_xh = (tn.Tensor(rng.normal(size=(D, D), scale=0.1).astype(np.float32), requires_grad=True) for _ in "hx")
    h = tn.zeros((1, D))
    for row in tn.unstack(x @ w_xh):
        h = tn.tanh(h @ w_hh + row)
    h.backward(rng.normal(size=(1, D)))


def seconds(work, T: int, repeats: int = 7) -> float:
    work(T)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work(T)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    times = {
        "attention": {T: seconds(attention_once, T) * 1e3 for T in LENGTHS},
        "recurrent": {T: seconds(recurrent_once, T) * 1e3 for T in LENGTHS},
    }
    held = bytes_by_length(lambda T: ("cpu", "cuda") if T in LONGER else ("reference", "cpu", "cuda"))
    drawn(times, held)
    rows = {str(T): {f"{k}_ms": ms[T] for k, ms in times.items()} for T in LENGTHS}
    for backend, of_it in held.items():
        for T, n in of_it.items():
            rows.setdefault(str(T), {})[f"{backend}_bytes"] = n
    for T, row in rows.items():
        print(
            f"T = {T:>5}: " + ", ".join(f"{what} {value:,.{2 * what.endswith('ms')}f}" for what, value in row.items())
        )
    slopes = {k: growth(values) for k, values in {**times, **held}.items()}
    print("growth with T over the last three lengths:", {k: round(s, 2) for k, s in slopes.items()})
    print("saved:", save("attention_cost", rows, growth=slopes), FIGURE)


def drawn(times: dict[str, dict[int, float]], held: dict[str, dict[int, int]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for k, ms in times.items():
        left.loglog(list(ms), list(ms.values()), "o-", label=f"{k}: grows like T^{growth(ms):.2f}")
    left.set(xlabel="T, tokens", ylabel="forward + backward, ms", title=f"one head of size {D}, float32, one thread")
    names = {"reference": "reference, T×T scores", "cpu": "tiles on the CPU", "cuda": "tiles on a GPU (counted)"}
    for k, n in held.items():
        right.loglog(list(n), list(n.values()), "o-", label=f"{names[k]}: grows like T^{growth(n):.2f}")
    right.set(xlabel="T, tokens", ylabel="bytes", title="most held at a time, forward + backward, causal")
    left.legend()
    right.set_ylim(top=3e10)  # room for the names
    right.legend(loc="upper left")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
