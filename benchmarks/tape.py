"""The tape's overhead: forward and backward of chains of small functions, and of a loop over time.

python -m benchmarks.tape            against PyTorch where it is installed; one thread
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import statistics
import time

import numpy as np

import tinygrad_nlp as tn
from benchmarks.compare import interleaved, save, show, summary

N = 1000  # functions in a chain
rng = np.random.default_rng(0)
A, G = (rng.normal(size=(4, 4)).astype(np.float32) * 0.3 for _ in range(2))


def additions(x, xp):
    y = x
    for _ in range(N):
        y = y + x
    return y


def multiply_add_tanh(x, xp):
    y = x
    for _ in range(N // 3):
        y = xp.tanh(y * x + x)
    return y


def sum_reshape_broadcast_index(x, xp):
    y = x
    for _ in range(N // 4):
        y = xp.broadcast_to(xp.reshape(xp.sum(y, axis=0) * 0.2, (1, 4)), (5, 4))[1:]
    return y


CHAINS = (additions, multiply_add_tanh, sum_reshape_broadcast_index)


def ours(chain):
    x = tn.Tensor(A, requires_grad=True)
    y = chain(x, tn)
    y.backward(G)
    assert x.grad is not None
    return y.data, x.grad.data


def torchs(chain):
    import torch

    x = torch.tensor(A, requires_grad=True)
    y = chain(x, torch)
    y.backward(torch.from_numpy(G))
    assert x.grad is not None
    return y.detach().numpy(), x.grad.numpy()


def loop_over_time(T):
    """Seconds of one sweep through h = tanh(h w + x[t]), t < T."""
    x = tn.Tensor(rng.normal(size=(T, 4, 4)), requires_grad=True)
    w = tn.Tensor(rng.normal(size=(4, 4)), requires_grad=True)
    h = tn.zeros((4, 4), dtype=tn.float64)
    for t in range(T):
        h = tn.tanh(h @ w + x[t])
    start = time.perf_counter()
    h.backward(rng.normal(size=(4, 4)))
    return time.perf_counter() - start


def main() -> None:
    rows = {}
    try:
        import torch

        torch.set_num_threads(1)
        peers = {"ours": ours, "torch": torchs}
    except ImportError:
        peers = {"ours": ours}
    for chain in CHAINS:
        results = {name: run(chain) for name, run in peers.items()}
        for y, dx in results.values():
            np.testing.assert_allclose(y, results["ours"][0], rtol=1e-3)
            np.testing.assert_allclose(dx, results["ours"][1], rtol=1e-3, atol=1e-6)
        candidates = {name: (lambda run=run, chain=chain: run(chain)) for name, run in peers.items()}
        rows[chain.__name__] = summary(interleaved(candidates), per=N)
    show("forward + backward per function, 4×4 float32, one thread", rows)
    ratios = {T: statistics.median(loop_over_time(2 * T) / loop_over_time(T) for _ in range(7)) for T in (5000, 10_000)}
    for T, ratio in ratios.items():
        print(f"loop over time: time({2 * T}) / time({T}) = {ratio:.2f}")
    print("saved:", save("tape", rows, loop_over_time={str(2 * T): r for T, r in ratios.items()}))


if __name__ == "__main__":
    main()
