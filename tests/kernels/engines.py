"""Array libraries that nobody here wrote: their arrays run the references, their derivatives confirm ours."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from cases import is_float

with suppress(ImportError):
    import_module("jax")  # before the first test: importing it changes the environment


class Engine:
    """How to hand NumPy arrays to a library, call a function there, and get the results back."""

    name = "numpy"

    def context(self) -> AbstractContextManager:
        return nullcontext()

    def array(self, x: np.ndarray) -> Any:
        return x

    def numpy(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def call(self, function: Callable, *arrays: Any) -> Any:
        """function(*arrays), where each array may also be None."""
        return function(*arrays)


class Strict(Engine):
    name = "array_api_strict"

    def array(self, x):
        return pytest.importorskip("array_api_strict").asarray(x)

    def numpy(self, x):
        return np.asarray(np.from_dlpack(x))


class Torch(Engine):
    name = "torch"

    def array(self, x):
        return pytest.importorskip("torch").asarray(x.copy())

    def numpy(self, x):
        return x.detach().numpy()

    def vjp(self, function, arrays, cotangents):
        """The values of a function that returns a tuple, and their derivative by the library's own engine."""
        torch = pytest.importorskip("torch")
        leaves = [x.requires_grad_() for x in arrays]
        ys = function(*leaves)
        # an output that depends on no input (all rows masked, say) has no graph; a gradient of None is zero
        live = [(y, g) for y, g in zip(ys, cotangents, strict=True) if y.requires_grad]
        if not live:
            return ys, [torch.zeros_like(x) for x in leaves]
        ys_live, gs = zip(*live, strict=True)
        return ys, torch.autograd.grad(ys_live, leaves, gs, allow_unused=True, materialize_grads=True)


class Jax(Engine):
    name = "jax"

    def context(self):
        return pytest.importorskip("jax").enable_x64(True)

    def array(self, x):
        return pytest.importorskip("jax").numpy.asarray(x)

    def call(self, function, *arrays):
        return pytest.importorskip("jax").jit(function)(
            *arrays
        )  # operation by operation, compiling takes 5 times longer

    def vjp(self, function, arrays, cotangents):
        def both(arrays, cotangents):
            ys, pull = pytest.importorskip("jax").vjp(function, *arrays)
            return ys, pull(cotangents)

        return self.call(both, tuple(arrays), tuple(cotangents))


ENGINES = (Engine(), Strict(), Torch(), Jax())
DIFFERENTIATING = (Torch(), Jax())


def to(engine: Engine, arrays: tuple) -> tuple:
    return tuple(engine.array(x) if isinstance(x, np.ndarray) else x for x in arrays)


def positions(path: Any, case: Any) -> list[int]:
    """Where the differentiable inputs of a case are."""
    return [
        i
        for i, (n, x) in enumerate(zip(path.inputs, case.inputs, strict=True))
        if n in path.differentiable and is_float(x)
    ]
