"""What runs of all language models share: a text, its tokens, loss and perplexity, samples, a text continued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import DEFAULT_CORPUS, CharTokenizer, WordTokenizer, fetch, load_text, names_text, perplexity
from tinygrad_nlp.train.progress import in_bits
from tinygrad_nlp.train.run import SAMPLE_STREAM, Run
from tinygrad_nlp.train.run_folder import RunFolder
from tinygrad_nlp.train.writing import Writing

Tokenizer = CharTokenizer | WordTokenizer


class LanguageModelRun(Run):
    """A run on a text; a subclass makes tokens and batches of it, and sets `val_tokens`."""

    unit = "character"
    writes, suggestion = True, ("--prompt", "The ")
    sample_length: ClassVar[int] = 300  # tokens
    tokenizer: Tokenizer
    text_length: int  # characters
    val_tokens: int

    @classmethod
    def fetch_data(cls, data: str | None, *, quiet: bool) -> None:
        """Get the corpus if it is one."""
        if data is not None and names_text(data):
            fetch(data, quiet=quiet)

    def read_text(self) -> str:
        """The text of `settings.data`."""
        text, data = load_text(self.settings.data), self.settings.data
        if data is not None and not names_text(data):  # a run may go on from another folder
            self.settings = replace(self.settings, data=str(Path(data).resolve()))
        self.data_hash, self.text_length = hashlib.sha256(text.encode()).hexdigest(), len(text)
        return text

    def source(self) -> str:
        """The text's name."""
        return self.settings.data or DEFAULT_CORPUS

    def data_state(self) -> dict[str, Any]:
        """The characters, or words."""
        return self.tokenizer.to_dict()

    def data_summary(self) -> dict[str, Any]:
        """The text's length and hash."""
        return {"characters": self.text_length, "sha256": self.data_hash}

    def data_description(self) -> str:
        """The text, its length and vocabulary."""
        return f"{self.source()}, {self.text_length:,} characters, {self.tokenizer.vocab_size} different ones"

    def measures(self, part: str, loss: float) -> dict[str, float]:
        """Bits per character, or the perplexity per word (E19b)."""
        if self.unit == "word":
            return {f"{part}_perplexity": perplexity(loss)}
        return {f"{part}_bits_per_char": in_bits(loss)}

    def results(self, train_loss: float) -> dict[str, str]:
        """Both losses, in nats and in what `measures` gives."""
        return {
            "training": f"{self._in_units(train_loss)} (mean of the last batches)",
            "validation": f"{self._in_units(self.val_loss)} ({self.val_tokens:,} {self.unit}s never trained on)",
        }

    def _in_units(self, nats: float) -> str:
        if self.unit == "word":
            return f"{nats:.4f} nats per word = perplexity {perplexity(nats):.2f}"
        return f"{nats:.4f} nats = {in_bits(nats):.4f} bits per character"

    def finish(self, folder: RunFolder) -> list[str]:
        """Samples, shown and written."""
        samples = self.sample(3, self.sample_length, temperature=0.8)
        folder.write("samples.txt", f"\n{'─' * 80}\n".join(samples) + "\n")
        return samples

    def sample(self, n: int, length: int, *, temperature: float) -> list[str]:
        """n texts from the model, the same for the same weights and seed."""
        prompt, generator = np.tile(self.tokenizer.encode(opening(self.tokenizer)), (n, 1)), self.stream(SAMPLE_STREAM)
        choice = {"temperature": temperature, "generator": generator} | self.never(self.tokenizer)
        tokens = np.stack(list(self.model.generate(prompt, length, **choice)), axis=1)
        return [self.tokenizer.decode(ids) for ids in tokens]

    @classmethod
    def tokenizer_of(cls, state: dict[str, Any]) -> Tokenizer:
        """The tokenizer of a checkpoint's state."""
        return (CharTokenizer if "characters" in state else WordTokenizer).from_dict(state)

    @classmethod
    def write(cls, model: Any, state: dict[str, Any], writing: Writing) -> Iterator[str]:
        """The prompt and what follows it, piece by piece."""
        if writing.category is not None or writing.number is not None:
            raise UserError(
                f"a model {state['name']!r} continues one text and knows no categories; "
                "leave out --category and --number"
            )
        tokenizer = cls.tokenizer_of(state)
        ids = tokenizer.encode(writing.prompt or opening(tokenizer))
        tokens = model.generate(ids[None, :], writing.length, **writing.choice(), **cls.never(tokenizer))
        return chain([writing.prompt], (tokenizer.decode(token) for token in tokens))

    @classmethod
    def never(cls, tokenizer: Tokenizer) -> dict[str, Any]:
        """The argument of the model's `generate` that rules tokens out, where there are such."""
        return {"never": tokenizer.unwritable} if isinstance(tokenizer, WordTokenizer) else {}


def opening(tokenizer: Tokenizer) -> str:
    """What a text may begin with: the end of a line or sentence if the vocabulary has one, else its first token."""
    if isinstance(tokenizer, CharTokenizer):
        return "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]
    return "." if "." in tokenizer.vocabulary else tokenizer.vocabulary.tokens[-1]
