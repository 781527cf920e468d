"""Attention with a causal mask or with lengths of the keys, forward and backward.

python -m benchmarks.attention              --help lists the options
"""

import numpy as np
from nlp_kernels import attention

from benchmarks.hot_path import Benchmark, Work, main


def ours(q, k, v, do, key_lengths=None, *, causal):
    o, saved = attention.forward(q, k, v, None, key_lengths, causal=causal)
    dq, dk, dv = attention.backward(do, q, k, v, None, key_lengths, saved, causal=causal)
    return {"o": o, "dq": dq, "dk": dk, "dv": dv}


def torch(torch, q, k, v, key_lengths=None, *, causal):
    keep = None
    if key_lengths is not None:
        keep = torch.arange(k.shape[2], device=k.device) < key_lengths[:, None, None, None]
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep, is_causal=causal)


def jax(jax, q, k, v, key_lengths=None, *, causal):
    jnp, T = jax.numpy, k.shape[2]
    keep = jnp.arange(T) <= jnp.arange(T)[:, None] if causal else True
    if key_lengths is not None:
        keep = jnp.arange(T) < key_lengths[:, None, None, None]
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return jax.nn.softmax(jnp.where(keep, scores, -jnp.inf)) @ v


def work(rng, dtype, B, H, T, D, mask):
    """Seven products of 2 D for each pair that the mask leaves: two forward, five backward.

    T² pairs a head, T (T + 1) / 2 of them under a causal mask, T times a length between T/2 and T with "lengths".
    Forward reads q, k and v and writes o; backward reads these and do and writes dq, dk and dv.
    """
    arrays = {name: rng.standard_normal((B, H, T, D), dtype) for name in ("q", "k", "v", "do")}
    causal, pairs = mask == "causal", B * T * T
    if causal:
        pairs = B * T * (T + 1) // 2
    elif mask == "lengths":
        arrays["key_lengths"] = rng.integers(T // 2, T + 1, B)
        pairs = T * int(np.sum(arrays["key_lengths"]))
    label, bytes_ = f"B{B} H{H} T{T} D{D}, {mask}", 12 * B * H * T * D * dtype.itemsize
    return Work(label, arrays, terms=max(T, D), bytes=bytes_, flops=14 * D * H * pairs, hyper={"causal": causal})


BENCHMARK = Benchmark(
    "attention",
    ours,
    torch,
    jax,
    work,
    sizes=(
        (12, 4, 64, 32, "causal"),
        (12, 6, 256, 64, "causal"),
        (12, 6, 256, 64, "lengths"),
        (4, 8, 1024, 64, "causal"),
        (4, 8, 1024, 64, "lengths"),
    ),
    quick=((2, 3, 5, 4, "causal"), (2, 3, 5, 4, "lengths")),
    bars={
        (12, 6, 256, 64, "causal"): {"best": 2.0},
        (4, 8, 1024, 64, "causal"): {"best": 1.7},
        (12, 6, 256, 64, "lengths"): {"best": 1.6},
        (4, 8, 1024, 64, "lengths"): {"best": 1.6},
    },
    output="o",
    differentiable=("q", "k", "v"),
)

if __name__ == "__main__":
    main(BENCHMARK)
