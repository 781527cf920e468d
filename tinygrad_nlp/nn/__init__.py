"""Layers, losses, initialisers: PyTorch's names, arguments, parameter names and numbers."""

from tinygrad_nlp.nn import functional, init, utils
from tinygrad_nlp.nn.activation import GELU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from tinygrad_nlp.nn.attention import MultiheadAttention
from tinygrad_nlp.nn.container import Identity, ModuleList, Sequential
from tinygrad_nlp.nn.dropout import Dropout
from tinygrad_nlp.nn.embedding import Embedding
from tinygrad_nlp.nn.linear import Linear
from tinygrad_nlp.nn.loading import IncompatibleKeys, StateDictError
from tinygrad_nlp.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from tinygrad_nlp.nn.module import Module, Parameter
from tinygrad_nlp.nn.norm import LayerNorm

__all__ = [
    "GELU",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Identity",
    "IncompatibleKeys",
    "L1Loss",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "StateDictError",
    "Tanh",
    "functional",
    "init",
    "utils",
]
