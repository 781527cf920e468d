"""What the benchmarks of rnn, gru and lstm share: the work, its sizes, the inputs that have a gradient."""

from functools import partial

from benchmarks.hot_path import Benchmark, Work

WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")
SIZES = (35, 20, 200, 200), (35, 20, 650, 650), (128, 64, 256, 256)


def work(rng, dtype, T, B, inputs, H, *, gates, moved):
    """Three times the products of a forward pass; read and written are 3 I + `moved` H numbers a step, without weights.

    The README of each says what `moved` is made of.
    """
    G = gates * H
    shapes = {"x": (T, B, inputs), "h0": (B, H), "w_ih": (G, inputs), "w_hh": (G, H), "b_ih": (G,), "b_hh": (G,)}
    arrays = {name: rng.standard_normal(shape, dtype) for name, shape in {**shapes, "dy": (T, B, H)}.items()}
    for name in WEIGHTS:
        arrays[name] /= H**0.5
    label, bytes_ = f"T{T} B{B} H{H}", T * B * (3 * inputs + moved * H) * dtype.itemsize
    return Work(label, arrays, terms=T * B, bytes=bytes_, flops=6 * T * B * G * (inputs + H))


def benchmark(name, ours, torch, jax, *, gates, moved, bars):
    """`bars`: how many times as fast as PyTorch we must be, for each of the sizes."""
    return Benchmark(
        name,
        ours,
        torch,
        jax,
        partial(work, gates=gates, moved=moved),
        sizes=SIZES,
        quick=((3, 2, 4, 5),),
        bars={size: {"torch": bar} for size, bar in zip(SIZES, bars, strict=True)},
        output="y",
        differentiable=("x", *WEIGHTS),
        peers=("torch", "jax"),  # torch.compile would write out the steps one by one
    )


def named(y, dx, dws):
    """The results by name; dws: the gradients of the weights and biases."""
    return {"y": y, "dx": dx, **{f"d{name}": dw for name, dw in zip(WEIGHTS, dws, strict=True)}}
