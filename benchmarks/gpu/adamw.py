"""The AdamW step on a GPU, in place: sixteen million parameters in one tensor, and 200 small tensors in one call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nlp_kernels import adamw

from benchmarks import adamw as cpu
from benchmarks.adamw import HYPER, T
from benchmarks.gpu.passes import Bars, Pass, Subject
from benchmarks.hot_path import Work

NAMES = ("theta", "g", "m", "v")


def tensors(arrays):
    """The arrays of each tensor, (theta, g, m, v), from names such as theta7."""
    return [tuple(arrays[f"{name}{i}"] for name in NAMES) for i in range(len(arrays) // len(NAMES))]


def results(rows):
    return {f"{name}{i}": x for i, row in enumerate(rows) for name, x in zip(NAMES, row, strict=True) if name != "g"}


def step(**arrays):
    rows = tensors(arrays)

    def run():
        adamw.step_all(rows, t=T, **HYPER)
        return results(rows)

    return run


def torch(torch, **arrays):
    """The optimiser as users have it, the state of step T - 1 put in its place."""
    rows = tensors(arrays)
    parameters = [torch.nn.Parameter(theta) for theta, *_ in rows]
    beta1, beta2 = HYPER["beta1"], HYPER["beta2"]
    rest = {name: HYPER[name] for name in ("lr", "eps", "weight_decay")}
    optimiser = torch.optim.AdamW(parameters, betas=(beta1, beta2), fused=True, **rest)
    for parameter, (theta, g, m, v) in zip(parameters, rows, strict=True):
        parameter.grad = g
        count = torch.tensor(T - 1.0, device=theta.device)
        optimiser.state[parameter] = {"step": count, "exp_avg": m, "exp_avg_sq": v}

    def run():
        optimiser.step()
        return results(rows)

    return run


def work(rng, dtype, *shapes):
    """One tensor of each number of parameters: reads θ, g, m and v, writes θ, m and v."""
    arrays: dict[str, Any] = {}
    for i, N in enumerate(shapes):
        arrays |= {f"{name}{i}": rng.standard_normal(N, dtype) for name in NAMES}
        arrays[f"v{i}"] **= 2
    total = sum(shapes)
    what = f"{total:,} parameters" + (f" in {len(shapes)} tensors" if len(shapes) > 1 else "")
    return Work(what, arrays, terms=1, bytes=7 * total * dtype.itemsize, flops=15 * total)


def bars(*shapes) -> Bars:
    return {"copy": 0.95, "torch": 1.0} if len(shapes) == 1 else {"torch": 1.0}


BENCHMARK = replace(
    cpu.BENCHMARK,
    work=work,
    sizes=((1 << 24,), (768, 768 * 64, 3072, 768 * 16) * 50),
    quick=((11,), (5, 8, 1)),
    bars={},
)
SUBJECT = Subject(BENCHMARK, {"step": Pass(step, torch, lambda work: (work.bytes, work.flops), bars, compiled=False)})
