"""GRU: the reset before and after the product; otherwise as LSTM."""

import hypothesis.strategies as st

from cases import HotPath
from cases._recurrent import recurrent

HOT_PATH = HotPath(
    "gru",
    inputs=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "lengths"),
    differentiable=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"),
    outputs=("y", "h_n"),
    cases=recurrent(gates=3, reset_after=st.booleans()),
)
