"""How a training run is set up, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_nlp import bfloat16, float32, float64
from tinygrad_nlp.train.options import Options, option

DTYPES = {"float32": float32, "float64": float64, "bf16": bfloat16}  # of parameters, by the names of --dtype
CHANGEABLE = ("data", "steps", "eval_every")  # what a continued run may change and stay the same run


@dataclass(frozen=True)
class Settings(Options):
    """How a model is trained."""

    data: str | None = option(
        None,
        "a UTF-8 text, or a corpus of `data list` (default: CPython's language reference)",
        kind=str,
        metavar="NAME|PATH",
    )
    steps: int = option(2000, "how many steps to train", low=1)
    batch_size: int = option(12, "examples in a batch", low=1)
    lr: float = option(3e-3, "highest learning rate, reached after the warm-up", low=0)
    min_lr: float = option(1e-4, "learning rate at the end of the cosine", low=0)
    warmup: int = option(100, "steps over which the learning rate rises linearly", low=0)
    decay_steps: int | None = option(None, "step at which the cosine ends (default: --steps)", kind=int, low=1)
    weight_decay: float = option(0.1, "AdamW's decay of the matrices", low=0)
    beta1: float = option(0.9, "AdamW's memory of the gradient", low=0, high=1)
    beta2: float = option(0.99, "AdamW's memory of the squared gradient", low=0, high=1)
    clip: float = option(1.0, "largest norm of the gradient; 0 does not clip", low=0)
    eval_every: int = option(200, "steps from one validation and checkpoint to the next", low=1)
    seed: int = option(1337, "seed of weights, batches, dropout and samples", low=0, high=2**64 - 1)
    dtype: str = option("float32", "floating-point type; bf16 steps float32 masters", choices=tuple(DTYPES))


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    seconds: float
    results: dict[str, str]  # the closing lines, by their titles
    samples: list[str]
    signal_number: int  # what stopped it, 0 for a run that came to its end

    def summary(self) -> str:
        """The closing lines."""
        lines = self.results | {"time": f"{self.seconds:.0f} s for {self.step:,} steps"}
        return "\n".join(f"{title:<12}{line}" for title, line in lines.items())
