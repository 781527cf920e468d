"""Attention with a causal mask or with lengths of the keys, forward and backward; heads that share keys; decoding.

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
    grouped = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep, is_causal=causal, **grouped)


def jax(jax, q, k, v, key_lengths=None, *, causal):
    jnp, S = jax.numpy, k.shape[2]
    keep = jnp.arange(S) <= jnp.arange(S)[:, None] if causal else True
    if key_lengths is not None:
        keep = jnp.arange(S) < key_lengths[:, None, None, None]
    k, v = (jnp.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return jax.nn.softmax(jnp.where(keep, scores, -jnp.inf)) @ v


def work(rng, dtype, B, H, T, D, mask, KH=None, S=None):
    """Seven products of 2 D for each pair that the mask leaves: two forward, five backward.

    T S pairs a head, T (T + 1) / 2 of them under a causal mask, T times a length between S/2 and S with "lengths".
    Forward reads q, k and v and writes o; backward reads these and do and writes dq, dk and dv.
    """
    KH, S = KH or H, S or T
    shapes = {"q": (H, T), "k": (KH, S), "v": (KH, S), "do": (H, T)}
    arrays = {name: rng.standard_normal((B, *shape, D), dtype) for name, shape in shapes.items()}
    causal, pairs = mask == "causal", B * T * S
    if causal:
        pairs = B * T * (T + 1) // 2
    elif mask == "lengths":
        arrays["key_lengths"] = rng.integers(S // 2, S + 1, B)
        pairs = T * int(np.sum(arrays["key_lengths"]))
    axes = f"B{B} H{H}" + f" KH{KH}" * (KH != H) + f" T{T}" + f" S{S}" * (S != T) + f" D{D}"
    bytes_, flops = 6 * (arrays["q"].nbytes + arrays["k"].nbytes), 14 * D * H * pairs
    return Work(f"{axes}, {mask}", arrays, terms=max(S, D), bytes=bytes_, flops=flops, hyper={"causal": causal})


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
        (4, 8, 1024, 64, "causal", 2),
        (4, 8, 1, 64, "lengths", 2, 1024),
    ),
    quick=((2, 3, 5, 4, "causal"), (2, 3, 5, 4, "lengths"), (2, 4, 5, 4, "causal", 2), (2, 4, 1, 4, "lengths", 2, 9)),
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
