"""RNN: tanh and ReLU; otherwise as LSTM."""

import hypothesis.strategies as st

from cases import HotPath
from cases._recurrent import recurrent

HOT_PATH = HotPath(
    "rnn",
    inputs=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "lengths"),
    differentiable=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"),
    outputs=("y", "h_n"),
    cases=recurrent(gates=1, nonlinearity=st.sampled_from(["tanh", "relu"])),
)
