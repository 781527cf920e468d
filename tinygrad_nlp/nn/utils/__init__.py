"""Helpers for training, under the names that PyTorch gives them."""

from tinygrad_nlp.nn.utils import rnn
from tinygrad_nlp.optim.clip import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "rnn"]
