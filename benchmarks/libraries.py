"""The peers: PyTorch eager, torch.compile and JAX, from the forward function of a hot path in each.

Their own automatic differentiation makes the backward pass. What is compiled is compiled for the very shape.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import tinygrad_nlp as tn
from benchmarks.compare import Candidate

if TYPE_CHECKING:
    from benchmarks.hot_path import Benchmark, Work

PEERS = {"torch": "PyTorch", "compile": "torch.compile", "jax": "JAX"}  # with their names for readers


def set_threads(n: int, peers: tuple[str, ...]) -> None:
    """Let NumPy's BLAS, our kernels and each peer compute on n threads.  JAX's pool is made once, by its first use."""
    if "torch" in peers or "compile" in peers:
        with suppress(ImportError):
            import_module("torch").set_num_threads(n)
    if "jax" in peers:
        before = os.environ.get("NPROC")
        os.environ["NPROC"] = str(n)  # the size of XLA's pool on the CPU; there is no other setting
        with suppress(ImportError):
            import_module("jax").devices("cpu")
        os.environ.pop("NPROC")
        if before is not None:
            os.environ["NPROC"] = before
    tn.set_num_threads(n)


def peer_candidates(
    benchmark: Benchmark, work: Work, peers: tuple[str, ...], *, cached: bool
) -> Iterator[tuple[str, Candidate]]:
    """The peers that can be had; a line is printed for each of the others."""
    for name in peers:
        try:
            if name == "jax":
                candidate = _jax(benchmark, work)
            elif name == "compile":
                with compiling(cached=cached):
                    candidate = _torch(benchmark, work, compiled=True)
            else:
                candidate = _torch(benchmark, work)
        except Exception as error:  # not installed, no such device, or whatever a compiler stumbles over
            reason = str(error).strip().partition("\n")[0]
            print(f"{benchmark.name} {work.label}: without {PEERS[name]}: {reason}")
        else:
            yield name, candidate


@contextmanager
def compiling(*, cached: bool) -> Iterator[None]:
    """torch.compile forgets other shapes; unless `cached` it finds nothing on disk either, so that all is timed."""
    import_module("torch").compiler.reset()
    with warnings.catch_warnings(), import_module("torch._inductor.config").patch(force_disable_caches=not cached):
        warnings.filterwarnings("ignore", "dynamo_pgo force disabled", UserWarning)
        yield


def _torch(benchmark: Benchmark, work: Work, *, compiled: bool = False) -> Candidate:
    torch = import_module("torch")
    arrays = {k: torch.from_numpy(x.copy()) for k, x in work.arrays.items()}
    leaves = [arrays[name].requires_grad_() for name in benchmark.differentiable]
    cotangent = arrays.pop(f"d{benchmark.output}", None)

    def forward(**inputs: Any) -> Any:
        return benchmark.torch(torch, **inputs, **work.hyper)

    function = torch.compile(forward, dynamic=False) if compiled else forward

    def run() -> dict[str, Any]:
        y = function(**arrays)
        return benchmark.named(y, torch.autograd.grad(y, leaves, cotangent)) if leaves else y

    if not compiled:
        return Candidate(run)
    start = time.perf_counter()
    run()
    compile_s = time.perf_counter() - start
    for name in benchmark.in_place:  # back to where the others begin
        arrays[name].copy_(torch.from_numpy(work.arrays[name]))
    return Candidate(run, compile_s=compile_s)


def _jax(benchmark: Benchmark, work: Work) -> Candidate:
    jax = import_module("jax")
    setting = partial(jax.enable_x64, True)  # int64 indices, float64: as NumPy has them

    def both(**arrays: Any) -> dict[str, Any]:
        cotangent = arrays.pop(f"d{benchmark.output}", None)

        def forward(*leaves: Any) -> Any:
            inputs = arrays | dict(zip(benchmark.differentiable, leaves, strict=True))
            return benchmark.jax(jax, **inputs, **work.hyper)

        if not benchmark.differentiable:
            return forward()
        y, pull = jax.vjp(forward, *(arrays[name] for name in benchmark.differentiable))
        return benchmark.named(y, pull(cotangent))

    with setting():
        arrays = {k: jax.device_put(x.copy(), jax.devices("cpu")[0]) for k, x in work.arrays.items()}
        start = time.perf_counter()
        compiled = jax.jit(both, donate_argnames=benchmark.in_place).lower(**arrays).compile()
        compile_s = time.perf_counter() - start

    def run() -> dict[str, Any]:
        results = jax.block_until_ready(compiled(**arrays))
        arrays.update({name: results[name] for name in benchmark.in_place})
        return results

    return Candidate(run, setting, compile_s)
