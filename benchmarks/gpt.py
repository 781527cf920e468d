"""A GPT's training step, tokens per second, against PyTorch eager.

python -m benchmarks.gpt                    4 layers, 4 heads, 128 wide, block 64, batch 12
python -m benchmarks.gpt --large            6 layers, 6 heads, 384 wide, block 256, batch 12
"""

from __future__ import annotations

import argparse

import numpy as np

import tinygrad_nlp as tn
from benchmarks.compare import interleaved, save, show, summary
from tinygrad_nlp import nn, optim
from tinygrad_nlp.models.gpt import GPT, GPTConfig


def step_of_ours(model, tokens, targets):
    optimizer = optim.AdamW(model.parameters(), lr=1e-4)
    parameters = list(model.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return step


def step_of_torch(twin, tokens, targets):
    import torch

    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-4, fused=True)
    tokens, targets = torch.from_numpy(tokens), torch.from_numpy(targets)

    def step() -> float:
        optimizer.zero_grad()
        loss = twin.loss(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="6 layers, 6 heads, 384 wide, block 256")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    size = {"block_size": 256, "n_layer": 6, "n_head": 6, "n_embd": 384} if args.large else {"block_size": 64}
    config = GPTConfig(vocab_size=65, **size)
    tn.manual_seed(0)
    model = GPT(config)
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 65, (2, 12, config.block_size))
    candidates = {"ours": step_of_ours(model, tokens, targets)}
    try:
        from benchmarks.peers.torch_gpt import twin_of

        candidates["torch"] = step_of_torch(twin_of(model), tokens, targets)
    except ImportError:
        print("PyTorch is not installed: no peer")
    losses = {name: [step() for _ in range(3)] for name, step in candidates.items()}
    for name, curve in losses.items():
        np.testing.assert_allclose(curve, losses["ours"], rtol=1e-4, err_msg=name)
    # the thread pools of both spin for a while after their work: a rest keeps one's from slowing the other
    rows = summary(interleaved(candidates, rounds=args.rounds, warmup=2, rest=0.2))
    name = "gpt_large" if args.large else "gpt"
    show(f"GPT training step, {config.n_layer} layers, {config.n_embd} wide, {tokens.size} tokens", {name: rows})
    for candidate, row in rows.items():
        row["tokens_per_second"] = tokens.size / row["median_us"] * 1e6
        print(f"{candidate}: {row['tokens_per_second']:,.0f} tokens/s")
    print("saved:", save(name, {name: rows}, tokens=int(tokens.size)))


if __name__ == "__main__":
    main()
