"""Attention's cost grows with the square of the length, a recurrent network's with the length  (E38).

python -m benchmarks.attention_cost          writes docs/figures/attention-cost.png
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import statistics
import time
from pathlib import Path

import numpy as np
from nlp_kernels import attention

import tinygrad_nlp as tn
from benchmarks.compare import save

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "attention-cost.png"
D = 64
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
rng = np.random.default_rng(0)


def attention_once(T: int) -> None:
    q, k, v, do = (rng.normal(size=(1, 1, T, D)).astype(np.float32) for _ in range(4))
    _, saved = attention.forward(q, k, v)
    attention.backward(do, q, k, v, None, None, saved)


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
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = {
        str(T): {
            "attention_ms": seconds(attention_once, T) * 1e3,
            "recurrent_ms": seconds(recurrent_once, T) * 1e3,
            "scores_bytes": 4 * T * T,
        }
        for T in LENGTHS
    }
    T = np.array(LENGTHS)
    time_of = {k: np.array([rows[str(t)][f"{k}_ms"] for t in LENGTHS]) for k in ("attention", "recurrent")}
    slopes = {k: float(np.polyfit(np.log(T[-3:]), np.log(ms[-3:]), 1)[0]) for k, ms in time_of.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for k, ms in time_of.items():
        left.loglog(T, ms, "o-", label=f"{k}: grows like T^{slopes[k]:.2f}")
    left.set(xlabel="T, tokens", ylabel="forward + backward, ms", title=f"one head of size {D}, float32, one thread")
    left.legend()
    right.loglog(T, 4.0 * T * T, "o-", label="scores T×T")
    right.loglog(T, 4.0 * T * D, "o-", label="output T×d")
    right.set(xlabel="T, tokens", ylabel="bytes", title="memory of one head's scores and output")
    right.legend()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    for t, row in rows.items():
        print(f"T = {t:>5}: attention {row['attention_ms']:9.2f} ms, recurrent {row['recurrent_ms']:9.2f} ms")
    print("growth with T over the last three lengths:", {k: round(s, 2) for k, s in slopes.items()})
    print("saved:", save("attention_cost", rows, growth=slopes), FIGURE)


if __name__ == "__main__":
    main()
