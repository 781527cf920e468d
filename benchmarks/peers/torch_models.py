"""The recurrent models of `tinygrad_nlp.models` in PyTorch, as its own modules make them: the peers of their quality.

Each takes the same config, has parameters of the same names, and is called with the same arrays.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def ids(array):
    return torch.as_tensor(array, dtype=torch.int64)


def within(lengths, T):
    """Whether a step is within its sequence.  (B,) -> (T, B)"""
    return torch.arange(T)[:, None] < ids(lengths)


def read(rnn, e, lengths):
    """Outputs and final states of sequences within their lengths."""
    y, state = rnn(pack_padded_sequence(e, ids(lengths), enforce_sorted=False))
    return pad_packed_sequence(y, total_length=len(e))[0], state


class LanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        H, D = config.hidden, config.width or config.hidden
        self.table = nn.Embedding(config.vocab_size, D)
        self.rnn = CELLS[config.cell](D, H, config.n_layer, dropout=config.dropout if config.n_layer > 1 else 0)
        self.projection = nn.Linear(H, D, bias=False) if D != H else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.drop = nn.Dropout(config.dropout)

    def loss(self, tokens, targets, state=None):
        if state is not None and len(state) == 1:
            (state,) = state
        h, state = self.rnn(self.drop(self.table(ids(tokens))), state)
        logits = F.linear(self.projection(self.drop(h)), self.table.weight, self.bias)
        loss = F.cross_entropy(logits.flatten(0, 1), ids(targets).flatten())
        return loss, state if isinstance(state, tuple) else (state,)


class Classifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.table, size = nn.Embedding(config.vocab_size, config.width), config.width
        if config.cell != "none":
            dropout = config.dropout if config.n_layer > 1 else 0
            self.rnn = CELLS[config.cell](
                size, config.hidden, config.n_layer, dropout=dropout, bidirectional=config.directions == 2
            )
            size = config.hidden * config.directions
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(size, config.n_classes)

    def forward(self, tokens, lengths):
        h, pooling = self.drop(self.table(ids(tokens))), self.config.pooling
        if self.config.cell == "none":
            pooling = "mean"
        else:
            h, state = read(self.rnn, h, lengths)
        if pooling == "last":
            last = state[0] if isinstance(state, tuple) else state
            return self.output(self.drop(torch.cat(list(last[-self.config.directions :]), dim=-1)))
        real = within(lengths, len(h))[:, :, None]
        if pooling == "max":
            return self.output(self.drop(h.masked_fill(~real, -torch.inf).amax(dim=0)))
        return self.output(self.drop(h.masked_fill(~real, 0).sum(dim=0) / ids(lengths)[:, None]))

    def loss(self, tokens, lengths, targets):
        return F.cross_entropy(self(tokens, lengths), ids(targets))


class WordFeatures(nn.Module):
    def __init__(self, config, n_shapes):
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.shapes = nn.Embedding(n_shapes, config.shape_width)

    def forward(self, words, shapes):
        return torch.cat([self.words(ids(words)), self.shapes(ids(shapes))], dim=-1)


class TagLoss(nn.Module):
    def loss(self, words, shapes, lengths, tags):
        return F.cross_entropy(self(words, shapes, lengths).flatten(0, 1), ids(tags).flatten(), ignore_index=-100)


class Tagger(TagLoss):
    def __init__(self, config, n_shapes):
        super().__init__()
        self.features, both = WordFeatures(config, n_shapes), config.directions == 2
        self.rnn = CELLS[config.cell](
            config.width + config.shape_width,
            config.hidden,
            config.n_layer,
            dropout=config.dropout if config.n_layer > 1 else 0,
            bidirectional=both,
        )
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden * config.directions, config.n_tags)

    def forward(self, words, shapes, lengths):
        h, _ = read(self.rnn, self.drop(self.features(words, shapes)), lengths)
        return self.output(self.drop(h))


class Windows(nn.Module):
    """x_t, from words whose places beyond the ends are 0."""

    def __init__(self, config, n_shapes):
        super().__init__()
        self.config, self.features = config, WordFeatures(config, n_shapes)
        self.inner = nn.Linear((2 * config.reach + 1) * (config.width + config.shape_width), config.hidden)

    def windows(self, words, shapes, lengths, others=None):
        m, real = self.config.reach, within(lengths, len(words))
        e = self.features(*(F.pad(ids(x) * real, (0, 0, m, m)) for x in (words, shapes)))
        x = e.unfold(0, 2 * m + 1, 1).transpose(2, 3).contiguous()  # (T, B, 2m+1, D)
        if others is not None:
            x = torch.cat([x[:, :, :m], self.features(*others)[:, :, None], x[:, :, m + 1 :]], dim=2)
        return x.flatten(2)


class WindowClassifier(TagLoss, Windows):
    def __init__(self, config, n_shapes):
        super().__init__(config, n_shapes)
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden, config.n_tags)

    def forward(self, words, shapes, lengths):
        return self.output(self.drop(torch.tanh(self.inner(self.drop(self.windows(words, shapes, lengths))))))


class WindowScorer(Windows):
    def __init__(self, config, n_shapes):
        super().__init__(config, n_shapes)
        self.output = nn.Linear(config.hidden, 1, bias=False)

    def forward(self, words, shapes, lengths, others=None):
        return self.output(torch.tanh(self.inner(self.windows(words, shapes, lengths, others)))).squeeze(-1)

    def loss(self, words, shapes, lengths, others):
        real = within(lengths, len(words))
        s, corrupted = self(words, shapes, lengths)[real], self(words, shapes, lengths, others)[real]
        if self.config.criterion == "margin":
            return F.margin_ranking_loss(s, corrupted, torch.ones_like(s), margin=1.0)
        of_true, of_false = torch.ones_like(s), torch.zeros_like(s)
        logistic = F.binary_cross_entropy_with_logits
        return logistic(s, of_true) + logistic(corrupted, of_false)


class NameGenerator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.vocab_size, config.width)
        dropout = config.dropout if config.n_layer > 1 else 0
        self.rnn = CELLS[config.cell](config.width, config.hidden, config.n_layer, dropout=dropout)
        self.begin = nn.Embedding(config.n_categories, config.n_layer * config.hidden)
        self.drop, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden, config.vocab_size)

    def losses(self, names, lengths, categories):
        x, real = ids(names), within(lengths, len(names))
        tokens = torch.cat([torch.full_like(x[:1], 2), x[:-1]])  # <bos> and the name without its end
        h = self.begin(ids(categories)).unflatten(1, (self.config.n_layer, -1)).transpose(0, 1).contiguous()
        state = (h, torch.zeros_like(h)) if self.config.cell == "lstm" else h
        y, _ = self.rnn(self.drop(self.table(tokens)), state)  # what comes after the end counts for nothing below
        logits = self.output(self.drop(y))
        return F.cross_entropy(logits.movedim(2, 1), x.where(real, -100), ignore_index=-100, reduction="none")

    def loss(self, names, lengths, categories):
        return self.losses(names, lengths, categories).sum() / int(ids(lengths).sum())

    def score(self, names, lengths, categories):
        return -self.losses(names, lengths, categories).sum(dim=0)


def twin_of(model) -> nn.Module:
    """The same model, with the same weights, in PyTorch."""
    features = getattr(model, "features", None)
    more = () if features is None else (features.shapes.weight.shape[0],)
    twin = globals()[type(model).__name__](model.config, *more)
    weights = {name: torch.tensor(value) for name, value in model.state_dict().items()}
    twin.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    return twin
