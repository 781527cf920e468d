"""A training step as CUDA graphs: captured at the second step, replayed from then on, one launch for hundreds.

Between launches Python takes longer than a GPU for a small model. A graph is the list of all launches with their
arguments, and so with their addresses: inputs are copied into the same arrays before each replay, and what the graph
computes stays in memory that nobody else is given. There are two, since the loss is looked at in between: forward,
backward and the norm; then the update. While the GPU does the latter, the host goes on to the next batch.

`TINYGRAD_NLP_GRAPHS=0` leaves all steps to be run kernel by kernel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from nlp_kernels.common.sending import sent_later

from tinygrad_nlp import random
from tinygrad_nlp.autograd import Tensor
from tinygrad_nlp.autograd.arrays import writes
from tinygrad_nlp.autograd.bfloat16 import is_floating
from tinygrad_nlp.autograd.devices import device_of
from tinygrad_nlp.autograd.modes import ANOMALY, mode
from tinygrad_nlp.autograd.node import tick
from tinygrad_nlp.nn import Module
from tinygrad_nlp.optim import Adam
from tinygrad_nlp.optim.adam import numbers
from tinygrad_nlp.train.loop import StepByStep

Arrays = tuple[Any, ...]


class Trainee(Protocol):
    """What is trained; a `Run` is one."""

    model: Any
    optimizer: Any

    @property
    def fixed_shapes(self) -> bool:
        """Whether batches are, nearly all, of one shape."""

    def draw(self) -> Arrays:
        """The arrays of the next batch: the host's, but those that were kept."""

    def loss_of(self, *batch: Any) -> tuple[Any, Arrays]:
        """The loss of a batch and what later batches need of it, from its arrays alone."""

    def keep(self, ends: Arrays) -> None:
        """Take what later batches need."""

    def batch_loss(self) -> Any:
        """The three together."""


class GraphStep(StepByStep):
    """The steps of `StepByStep`, bit for bit, by replaying a graph where that can be done.

    `say` is told once whether steps are replayed, and if not why.
    """

    def __init__(self, run: Trainee, clip: float, say: Callable[[str], None]):
        super().__init__(run.model, run.optimizer, run.batch_loss, clip)
        self.run, self.say, self.device = run, say, self.parameters[0].device
        self.graph: Captured | None = None
        self.before: list[Any] | None = None  # what the batch before was like
        self.replaying = self.decided = False

    def gradients(self) -> tuple[float, float]:
        """Loss and norm of the next batch; the gradients stay on the GPU."""
        batch = self.run.draw()
        alike = [_kind(x) for x in batch]
        if not self.decided and self.before is not None:
            self._decide(batch, alike)
        self.before = alike
        self.replaying = self.graph is not None and self.graph.alike == alike
        if self.replaying:
            assert self.graph is not None
            return self.graph.gradients(batch)
        drawn = random.default_generator.counter
        there = [Tensor(x).to(self.device) if not isinstance(x, tuple) and is_floating(x.dtype) else x for x in batch]
        found = self._gradients_of(lambda: self._kept(*self.run.loss_of(*there)))
        if random.default_generator.counter != drawn:
            self._refuse("dropout draws new random numbers for each")
        return found

    def _kept(self, loss: Any, ends: Arrays) -> Any:
        self.run.keep(ends)
        return loss

    def update(self) -> None:
        """Change the weights by those gradients."""
        if self.replaying:
            assert self.graph is not None
            self.graph.update()
        else:
            super().update()

    def _decide(self, batch: Arrays, alike: list[Any]) -> None:
        """Capture a step now that one was run, and kernels, moments and tables are there; or say why not."""
        if os.environ.get("TINYGRAD_NLP_GRAPHS") == "0":
            self._refuse("TINYGRAD_NLP_GRAPHS is 0")
        elif mode.get() & ANOMALY:
            self._refuse("anomaly mode looks at every value")
        elif not self.run.fixed_shapes or alike != self.before:
            self._refuse("the batches' shapes vary")
        else:
            state = random.default_generator.state
            try:
                self.graph = Captured(self, batch)
            except Exception as error:  # of CUDA, CuPy or a function that waits for the GPU: none of it has run
                random.default_generator.state = state
                self._refuse(f"it cannot be captured ({type(error).__name__}: {error})")
            else:
                self.decided = True
                self.say("training steps are replayed as a CUDA graph, captured from the second one")

    def _refuse(self, why: str) -> None:
        if not self.decided:
            self.say(f"training steps run kernel by kernel, not as a CUDA graph: {why}")
        self.decided = True


class Captured:
    """Both graphs of a step, what they read and write, and the memory that is theirs."""

    def __init__(self, step: GraphStep, batch: Arrays):
        cupy = import_module("cupy")
        self.alike = [_kind(x) for x in batch]
        self.run, self.optimizer, self.parameters = step.run, step.optimizer, step.parameters
        cupy.get_default_memory_pool().free_all_blocks()  # of the step before: this one has a pool of its own
        self.pool = cupy.cuda.MemoryPool()
        self.inputs = [cupy.empty(x.shape, x.dtype) for x in batch]
        self.told = cupy.empty((2,), np.float64)  # the loss and the norm
        self.launched = self.optimizer.prepared() if isinstance(self.optimizer, Adam) else None
        self._send()
        with sent_later() as self.tables:
            with _capturing(cupy, self.pool) as self.first:
                self.scale = step.compute(self._loss, self.told)
            self.gradients_of = [(p, p.grad) for p in self.parameters]
            if self.launched is not None:
                counts = [state["step"] for state in self._states()]
                try:
                    with _capturing(cupy, self.pool) as self.second:
                        self.optimizer.step(grad_scale=self.scale)
                finally:
                    for state, n in zip(self._states(), counts, strict=True):
                        state["step"] = n  # nothing has run yet

    def _states(self) -> Iterator[dict[str, Any]]:
        for *_, states in self.launched or ():
            yield from states

    def _loss(self) -> Any:
        loss, self.ends = self.run.loss_of(*map(Tensor, self.inputs))
        return loss

    def gradients(self, batch: Arrays) -> tuple[float, float]:
        """The loss and the norm of a batch."""
        for array, values in zip(self.inputs, batch, strict=True):
            if isinstance(values, np.ndarray):
                array.set(np.ascontiguousarray(values))
            else:
                array[...] = values
        self.run.keep(self.ends)
        for p, g in self.gradients_of:
            p.grad = g
        self.first[0].launch()
        self._send()
        loss, norm = self.told.get().tolist()  # the one place where the host waits
        return loss, norm

    def update(self) -> None:
        """The optimiser's step."""
        if self.launched is None:
            self.optimizer.step(grad_scale=self.scale)
            return
        self.second[0].launch()
        for state in self._states():
            state["step"] += 1
        for p in self.parameters:
            writes.note(p.data, tick())

    def _send(self) -> None:
        """The next step's rate and corrections, to where the update reads them."""
        for send, group, states in self.launched or ():
            send(t=states[0]["step"] + 1, **numbers(group))


@contextlib.contextmanager
def _capturing(cupy: Any, pool: Any) -> Iterator[list[Any]]:
    """Record what is launched in this block instead of doing it; gives a list that holds the graph afterwards.

    Memory comes from the pool. Nothing may be sent from the host: the copy would be made at every replay, from memory
    that has long become something else.
    """

    def refuse(size: int) -> None:
        raise RuntimeError(f"{size} bytes of the host are sent to the GPU in the middle of it")

    found: list[Any] = []
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.set_pinned_memory_allocator(refuse)
    try:
        with stream, cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                yield found
            except BaseException:
                with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
                    stream.end_capture()
                raise
            found.append(stream.end_capture())
    finally:
        cupy.cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)


def _kind(x: Any) -> Any:
    """Shape and dtype of an array, or of each in a tuple of them."""
    return tuple(map(_kind, x)) if isinstance(x, tuple) else (x.shape, x.dtype)


def on_gpu(model: Module) -> bool:
    """Whether all parameters are on one GPU."""
    devices = {device_of(p.data) for p in model.parameters()}
    return len(devices) == 1 and devices != {"cpu"}
