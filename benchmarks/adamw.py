"""The AdamW step, in place, against PyTorch's fused one.

python -m benchmarks.adamw                  --help lists the options
"""

from typing import Any

from nlp_kernels import adamw

from benchmarks.hot_path import Benchmark, Work, main

T = 4  # the step's number
HYPER: dict[str, Any] = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}
# a learning rate of 0.1 moves θ by more than rounding hides


def ours(theta, g, m, v):
    theta, m, v = adamw.step(theta, g, m, v, t=T, **HYPER, out=(theta, m, v))
    return {"theta": theta, "m": m, "v": v}


def torch(torch, theta, g, m, v):
    from torch.optim.adamw import adamw as step

    steps_before = [torch.tensor(T - 1.0, device=theta.device)]
    step([theta], [g], [m], [v], [], steps_before, fused=True, amsgrad=False, maximize=False, **HYPER)
    return {"theta": theta, "m": m, "v": v}


def jax(jax, theta, g, m, v):
    lr, beta1, beta2 = HYPER["lr"], HYPER["beta1"], HYPER["beta2"]
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    step = m / (1 - beta1**T) / (jax.numpy.sqrt(v / (1 - beta2**T)) + HYPER["eps"])
    return {"theta": theta - lr * (step + HYPER["weight_decay"] * theta), "m": m, "v": v}


def work(rng, dtype, N):
    """Reads θ, g, m and v, writes θ, m and v."""
    arrays = {name: rng.standard_normal(N, dtype) for name in ("theta", "g", "m", "v")}
    arrays["v"] **= 2
    return Work(f"{N:,} parameters", arrays, terms=1, bytes=7 * N * dtype.itemsize, flops=15 * N)


BENCHMARK = Benchmark(
    "adamw",
    ours,
    torch,
    jax,
    work,
    sizes=((100_000,), (10_000_000,)),
    quick=((11,),),
    bars={(10_000_000,): {"torch": 1.1}},
    in_place=("theta", "m", "v"),
)

if __name__ == "__main__":
    main(BENCHMARK)
