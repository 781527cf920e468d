"""LSTM: one layer over a whole sequence, forward and backward.

python -m benchmarks.lstm                 --help lists the options
"""

from nlp_kernels import lstm

from benchmarks.hot_path import main
from benchmarks.recurrent import benchmark, named


def ours(x, h0, w_ih, w_hh, b_ih, b_hh, dy):
    (y, _, _), saved = lstm.forward(x, h0, h0, w_ih, w_hh, b_ih, b_hh)
    dx, _, _, *dws = lstm.backward((dy, 0 * h0, 0 * h0), x, h0, h0, w_ih, w_hh, b_ih, b_hh, None, saved)
    return named(y, dx, dws)


def torch(torch, x, h0, w_ih, w_hh, b_ih, b_hh):
    return torch.lstm(x, (h0[None], h0[None]), (w_ih, w_hh, b_ih, b_hh), True, 1, 0.0, True, False, False)[0]


def jax(jax, x, h0, w_ih, w_hh, b_ih, b_hh):
    def step(state, u_t):
        h, c = state
        i, f, g, o = jax.numpy.split(u_t + h @ w_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
        h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (h0, h0), x @ w_ih.T + b_ih + b_hh)[1]


BENCHMARK = benchmark("lstm", ours, torch, jax, gates=4, moved=26, bars=(1.0, 1.0, 1.1))

if __name__ == "__main__":
    main(BENCHMARK)
