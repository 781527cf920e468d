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
from tinygrad_nlp.nn.recurrent import GRU, LSTM, RNN
from tinygrad_nlp.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GRUCell",
    "Identity",
    "IncompatibleKeys",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "RNNCell",
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
