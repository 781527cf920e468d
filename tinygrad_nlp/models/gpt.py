"""GPT (E51): a decoder-only Transformer that predicts every token of a text from the tokens before it.

    h = W_e[x] + W_p[0 … T−1]                            (E02)  token plus learned position
    h = h + Attention(LayerNorm(h))                      (E33–E37, E42 with the norm before: pre-norm)
    h = h + gelu(LayerNorm(h) W₁ + b₁) W₂ + b₂           (E40, E42)      … both lines once per block, own weights each
    logits = LayerNorm(h) W_eᵀ                           (E45)  the table of the first line again: tied
    L = −(1/T) Σ_t log softmax(logits_t)[x_{t+1}]        (E06)  −log P(x) per token, P(x) = Π_t P(x_{t+1} | x_{≤t})

Radford et al. 2018; the norm's place and the initialisation are GPT-2's (2019), as are the parameters' names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError, UserError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp import arange, concat, nn, no_grad, permute_dims, random, reshape, unstack
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.ops import attention, layer_norm, linear
from tinygrad_nlp.train.options import Options, option


@dataclass(frozen=True)
class GPTConfig(Options):
    """The size of a GPT."""

    vocab_size: int
    block_size: int = option(64, "tokens the model sees at once", low=1)
    n_layer: int = option(4, "blocks", flag="--layers", low=1)
    n_head: int = option(4, "attention heads in a block", flag="--heads", low=1)
    n_kv_head: int | None = option(
        None, "heads of keys and values, shared by the others (default: --heads)", flag="--kv-heads", kind=int, low=1
    )
    n_embd: int = option(128, "features of a token", flag="--width", low=1)
    dropout: float = option(0.0, "probability to drop a feature or an attention weight in training", low=0, high=0.99)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_embd % self.n_head:
            raise UserError(
                f"GPTConfig: a width of {self.n_embd} cannot be shared by {self.n_head} heads; "
                "choose --width as a multiple of --heads"
            )
        if self.n_head % self.kv_heads:
            raise UserError(
                f"GPTConfig: {self.kv_heads} heads of keys and values cannot be shared by {self.n_head} heads; "
                "choose --heads as a multiple of --kv-heads"
            )

    @property
    def kv_heads(self) -> int:
        """KH: `n_kv_head`, or one for each head."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head


class KeysValues:
    """What a block's attention keeps of the tokens it has seen: their keys and values, (B, KH, S, D) each."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys and values, return all."""
        if self.keys is not None and self.values is not None:
            k, v = concat([self.keys, k], axis=2), concat([self.values, v], axis=2)
        self.keys, self.values = k, v
        return k, v

    @property
    def length(self) -> int:
        """S, how many tokens were seen."""
        return 0 if self.keys is None else self.keys.shape[2]


class CausalSelfAttention(nn.Module):
    """concat(head_1 … head_H) W_O, head_i = softmax(Q_i K_iᵀ / √d_k) V_i over t' ≤ t (E37).  (B, T, C) -> (B, T, C)

    With KH < H heads of keys and values, H / KH neighbouring heads share one (Ainslie et al. 2023).
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_head, self.kv_heads, self.dropout = config.n_head, config.kv_heads, config.dropout
        heads = self.n_head + 2 * self.kv_heads
        self.c_attn = nn.Linear(config.n_embd, config.n_embd // self.n_head * heads)  # W_Q, W_K, W_V side by side
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)  # W_O

    def forward(self, x: Tensor, cache: KeysValues | None = None) -> Tensor:
        B, T, C = x.shape
        H, KH, D = self.n_head, self.kv_heads, C // self.n_head
        qkv = reshape(self.c_attn(x), (B, T, H + 2 * KH, D))  #                    (E33)
        if KH == H:  # one node, whose gradient lies there already
            parts = unstack(reshape(qkv, (B, T, 3, H, D)), axis=2)
        else:
            parts = qkv[:, :, :H], qkv[:, :, H : H + KH], qkv[:, :, H + KH :]
        q, k, v = (permute_dims(x, (0, 2, 1, 3)) for x in parts)  #                (B, H, T, D), (B, KH, T, D), views
        if cache is not None:
            k, v = cache.extend(k, v)  #                                           (B, KH, S, D), S ≥ T
        y = attention(q, k, v, causal=True, dropout=self.dropout if self.training else 0.0)  # (E35, E36)
        return self.c_proj(reshape(permute_dims(y, (0, 2, 1, 3)), (B, T, C)))  #   (E37)


class MLP(nn.Module):
    """gelu(x W₁ + b₁) W₂ + b₂, four times as wide inside (E40).  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(linear(x, self.c_fc.weight, self.c_fc.bias, activation="gelu_tanh"))


class Block(nn.Module):
    """h + Attention(LayerNorm(h)), then h + MLP(LayerNorm(h)) (E42).  (B, T, C) -> (B, T, C)

    Each sum is left to the norm that reads it next, which computes it in the same pass: a block is given the stream h
    and a branch to add to it, and returns both again.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(config.n_embd), CausalSelfAttention(config)
        self.ln_2, self.mlp = nn.LayerNorm(config.n_embd), MLP(config)
        self.drop = nn.Dropout(config.dropout)  # (E16)

    def forward(self, h: Tensor, branch: Tensor | None, cache: KeysValues | None = None) -> tuple[Tensor, Tensor]:
        x, h = add_and_norm(self.ln_1, h, branch)
        x, h = add_and_norm(self.ln_2, h, self.drop(self.attn(x, cache)))
        return h, self.drop(self.mlp(x))


def add_and_norm(norm: nn.LayerNorm, h: Tensor, branch: Tensor | None) -> tuple[Tensor, Tensor]:
    """LayerNorm(h + branch), and h + branch (E41, E42).  (..., C), (..., C) -> (..., C), (..., C)"""
    if branch is None:
        return norm(h), h
    return layer_norm(branch, norm.weight, norm.bias, h, eps=norm.eps)


class GPT(nn.Module):
    """The model of the module's equations.  tokens (B, T) -> logits (B, T, V)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # W_e
        self.wpe = nn.Embedding(config.block_size, config.n_embd)  # W_p
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd)
        self._initialise()

    def _initialise(self) -> None:
        """Weights N(0, 0.02²), biases 0; N(0, 0.02² / 2L) where 2L branches add into one stream, to keep its size."""
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * self.config.n_layer))
            elif p.ndim == 2:
                nn.init.normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens: Any, cache: list[KeysValues] | None = None) -> Tensor:
        """Logits of the token after each token.  (B, T) -> (B, T, V)

        With a cache (one entry a block, see `empty_cache`) the tokens continue those it has seen, and it grows by them:
        the logits are those of the whole text's last T places. Raises `ShapeError` beyond `block_size` tokens.
        """
        past, T = cache[0].length if cache else 0, tokens.shape[1]
        if past + T > self.config.block_size:
            raise ShapeError(f"GPT: {past + T} tokens, but the model has positions for {self.config.block_size}")
        places = arange(past, past + T, device=self.wpe.weight.device)
        h = self.drop(self.wte(tokens) + self.wpe(places))  #                      (E02)  (B, T, C)
        branch = None
        for i, block in enumerate(self.h):
            h, branch = block(h, branch, cache[i] if cache else None)
        x, _ = add_and_norm(self.ln_f, h, branch)
        return linear(x, self.wte.weight)  #                                     (E45)  (B, T, V)

    def loss(self, tokens: Any, targets: Any) -> Tensor:
        """Mean of −log P(target) in nats per token (E06, E51).  (B, T), (B, T) -> ()"""
        logits = self(tokens)
        return nn.functional.cross_entropy(reshape(logits, (-1, self.config.vocab_size)), targets.reshape(-1))

    def empty_cache(self) -> list[KeysValues]:
        """A cache that has seen nothing, for `forward`."""
        return [KeysValues() for _ in self.h]

    def generate(
        self,
        prompt: ArrayLike,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Any = None,
    ) -> Iterator[NDArray[np.int64]]:
        """Draw `length` tokens, each from P(x_{t+1} | x_{≤t}) as `decoding` cuts it (E46).  (B, T) -> length times (B,)

        Puts the model in evaluation mode. A token costs one position's work, thanks to the cache, until the text is
        longer than `block_size`: from then on every token shifts all positions, and the last `block_size` tokens are
        computed anew.
        """
        generator = generator or random.default_generator
        self.eval()
        text = fresh = np.asarray(prompt)
        cache = self.empty_cache()
        for _ in range(length):
            with no_grad():
                if cache[0].length + fresh.shape[1] > self.config.block_size:
                    cache, fresh = self.empty_cache(), text[:, -self.config.block_size :]
                logits = self(fresh, cache)[:, -1].numpy()
            p = next_token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
            token = draw(p, generator)
            yield token
            text, fresh = np.concatenate([text, token[:, None]], axis=1), token[:, None]
