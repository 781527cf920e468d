"""The tape's overhead: forward and backward of chains of small functions, and of a loop over time.

python -m benchmarks.tape                   against PyTorch eager, on one thread; --help lists the options
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from importlib.util import find_spec

import numpy as np

import tinygrad_nlp as tn
from benchmarks.command import Case, parser, run
from benchmarks.compare import Candidate

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


def growth():
    """How many times as long twice the steps take; 2 where the sweep is linear."""
    return {
        str(2 * T): statistics.median(loop_over_time(2 * T) / loop_over_time(T) for _ in range(7))
        for T in (5000, 10_000)
    }


def cases(args):
    for chain in CHAINS:
        candidates = {"ours": Candidate(partial(ours, chain))}
        if "torch" in args.peers and find_spec("torch"):
            candidates["torch"] = Candidate(partial(torchs, chain))
        right = ours(chain)
        for who, candidate in candidates.items():
            for x, expected in zip(candidate.run(), right, strict=True):
                np.testing.assert_allclose(x, expected, rtol=1e-3, atol=1e-6, err_msg=f"{chain.__name__}, {who}")
        label = chain.__name__.replace("_", ", ")
        yield Case(label, candidates, per=N, bars={"torch": 1.2})


def main(argv=None):
    args = parser("tape", __doc__, threads=1, peers=("torch",)).parse_args(argv)
    facts = {} if args.quick or args.bars else {"loop_over_time": growth()}
    return run("tape", cases, args, **facts)


if __name__ == "__main__":
    main()
