"""`tinygrad_nlp.models.gpt` in PyTorch: the oracle of its gradients and the peer of its speed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, C: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(C, 3 * C), nn.Linear(C, C)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.c_attn(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, C: int):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, C: int, heads: int):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(C), Attention(C, heads)
        self.ln_2, self.mlp = nn.LayerNorm(C), MLP(C)

    def forward(self, h):
        h = h + self.attn(self.ln_1(h))
        return h + self.mlp(self.ln_2(h))


class TorchGPT(nn.Module):
    """Takes the same `GPTConfig`; without dropout."""

    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        self.wte, self.wpe = nn.Embedding(config.vocab_size, C), nn.Embedding(config.block_size, C)
        self.h = nn.ModuleList([Block(C, config.n_head) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(C)

    def forward(self, tokens):
        h = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            h = block(h)
        return F.linear(self.ln_f(h), self.wte.weight)

    def loss(self, tokens, targets):
        logits = self(tokens)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def twin_of(model) -> TorchGPT:
    """The PyTorch model with the weights of ours, in their dtype."""
    state = {name: torch.from_numpy(array.copy()) for name, array in model.state_dict().items()}
    twin = TorchGPT(model.config).to(next(iter(state.values())).dtype)
    twin.load_state_dict(state)
    return twin
