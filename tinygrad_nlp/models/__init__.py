"""Models: one file per system, readable from top to bottom."""

from __future__ import annotations

import importlib
from typing import Any

MODELS = {  # what `train` and `generate` know by name: module, model, its sizes; and the run that trains it
    "gpt": ("models.gpt", "GPT", "GPTConfig", "train.windows", "WindowRun"),
    "language-model": ("models.language_model", "LanguageModel", "LanguageModelConfig", "train.streams", "StreamRun"),
    "classifier": ("models.classifier", "Classifier", "ClassifierConfig", "train.classification", "ClassifierRun"),
    "tagger": ("models.tagger", "Tagger", "TaggerConfig", "train.tagging", "TaggerRun"),
    "window-classifier": ("models.window_classifier", "WindowClassifier", "WindowConfig", "train.tagging", "TaggerRun"),
    "window-scorer": ("models.window_scorer", "WindowScorer", "ScorerConfig", "train.scoring", "ScorerRun"),
    "name-generator": ("models.name_generator", "NameGenerator", "NameGeneratorConfig", "train.generation", "NameRun"),
}


def find(name: str) -> tuple[Any, Any, Any]:
    """(model class, config class, run class) of a name in `MODELS`, imported only now."""
    module, model, config, trainer, run = MODELS[name]
    found, training = (importlib.import_module(f"tinygrad_nlp.{m}") for m in (module, trainer))
    return getattr(found, model), getattr(found, config), getattr(training, run)
