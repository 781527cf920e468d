"""GRU, the reset after the product: one layer over a whole sequence, forward and backward.

python -m benchmarks.gru                  --help lists the options
"""

from nlp_kernels import gru

from benchmarks.hot_path import main
from benchmarks.recurrent import benchmark, named


def ours(x, h0, w_ih, w_hh, b_ih, b_hh, dy):
    (y, _), saved = gru.forward(x, h0, w_ih, w_hh, b_ih, b_hh)
    dx, _, *dws = gru.backward((dy, 0 * h0), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved)
    return named(y, dx, dws)


def torch(torch, x, h0, w_ih, w_hh, b_ih, b_hh):
    return torch.gru(x, h0[None], (w_ih, w_hh, b_ih, b_hh), True, 1, 0.0, True, False, False)[0]


def jax(jax, x, h0, w_ih, w_hh, b_ih, b_hh):
    def step(h, u_t):
        (u_r, u_z, u_n), (v_r, v_z, v_n) = (jax.numpy.split(a, 3, axis=1) for a in (u_t, h @ w_hh.T + b_hh))
        r, z = jax.nn.sigmoid(u_r + v_r), jax.nn.sigmoid(u_z + v_z)
        h = (1 - z) * jax.numpy.tanh(u_n + r * v_n) + z * h
        return h, h

    return jax.lax.scan(step, h0, x @ w_ih.T + b_ih)[1]


BENCHMARK = benchmark("gru", ours, torch, jax, gates=3, moved=32, bars=(1.4, 1.4, 1.4))

if __name__ == "__main__":
    main(BENCHMARK)
