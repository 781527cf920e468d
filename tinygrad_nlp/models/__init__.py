"""Models: one file per system, readable from top to bottom."""

from __future__ import annotations

import importlib
from typing import Any

MODELS = {  # what `train` and `generate` know by name: the model, its sizes, and the run that trains it
    "gpt": ("tinygrad_nlp.models.gpt:GPT", "tinygrad_nlp.models.gpt:GPTConfig", "tinygrad_nlp.train.windows:WindowRun"),
}


def find(name: str) -> tuple[Any, Any, Any]:
    """(model class, config class, run class) of a name in `MODELS`, imported only now."""
    model, config, run = (_imported(place) for place in MODELS[name])
    return model, config, run


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
