"""Small kernels for the tests of the simulator: compile one, run it on arrays, and say which errors it must find."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from nlp_kernels.simulator import RawModule, SimulatorError, simulate
from standin import needs_simulator

__all__ = ["body", "module", "needs_simulator", "refused", "result", "run"]


@functools.cache
def module(
    code: str, names: tuple[str, ...] = (), cooperative: bool = False, options: tuple[str, ...] = ()
) -> RawModule:
    return RawModule(code=code, options=options, name_expressions=names, enable_cooperative_groups=cooperative)


def run(code, grid, block, *args, name="kernel", order="forward", shared_mem=0, cooperative=False, options=()):
    """Run `extern "C" __global__ void kernel(…)`, or the template instance `name`, in place on its arrays."""
    names = (name,) if "<" in name else ()
    kernel = module(code, names, cooperative, tuple(options)).get_function(name)
    kernel.max_dynamic_shared_size_bytes = 227 << 10
    with simulate(order):
        kernel((grid,) if isinstance(grid, int) else grid, (block,) if isinstance(block, int) else block, args,
               shared_mem=shared_mem)  # fmt: skip


def body(text: str, parameters: str = "int* y") -> str:
    """A kernel of one body; `t` is the thread's index."""
    return f'extern "C" __global__ void kernel({parameters}) {{\n  int t = threadIdx.x;\n{text}\n}}\n'


def result(text: str, threads: int = 32, n: int | None = None, *, order: str = "forward", **launch) -> np.ndarray:
    """y of a kernel `body` over one block."""
    y = np.full(threads if n is None else n, -1, np.int32)
    run(body(text), 1, threads, y, order=order, **launch)
    return y


def refused(message: str, code: str, grid, block, *args, orders=("forward",), **launch) -> None:
    """Every one of the orders finds the bug and says so."""
    for order in orders:
        with pytest.raises(SimulatorError, match=message):
            run(code, grid, block, *args, order=order, **launch)
