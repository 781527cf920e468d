"""What `generate` may be asked for; a run class whose models write takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygrad_nlp.random import Generator
from tinygrad_nlp.train.options import Options, option


@dataclass(frozen=True)
class Writing(Options):
    """How `generate` writes."""

    prompt: str = option("", "the text to continue (default: the end of a line or sentence; of a name: nothing)")
    category: str | None = option(
        None, "the category of what is written, for a model that learnt categories", kind=str, metavar="NAME"
    )
    number: int | None = option(
        None, "how many names to write, for the same models (default: 1)", flag="--number", short="-n", kind=int, low=1
    )
    length: int = option(500, "characters to write, or words; of a name, at most so many", low=1)
    temperature: float = option(0.8, "below 1 safer, above 1 wilder, 0 always the likeliest", low=0)
    top_k: int | None = option(None, "draw only among the N likeliest characters, or words", kind=int, low=1)
    top_p: float | None = option(
        None, "draw only among the fewest that together have probability X", kind=float, low=1e-9, high=1
    )
    seed: int = option(0, "the same seed writes the same text", low=0)

    def choice(self) -> dict[str, Any]:
        """The arguments by which a model's `generate` draws."""
        decoding = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return decoding | {"generator": Generator(self.seed)}
