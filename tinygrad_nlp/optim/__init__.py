"""Optimisers (E55), gradient clipping (E22) and learning-rate schedules (E55b), with PyTorch's names and numbers."""

from tinygrad_nlp.optim.adam import Adam, AdamW
from tinygrad_nlp.optim.adaptive import Adagrad, RMSprop
from tinygrad_nlp.optim.clip import clip_grad_norm_, clip_grad_value_, clip_scale
from tinygrad_nlp.optim.optimizer import Optimizer
from tinygrad_nlp.optim.schedule import Constant, InverseSqrt, LRSchedule, Noam, WarmupCosine
from tinygrad_nlp.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "InverseSqrt",
    "LRSchedule",
    "Noam",
    "Optimizer",
    "RMSprop",
    "WarmupCosine",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_scale",
]
