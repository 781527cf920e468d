"""Runs of a recurrent language model: a text in parallel streams, the state carried from block to block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp import Tensor, no_grad
from tinygrad_nlp.text import CharTokenizer, WordTokenizer, contiguous_batches, split_words
from tinygrad_nlp.train.language_model import LanguageModelRun
from tinygrad_nlp.train.options import option
from tinygrad_nlp.train.settings import Settings

VALIDATION = 0.1  # the last part of the text
EVALUATION_STREAMS = 10  # few, as each begins without a state; more are faster


@dataclass(frozen=True)
class StreamSettings(Settings):
    """How a language model is trained on streams."""

    batch_size: int = option(20, "streams: pieces of the text that are read side by side", low=1)
    min_lr: float = option(1e-5, "learning rate at the end of the cosine", low=0)
    weight_decay: float = option(0.01, "AdamW's decay of the matrices", low=0)
    unit: str = option("word", "what a step is", choices=("word", "char"))
    min_count: int = option(2, "words seen less often in the training part become <unk>", low=1)
    max_vocab: int = option(10_000, "at most so many words, the most frequent ones", low=1)
    bptt: int = option(35, "steps that a gradient reaches back; the state reaches further", low=1)


class StreamRun(LanguageModelRun):
    """The last tenth of the text is for validation; the rest is read in B streams, epoch after epoch.

    An epoch begins without a state; each later block of `bptt` steps begins with the state in which the one before it
    ended, as a constant. Place and state are the cursor.
    """

    settings_class, fixed_shapes = StreamSettings, True
    about = (
        "Train a recurrent language model on a text, word by word or character by character. The last tenth of the\n"
        "text is kept for validation, and the words are those of the rest; all others are <unk>."
    )
    examples = (
        "  {me} train {name} --data gutenberg\n"
        "  {me} train {name} --cell gru --layers 2 --hidden 200 --dropout 0.5\n"
        "  {me} train {name} --unit char --bptt 100 --data book.txt\n"
        "  {me} train {name} --resume runs/{name}-001 --steps 4000"
    )
    sample_length = 100

    def read_data(self) -> dict[str, Any]:
        """The text as words or characters; only the training part decides which words there are."""
        settings, text = self.settings, self.read_text()
        if settings.unit == "char":
            self.tokenizer = CharTokenizer(text)
            self.train_ids, self.held_out = self._split(self.tokenizer.encode(text))
        else:
            self.unit = "word"
            train, held_out = self._split(split_words(text))
            self.tokenizer = WordTokenizer.build(train, min_count=settings.min_count, max_size=settings.max_vocab)
            if self.tokenizer.vocab_size < 2:
                raise UserError(f"no word is there {settings.min_count} times; choose a smaller --min-count")
            self.train_ids, self.held_out = (self.tokenizer.vocabulary.encode(part) for part in (train, held_out))
        return {"vocab_size": self.tokenizer.vocab_size}

    def _split(self, tokens: Any) -> tuple[Any, Any]:
        """The first nine tenths and the last; each stream needs a token and the next one."""
        at, streams = len(tokens) - int(len(tokens) * VALIDATION), self.settings.batch_size
        if at <= streams or len(tokens) - at < 2:
            raise UserError(
                f"the text has {len(tokens):,} {self.unit}s, too few for {streams} streams: its last "
                f"{VALIDATION:.0%} is kept for validation, so it takes {max(20, int(np.ceil((streams + 1) / 0.9)))} "
                "or more; use a longer text or a smaller --batch-size"
            )
        return tokens[:at], tokens[at:]

    def data_description(self) -> str:
        """The text, its length, its vocabulary and what that leaves out."""
        if isinstance(self.tokenizer, CharTokenizer):
            return super().data_description()
        unknown = float(np.mean(self.held_out == self.tokenizer.unwritable[0]))
        words = len(self.train_ids) + len(self.held_out)
        return (
            f"{self.source()}, {words:,} words, a vocabulary of {self.tokenizer.vocab_size:,}; "
            f"{unknown:.1%} of the validation part is <unk>"
        )

    def prepare(self) -> None:
        """Cut both parts into streams and blocks."""
        bptt, streams = self.settings.bptt, min(EVALUATION_STREAMS, len(self.held_out) - 1)
        self.batches = contiguous_batches(self.train_ids, self.settings.batch_size, bptt)
        self.validation = contiguous_batches(self.held_out, streams, bptt)
        self.val_tokens = sum(y.size for _, y in self.validation)
        self.place = 0
        self.carried: tuple[Tensor, ...] | None = None

    def batch_loss(self) -> Any:
        """The loss of the next block, which goes on with the state of the last one."""
        loss, state = self.model.loss(*self._block(), self.carried)
        self.keep(tuple(s.detach() for s in state))
        return loss

    def _block(self) -> tuple[Any, Any]:
        x, y = self.batches[self.place]
        self.place, self.tokens = (self.place + 1) % len(self.batches), y.size
        return x, y

    def draw(self) -> tuple[Any, ...]:
        """The next block, and the state in which the one before it ended: zeros where an epoch begins."""
        x, y = self._block()
        return (x, y, *(s.data for s in self.carried or self.model.blank(x.shape[1])))

    def loss_of(self, x: Any, y: Any, *state: Any) -> tuple[Any, tuple[Any, ...]]:
        """The loss of a block that begins with a state, and the state it ends with."""
        loss, ends = self.model.loss(x, y, tuple(Tensor(s) for s in state))
        return loss, tuple(s.detach() for s in ends)

    def keep(self, ends: tuple[Any, ...]) -> None:
        """Carry the state on, but for the last block of an epoch."""
        self.carried = ends if self.place else None

    @property
    def cursor(self) -> Any:
        """The next block and the state before it."""
        return {"place": self.place, "state": [s.to("cpu").numpy() for s in self.carried or ()]}

    @cursor.setter
    def cursor(self, value: Any) -> None:
        device = next(self.model.parameters()).device
        self.place = value["place"]
        self.carried = tuple(Tensor(s).to(device) for s in value["state"]) or None

    def evaluate(self) -> float:
        """Mean loss in nats per word or character over the whole validation part, the state carried through it."""
        self.model.eval()
        total, state = 0.0, None
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for x, y in self.validation:
                loss, state = self.model.loss(x, y, state)
                total += float(loss.item()) * y.size
        return total / self.val_tokens
