"""A recurrent language model (E19b, E28 many to many): at every step of a text, the next word or character.

    e_t = drop(E[x_t])                                   (E02, E16)  a row of the table
    h_t = cell(e_t, h_{t−1})                             (E17 RNN, E24 GRU, E25 LSTM)  stacked with drop between (E27)
    logits_t = drop(h_t) P Eᵀ + b                        (E18)  the table of the first line again: tied; P see below
    L = −(1/N) Σ_t log softmax(logits_t)[x_{t+1}]        (E06, E19)  mean over the steps of all streams
    P(x) = Π_t P(x_{t+1} | x_{≤t}),  perplexity = e^L    (E19b)

A step sees all steps before it, through the state alone. Training cuts that: a block of T steps begins with the state
in which the block before it ended, as a constant (truncated back-propagation through time, E20), so gradients reach
back at most T steps while the state reaches back to the beginning.

Mikolov et al. 2010 (RNN); Zaremba et al. 2014 (where an LSTM is dropped out); Press and Wolf 2017 (the tied table, and
P: where the width of a word is not the size of the state, a matrix between them; else P = I).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp import nn, no_grad, random, reshape, zeros
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.ops import linear
from tinygrad_nlp.train.options import Options, option

State = tuple[Tensor, ...]  # h, and c of an LSTM; (L, B, H) each

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class LanguageModelConfig(Options):
    """The size of a recurrent language model."""

    vocab_size: int
    cell: str = option("lstm", "what carries the state from step to step", choices=tuple(CELLS))
    n_layer: int = option(1, "recurrent layers on top of each other", flag="--layers", low=1)
    hidden: int = option(256, "features of a layer's state", low=1)
    width: int | None = option(None, "features of a token (default: as many as --hidden)", kind=int, low=1)
    dropout: float = option(0.3, "probability to drop a feature between layers in training", low=0, high=0.99)


class LanguageModel(nn.Module):
    """The model of the module's equations.  tokens (T, B), state -> logits (T, B, V), state"""

    def __init__(self, config: LanguageModelConfig):
        super().__init__()
        self.config = config
        H, D = config.hidden, config.width or config.hidden
        self.table = nn.Embedding(config.vocab_size, D)  #                         E
        forget = {"forget_bias": 1.0} if config.cell == "lstm" else {}  #          (E25)
        self.rnn = CELLS[config.cell](D, H, config.n_layer, dropout=config.dropout, **forget)
        self.projection = nn.Linear(H, D, bias=False) if D != H else nn.Identity()  # P
        self.bias = nn.Parameter(np.zeros(config.vocab_size, np.float32))  #       b
        self.drop = nn.Dropout(config.dropout)
        nn.init.uniform_(self.table.weight, -0.1, 0.1)

    def forward(self, tokens: Any, state: State | None = None) -> tuple[Tensor, State]:
        """Logits of the token after each token, and the state after the last.  (T, B) -> (T, B, V), (L, B, H) …

        Without a state the text begins here. Raises `ShapeError` for tokens that are not (T, B).
        """
        if np.ndim(tokens) != 2:
            raise ShapeError(f"LanguageModel: tokens have shape {np.shape(tokens)}, expected (T, B), time first")
        hx = state if state is None or len(state) > 1 else state[0]
        h, hx = self.rnn(self.drop(self.table(tokens)), hx)  #                     (T, B, H)
        logits = linear(self.projection(self.drop(h)), self.table.weight, self.bias)  # (E18)
        return logits, hx if isinstance(hx, tuple) else (hx,)

    def blank(self, streams: int) -> State:
        """The state before any token, zeros.  -> (L, B, H) …"""
        w, config = self.bias, self.config
        shape = (config.n_layer, streams, config.hidden)
        return tuple(zeros(shape, dtype=w.dtype, device=w.device) for _ in range(2 if config.cell == "lstm" else 1))

    def loss(self, tokens: Any, targets: Any, state: State | None = None) -> tuple[Tensor, State]:
        """Mean of −log P(target) in nats per token (E19), and the state after the last.  (T, B), (T, B) -> (), …"""
        logits, state = self(tokens, state)
        flat = reshape(logits, (-1, self.config.vocab_size))
        return nn.functional.cross_entropy(flat, reshape(targets, (-1,))), state

    def generate(
        self,
        prompt: ArrayLike,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        never: Sequence[int] = (),
        generator: Any = None,
    ) -> Iterator[NDArray[np.int64]]:
        """Draw `length` tokens, each from P(x_{t+1} | x_{≤t}) as `decoding` cuts it (E46).  (B, T) -> length times (B,)

        Puts the model in evaluation mode. The prompt is read once; then a token costs one step, whatever came before
        it. The ids in `never` are not drawn.
        """
        generator = generator or random.default_generator
        self.eval()
        fresh, state = np.asarray(prompt).T, None
        for _ in range(length):
            with no_grad():
                logits, state = self(fresh, state)
            last = np.array(logits[-1].numpy(), np.float64)  #                     (B, V)
            last[:, list(never)] = -np.inf
            p = next_token_probabilities(last, temperature=temperature, top_k=top_k, top_p=top_p)
            token = draw(p, generator)
            yield token
            fresh = token[None, :]
