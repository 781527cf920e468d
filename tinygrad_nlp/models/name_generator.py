"""A generator of names (E28 one to many): a category is all it is given, and what it draws it reads again.

    h_0 = C[k]                                           a learned row for category k, one for each layer; c_0 = 0
    e_t = drop(E[x_t]),  x_1 = <bos>                     (E02, E16)
    h_t = cell(e_t, h_{t−1})                             (E17, E24, E25; stacked with drop between E27)
    logits_t = drop(h_t) Wᵀ + b                          (E18)
    L = −(1/N) Σ_t log softmax(logits_t)[x_{t+1}]        (E06, E19)  the N characters and <eos>s of the batch
    P(x | k) = Π_t P(x_{t+1} | x_{≤t}, k),  P(k | x) = P(x | k) P(k) / Σ_j P(x | j) P(j)

To generate is to begin with C[k] alone: x_{t+1} is drawn, fed back, and so on until <eos>. P(x | k) of a whole name
also says which category fits it best (Bayes' rule). An LSTM too begins with h_0 alone: its first step reads <bos>, the
same in every name, and writes what it needs of C[k] into c_1; a learned c_0 beside it gained nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import ShapeError
from numpy.typing import ArrayLike, NDArray

from tinygrad_nlp import Tensor, cross_entropy, nn, no_grad, permute_dims, random, reshape, zeros_like
from tinygrad_nlp import sum as tensor_sum
from tinygrad_nlp.models.decoding import draw, next_token_probabilities
from tinygrad_nlp.train.options import Options, option

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
PAD, UNK, BOS, EOS = range(4)  # the first ids of a `text.Vocabulary`
AFTER_THE_END = -100  # what a step has as its target there: it counts for nothing


@dataclass(frozen=True)
class NameGeneratorConfig(Options):
    """The size of a generator of names."""

    vocab_size: int
    n_categories: int
    cell: str = option("gru", "what carries the state from character to character", choices=tuple(CELLS))
    n_layer: int = option(1, "recurrent layers on top of each other", flag="--layers", low=1)
    hidden: int = option(256, "features of a layer's state", low=1)
    width: int = option(128, "features of a character", low=1)
    dropout: float = option(0.2, "probability to drop a feature between layers in training", low=0, high=0.99)


class NameGenerator(nn.Module):
    """The model of the module's equations.  tokens (T, B), lengths (B,), categories (B,) -> logits (T, B, V)"""

    def __init__(self, config: NameGeneratorConfig):
        super().__init__()
        self.config = config
        forget = {"forget_bias": 1.0} if config.cell == "lstm" else {}  #          (E25)
        self.table = nn.Embedding(config.vocab_size, config.width)  #              E
        self.rnn = CELLS[config.cell](config.width, config.hidden, config.n_layer, dropout=config.dropout, **forget)
        self.begin = nn.Embedding(config.n_categories, config.n_layer * config.hidden)  # C
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden, config.vocab_size)
        nn.init.normal_(self.table.weight, std=0.1)  # and C stays N(0, 1), as large as states become

    def forward(self, tokens: Any, lengths: Any, categories: Any) -> Tensor:
        """Logits of the character after each, of names that begin with <bos>.  (T, B), (B,), (B,) -> (T, B, V)

        Of name b the first `lengths[b]` steps count. Raises `ShapeError` where the shapes are not these, `IndexError`
        for a length outside 1 … T and for a category outside 0 … C−1.
        """
        shape = np.shape(tokens)
        if len(shape) != 2 or not np.shape(lengths) == np.shape(categories) == shape[1:]:
            raise ShapeError(
                f"NameGenerator: tokens {shape}, lengths {np.shape(lengths)} and categories {np.shape(categories)} "
                "must be (T, B), time first, (B,) and (B,)"
            )
        return self._read(tokens, self._initial(categories), np.asarray(lengths))[0]

    def _initial(self, categories: Any) -> Any:
        """h_0, with c_0 beside it for an LSTM.  (B,) -> (L, B, H), …"""
        k, n = np.asarray(categories), self.config.n_categories
        if k.size and (k.min() < 0 or k.max() >= n):
            raise IndexError(f"NameGenerator: categories from {k.min()} to {k.max()}, expected 0 to {n - 1}")
        rows = reshape(self.begin(k), (len(k), self.config.n_layer, self.config.hidden))
        h = permute_dims(rows, (1, 0, 2))  #                                       (L, B, H)
        return (h, zeros_like(h)) if self.config.cell == "lstm" else h

    def _read(self, tokens: Any, state: Any, lengths: Any = None) -> tuple[Tensor, Any]:
        """Logits after each token, and the state after the last.  (T, B) -> (T, B, V), (L, B, H), …"""
        h, state = self.rnn(self.drop(self.table(tokens)), state, lengths=lengths)
        return self.output(self.drop(h)), state

    def losses(self, names: Any, lengths: Any, categories: Any) -> Tensor:
        """−log P(x_{t+1} | x_{≤t}, k) in nats, 0 after the end.  (T, B), (B,), (B,) -> (T, B)

        A name is its characters and <eos>, `lengths[b]` of them in all; <bos> is put before them here.
        """
        x = np.asarray(names)
        logits = self(np.concatenate([np.full_like(x[:1], BOS), x[:-1]]), lengths, categories)
        targets = np.where(np.arange(len(x))[:, None] < np.asarray(lengths), x, AFTER_THE_END)
        return cross_entropy(logits, targets, ignore_index=AFTER_THE_END)

    def loss(self, names: Any, lengths: Any, categories: Any) -> Tensor:
        """Mean of `losses` in nats per character, <eos> counted as one (E19).  (T, B), (B,), (B,) -> ()"""
        return tensor_sum(self.losses(names, lengths, categories)) / int(np.sum(lengths))

    def score(self, names: Any, lengths: Any, categories: Any) -> Tensor:
        """log P(x | k) of whole names in nats.  (T, B), (B,), (B,) -> (B,)"""
        return -tensor_sum(self.losses(names, lengths, categories), axis=0)

    def generate(
        self,
        categories: ArrayLike,
        max_length: int,
        *,
        prompt: Sequence[int] | NDArray[np.int64] = (),
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Any = None,
    ) -> list[NDArray[np.int64]]:
        """What follows the prompt in a name of each category, up to <eos>.  (B,) -> B times (T_b,), T_b ≤ max_length

        Every name begins with the prompt, ids of characters. Each next one is drawn from P(x_{t+1} | x_{≤t}, k) as
        `decoding` cuts it (E46); <pad>, <unk> and <bos> are never drawn. Puts the model in evaluation mode.
        """
        generator, k = generator or random.default_generator, np.asarray(categories)
        self.eval()
        fresh = np.tile(np.array([[BOS], *([i] for i in prompt)]), len(k))  #      (1 + P, B)
        drawn: list[NDArray[np.int64]] = []
        ended = np.zeros(len(k), bool)
        with no_grad():
            state = self._initial(k)
            while len(drawn) < max_length and not ended.all():
                logits, state = self._read(fresh, state)
                last = np.array(logits[-1].numpy(), np.float64)  #                 (B, V)
                last[:, [PAD, UNK, BOS]] = -np.inf
                p = next_token_probabilities(last, temperature=temperature, top_k=top_k, top_p=top_p)
                token = np.where(ended, EOS, draw(p, generator))
                ended |= token == EOS
                drawn.append(token)
                fresh = token[None, :]
        names = np.stack(drawn, axis=1)  #                                         (B, T)
        return [row[: int(n)] for row, n in zip(names, (names != EOS).sum(axis=1), strict=True)]
