"""LSTM: no steps, no sequences, one unit, lengths from 0 to T, both directions, with and without biases."""

from cases import HotPath
from cases._recurrent import recurrent

HOT_PATH = HotPath(
    "lstm",
    inputs=("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "lengths"),
    differentiable=("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh"),
    outputs=("y", "h_n", "c_n"),
    cases=recurrent(gates=4, states=2),
)
