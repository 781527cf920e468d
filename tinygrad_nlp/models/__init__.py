"""Models: one file per system, readable from top to bottom."""

from __future__ import annotations

import importlib
from typing import Any

MODELS = {"gpt": ("tinygrad_nlp.models.gpt", "GPT", "GPTConfig")}  # what `train` and `generate` know by name


def find(name: str) -> tuple[Any, Any]:
    """(model class, config class) of a name in `MODELS`, imported only now."""
    module, *names = MODELS[name]
    return tuple(getattr(importlib.import_module(module), n) for n in names)
