"""A training step of a recurrent language model against PyTorch: milliseconds and tokens a second.

python -m benchmarks.language_model         --help lists the options

The sizes are those of Zaremba et al. 2014: two layers, a vocabulary of 10,000, 35 steps of 20 streams; the state is
carried from block to block. Without dropout, so that both must have the same losses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

import numpy as np

import tinygrad_nlp as tn
from benchmarks.command import Case, parser, run
from benchmarks.compare import Candidate
from benchmarks.libraries import PEERS
from tinygrad_nlp import nn, optim
from tinygrad_nlp.models.language_model import LanguageModel, LanguageModelConfig

T, B = 35, 20


def _size(hidden: int, vocabulary: int = 10_000, cell: str = "lstm") -> LanguageModelConfig:
    return LanguageModelConfig(vocabulary, cell=cell, n_layer=2, hidden=hidden, dropout=0.0)


SIZES = {"LSTM 2 × 200": (_size(200), {"torch": 1.3}), "LSTM 2 × 650": (_size(650), {})}
QUICK = {"quick": (_size(8, 50), {})}


def step_of(who: str, config: LanguageModelConfig) -> Callable[[], float]:
    """A training step of a new model, the same weights for all; gives the loss before it."""
    tn.manual_seed(0)
    model = LanguageModel(config)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, (2, T, B))
    return _ours(model, *tokens) if who == "ours" else _theirs(model, *tokens)


def _ours(model, x, y) -> Callable[[], float]:
    parameters, optimizer = list(model.parameters()), optim.AdamW(model.parameters(), lr=1e-3)
    return _step(model, optimizer, partial(nn.utils.clip_grad_norm_, parameters, 1.0), x, y)


def _theirs(model, x, y) -> Callable[[], float]:
    torch, twin = import_module("torch"), import_module("benchmarks.peers.torch_models").twin_of(model)
    parameters, optimizer = list(twin.parameters()), torch.optim.AdamW(twin.parameters(), lr=1e-3, fused=True)
    clip = partial(torch.nn.utils.clip_grad_norm_, parameters, 1.0)
    return _step(twin, optimizer, clip, torch.from_numpy(x), torch.from_numpy(y))


def _step(model, optimizer, clip, x, y) -> Callable[[], float]:
    carried = None

    def step() -> float:
        nonlocal carried
        optimizer.zero_grad()
        loss, state = model.loss(x, y, carried)
        carried = tuple(s.detach() for s in state)
        loss.backward()
        clip()
        optimizer.step()
        return loss.item()

    return step


def cases(sizes: dict, args: argparse.Namespace) -> Iterator[Case]:
    for label, (config, bars) in sizes.items():
        candidates, right = {}, None
        for who in ("ours", *args.peers):
            try:
                step = step_of(who, config)
                losses = [step() for _ in range(3)]
            except ImportError as error:
                print(f"language_model {label}: without {PEERS[who]}: {error}")
                continue
            right = right or losses
            np.testing.assert_allclose(losses, right, rtol=1e-4, err_msg=f"{label}: losses of {who}")
            candidates[who] = Candidate(step)
        yield Case(label, candidates, {"tokens": T * B}, bars=bars)


def main(argv: list[str] | None = None) -> dict[str, dict]:
    args = parser("language_model", __doc__, peers=("torch",)).parse_args(argv)
    return run("language_model", partial(cases, QUICK if args.quick else SIZES), args)


if __name__ == "__main__":
    main()
