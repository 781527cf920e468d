"""A GPT's training step against PyTorch eager and torch.compile: tokens a second, and peak memory.

python -m benchmarks.gpt                    --help lists the options
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from nlp_kernels import dispatch

import tinygrad_nlp as tn
from benchmarks.command import Case, parser, run
from benchmarks.compare import Candidate
from benchmarks.libraries import PEERS, compiling, set_threads
from tinygrad_nlp import nn, optim
from tinygrad_nlp.models.gpt import GPT, GPTConfig

BATCH = 12


@dataclass(frozen=True)
class Size:
    config: GPTConfig
    reference: bool  # whether the readable references are measured too
    bars: dict[str, float]

    @property
    def label(self) -> str:
        c = self.config
        return f"{c.n_layer} layers, {c.n_head} heads, {c.n_embd} wide, T{c.block_size} B{BATCH}"


SIZES = {
    "small": Size(GPTConfig(65), True, {"torch": 1.2, "compile": 1.0}),
    "baby": Size(GPTConfig(65, block_size=256, n_layer=6, n_head=6, n_embd=384), False, {"torch": 1.3, "compile": 1.2}),
}
QUICK = {"quick": Size(GPTConfig(65, block_size=4, n_layer=1, n_head=2, n_embd=8), True, {})}


def step_of(who: str, config: GPTConfig) -> Callable[[], float]:
    """A training step of a new model, the same weights for all; gives the loss before it."""
    tn.manual_seed(0)
    model = GPT(config)
    if who in PEERS:
        return _step_of_torch(model, compiled=who == "compile")
    parameters, optimizer = list(model.parameters()), optim.AdamW(model.parameters(), lr=1e-4)
    tokens, targets = data(config)

    def step() -> float:
        optimizer.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return step


def _step_of_torch(model: GPT, *, compiled: bool) -> Callable[[], float]:
    torch, twin = import_module("torch"), import_module("benchmarks.peers.torch_gpt").twin_of(model)
    parameters, optimizer = list(twin.parameters()), torch.optim.AdamW(twin.parameters(), lr=1e-4, fused=True)
    loss_of = torch.compile(twin.loss, dynamic=False) if compiled else twin.loss
    tokens, targets = map(torch.from_numpy, data(model.config))

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return step


def data(config: GPTConfig) -> np.ndarray:
    """Tokens and targets."""
    return np.random.default_rng(0).integers(0, config.vocab_size, (2, BATCH, config.block_size))


def candidate(who: str, config: GPTConfig, *, cached: bool) -> tuple[Candidate, list[float]]:
    """With the losses of its first three steps."""
    setting = partial(dispatch.use_backend, "reference") if who == "reference" else nullcontext
    with setting(), compiling(cached=cached) if who == "compile" else nullcontext():
        step = step_of(who, config)
        start = time.perf_counter()
        losses = [step()]
        first = time.perf_counter() - start
        losses += [step() for _ in range(2)]
    return Candidate(step, setting, first if who == "compile" else None), losses


def cases(sizes: dict[str, Size], args: argparse.Namespace) -> Iterator[Case]:
    for size in sizes.values():
        candidates: dict[str, Candidate] = {}
        right: list[float] = []
        for who in ("ours", "reference", *args.peers):
            if who == "reference" and (args.bars or not size.reference):
                continue
            try:
                candidates[who], losses = candidate(who, size.config, cached=bool(args.bars))
            except Exception as error:
                if who not in PEERS:
                    raise
                reason = str(error).strip().partition("\n")[0]  # not installed, or whatever a compiler stumbles over
                print(f"gpt {size.label}: without {PEERS[who]}: {reason}")
            else:
                right = right or losses
                np.testing.assert_allclose(losses, right, rtol=1e-4, err_msg=f"{size.label}: losses of {who}")
        yield Case(size.label, candidates, {"tokens": BATCH * size.config.block_size}, bars=size.bars)


def peaks(args: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Bytes of three steps above those of the imports, each in a process of its own, by label and candidate."""
    peers = (args.peers if args.peers is not None else args.known_peers) if find_spec("torch") else ()
    found: dict[str, dict[str, int]] = {size.label: {} for size in SIZES.values()}
    for who in ("ours", *peers):
        for key in ("quick", *SIZES):  # the first compiles, so that the others' peaks are not a compiler's
            command = [
                sys.executable,
                "-c",
                f"from benchmarks.gpt import *; print_peak({who!r}, {key!r}, {args.threads})",
            ]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            if key in SIZES:
                found[SIZES[key].label][who] = int(output)
    return found


def print_peak(who: str, key: str, threads: int) -> None:
    set_threads(threads, (who,))
    for hot_path in dispatch.HOT_PATHS if who == "ours" else ():
        dispatch.backends(hot_path)  # imports them
    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = step_of(who, (QUICK | SIZES)[key].config)
    for _ in range(3):
        step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imports) * (1 if sys.platform == "darwin" else 1024))


def main(argv: list[str] | None = None) -> dict[str, dict]:
    args = parser("gpt", __doc__, peers=("torch", "compile")).parse_args(argv)
    complete = not (args.quick or args.bars) and args.threads == args.usual_threads
    facts = {"peak_bytes": peaks(args)} if complete else {}
    return run("gpt", partial(cases, QUICK if args.quick else SIZES), args, **facts)


if __name__ == "__main__":
    main()
