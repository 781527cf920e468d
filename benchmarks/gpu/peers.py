"""The peers on the same arrays and the same stream: PyTorch eager, torch.compile, Triton, PyTorch's attentions.

Arrays are shared, not copied (DLPack). PyTorch's forward pass is that of training, whose inputs want gradients; its
backward pass is that of its tape, run again and again over a graph that was made before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.gpu.passes import Call, Pass, Subject
from benchmarks.hot_path import Work
from benchmarks.libraries import compiling

PEERS = {
    "torch": "PyTorch",
    "compile": "torch.compile",
    "triton": "Triton",
    "flash": "PyTorch, FlashAttention",
    "cudnn": "PyTorch, cuDNN",
}
ATTENTIONS = {"flash": "FLASH_ATTENTION", "cudnn": "CUDNN_ATTENTION"}  # of torch.nn.attention.SDPBackend


class WithoutError(Exception):
    """A peer has nothing for this pass."""


def to_torch(x: Any) -> Any:
    """A tensor of the same memory."""
    return import_module("torch").from_dlpack(x)


def to_cupy(x: Any) -> Any:
    """An array of the same memory, of a tensor or of what is one already."""
    return import_module("cupy").from_dlpack(x.detach()) if hasattr(x, "detach") else x


@dataclass
class Compiled:
    """The forward function of a hot path compiled for one size, forward and backward together, when first wanted."""

    subject: Subject
    hyper: dict[str, Any]
    function: Callable[..., Any] | None = None
    compile_s: float = field(default=0.0)

    def bound(self, pass_: Pass, works: list[Work]) -> list[Call]:
        torch = import_module("torch")
        if self.function is None:
            self.function = torch.compile(partial(self.subject.benchmark.torch, torch, **self.hyper), dynamic=False)
            start = time.perf_counter()
            import_module("torch._functorch.config").donated_buffer = False  # the graph is gone through again
            with compiling(cached=False):
                _bind(self.subject, "both", works[0], self.function)()
            self.compile_s = time.perf_counter() - start
        return [_bind(self.subject, pass_.torch, work, self.function) for work in works]


def bound(name: str, subject: Subject, pass_: Pass, works: list[Work], *, compiled: Compiled) -> list[Call]:
    """A peer's calls, one on each set of inputs. Raises whatever keeps it from running, WithoutError for no such."""
    if name == "triton":
        if not pass_.triton:
            raise WithoutError
        binder = getattr(import_module("benchmarks.peers.triton_kernels"), pass_.triton)
        return [binder(**_tensors(work), **work.hyper) for work in works]
    if name == "compile":
        if not pass_.compiled:
            raise WithoutError
        return compiled.bound(pass_, works)
    torch = import_module("torch")
    if name in ATTENTIONS and subject.name != "attention":
        raise WithoutError
    return [_bind(subject, pass_.torch, w, _function(torch, name, subject, w.hyper)) for w in works]


def _function(torch: Any, name: str, subject: Subject, hyper: dict[str, Any]) -> Callable[..., Any]:
    """The forward function, with PyTorch's choice of its kernel or with that of this name alone."""
    function = partial(subject.benchmark.torch, torch, **hyper)
    if name not in ATTENTIONS:
        return function
    choices = import_module("torch.nn.attention")

    def forced(**inputs: Any) -> Any:
        with choices.sdpa_kernel(getattr(choices.SDPBackend, ATTENTIONS[name])):
            return function(**inputs)

    return forced


def _tensors(work: Work) -> dict[str, Any]:
    return {name: to_torch(x) for name, x in work.arrays.items()}


def _bind(subject: Subject, kind: str | Callable[..., Call], work: Work, function: Callable[..., Any]) -> Call:
    torch, benchmark = import_module("torch"), subject.benchmark
    inputs = _tensors(work)
    if not isinstance(kind, str):
        return kind(torch, **inputs)
    cotangent = inputs.pop(f"d{benchmark.output}")
    leaves = [inputs[name].requires_grad_() for name in benchmark.differentiable]

    def gradients(y: Any, **options: Any) -> dict[str, Any]:
        found = torch.autograd.grad(y, leaves, cotangent, **options)
        return {f"d{name}": g for name, g in zip(benchmark.differentiable, found, strict=True)}

    if kind == "forward":
        return lambda: {benchmark.output: function(**inputs)}
    if kind == "backward":
        y = function(**inputs)
        return lambda: gradients(y, retain_graph=True)

    def both() -> dict[str, Any]:
        y = function(**inputs)
        return {benchmark.output: y, **gradients(y)}

    return both
