"""200 training steps of a GPT here and in PyTorch, from the same weights and batches, in float64.

python -m benchmarks.gpt_parity             writes docs/figures/gpt-parity.png and the largest difference
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygrad_nlp as tn
from tinygrad_nlp import optim
from tinygrad_nlp.models.gpt import GPT, GPTConfig
from tinygrad_nlp.text import CharTokenizer, WindowSampler, load_text

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "gpt-parity.png"


def losses(steps: int = 200, *, batch: int = 8, seed: int = 0) -> tuple[list[float], list[float]]:
    """The two loss curves, in nats per character."""
    import torch

    from benchmarks.peers.torch_gpt import twin_of

    text = load_text()[:50_000]
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    tn.manual_seed(seed)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=32, n_layer=2, n_head=2, n_embd=32)
    model = GPT(config).to(dtype=np.float64)
    twin = twin_of(model)
    ours, theirs = [], []
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    peer = torch.optim.AdamW(twin.parameters(), lr=3e-3)
    draw = WindowSampler(ids, config.block_size, batch, tn.random.Generator(seed))
    for _ in range(steps):
        tokens, targets = draw()
        optimizer.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        optimizer.step()
        ours.append(loss.item())
        peer.zero_grad()
        their_loss = twin.loss(torch.from_numpy(tokens), torch.from_numpy(targets))
        their_loss.backward()
        peer.step()
        theirs.append(their_loss.item())
    return ours, theirs


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ours, theirs = losses()
    difference = np.abs(np.array(ours) - theirs)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, height_ratios=[2, 1], layout="constrained")
    top.plot(theirs, linewidth=4, color="#f0a860", label="PyTorch")
    top.plot(ours, linewidth=1.2, color="#205080", label="tinygrad-nlp")
    top.set(ylabel="training loss, nats per character", title="The same weights and batches, float64")
    top.legend()
    bottom.semilogy(difference, color="#205080")
    bottom.set(xlabel="step", ylabel="|difference|, nats")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    print(f"loss {ours[0]:.4f} -> {ours[-1]:.4f} nats; largest difference {difference.max():.2e} nats")
    print("saved:", FIGURE)


if __name__ == "__main__":
    main()
