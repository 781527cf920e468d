"""One layer, one direction of a recurrent network over a whole sequence, as one fused node; `nn` stacks them.

The mathematics, with the derivation of back-propagation through time, is in the README of each folder under
`kernels/nlp_kernels/`: rnn, gru, lstm.
"""

from nlp_kernels import gru as gru_kernel
from nlp_kernels import lstm as lstm_kernel
from nlp_kernels import rnn as rnn_kernel

from tinygrad_nlp.ops.fused import Fused

__all__ = ["gru", "lstm", "rnn"]

rnn = Fused(rnn_kernel, "x h0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5))
gru = Fused(gru_kernel, "x h0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5))
lstm = Fused(lstm_kernel, "x h0 c0 w_ih w_hh b_ih b_hh lengths", (0, 1, 2, 3, 4, 5, 6))
