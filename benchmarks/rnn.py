"""The recurrent layer, tanh: one layer over a whole sequence, forward and backward.

python -m benchmarks.rnn                  --help lists the options
"""

from nlp_kernels import rnn

from benchmarks.hot_path import Benchmark, Work, main


def ours(x, h0, w_ih, w_hh, b_ih, b_hh, dy):
    (y, _), saved = rnn.forward(x, h0, w_ih, w_hh, b_ih, b_hh)
    dx, _, *dws = rnn.backward((dy, 0 * h0), x, h0, w_ih, w_hh, b_ih, b_hh, None, saved)
    return {"y": y, "dx": dx, **dict(zip(("dw_ih", "dw_hh", "db_ih", "db_hh"), dws, strict=True))}


def torch(torch, x, h0, w_ih, w_hh, b_ih, b_hh):
    return torch.rnn_tanh(x, h0[None], (w_ih, w_hh, b_ih, b_hh), True, 1, 0.0, True, False, False)[0]


def jax(jax, x, h0, w_ih, w_hh, b_ih, b_hh):
    def step(h, u_t):
        h = jax.numpy.tanh(u_t + h @ w_hh.T)
        return h, h

    return jax.lax.scan(step, h0, x @ w_ih.T + b_ih + b_hh)[1]


def work(rng, dtype, T, B, inputs, H):
    """Three times the products of a forward pass; what is read and written is in the README, without the weights."""
    G = 1 * H
    shapes = {"x": (T, B, inputs), "h0": (B, H), "w_ih": (G, inputs), "w_hh": (G, H), "b_ih": (G,), "b_hh": (G,)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in {**shapes, "dy": (T, B, H)}.items()}
    for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
        arrays[name] /= H**0.5
    label, bytes_ = f"T{T} B{B} H{H}", T * B * (3 * inputs + 7 * H) * dtype.itemsize
    return Work(label, arrays, terms=T * B, bytes=bytes_, flops=6 * T * B * G * (inputs + H))


BENCHMARK = Benchmark(
    "rnn",
    ours,
    torch,
    jax,
    work,
    sizes=((35, 20, 200, 200), (35, 20, 650, 650), (128, 64, 256, 256)),
    quick=((3, 2, 4, 5),),
    bars={
        (35, 20, 200, 200): {"torch": 1.5},
        (35, 20, 650, 650): {"torch": 1.5},
        (128, 64, 256, 256): {"torch": 1.5},
    },
    output="y",
    differentiable=("x", "w_ih", "w_hh", "b_ih", "b_hh"),
    peers=("torch", "jax"),  # torch.compile would write out the steps one by one
)

if __name__ == "__main__":
    main(BENCHMARK)
