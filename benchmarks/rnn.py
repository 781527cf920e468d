"""The recurrent layer, tanh: one layer over a whole sequence, forward and backward.

python -m benchmarks.rnn                  --help lists the options
"""

from nlp_kernels import rnn

from benchmarks.hot_path import main
from benchmarks.recurrent import benchmark, named


def ours(x, h0, w_ih, w_hh, b_ih, b_hh, dy):
    (y, _), saved = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh)
    dx, _, *dws = rnn.backward((dy, 0 * h0), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved)
    return named(y, dx, dws)


def torch(torch, x, h0, w_ih, w_hh, b_ih, b_hh):
    return torch.rnn_tanh(x, h0[None], (w_ih, w_hh, b_ih, b_hh), True, 1, 0.0, True, False, False)[0]


def jax(jax, x, h0, w_ih, w_hh, b_ih, b_hh):
    def step(h, u_t):
        h = jax.numpy.tanh(u_t + h @ w_hh.T)
        return h, h

    return jax.lax.scan(step, h0, x @ w_ih.T + b_ih + b_hh)[1]


BENCHMARK = benchmark("rnn", ours, torch, jax, gates=1, moved=7, bars=(1.5, 1.5, 1.5))

if __name__ == "__main__":
    main(BENCHMARK)
