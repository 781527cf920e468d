"""Draw the pack from PyTorch: `python tests/oracle/generate.py` writes `pack.safetensors` beside it.

Every number is float64 and computed by PyTorch on one thread. Beside each result the pack has its rounding: the largest
change, over some runs, when PyTorch computes it again with every input, every cotangent and the result of every
operation, forward and backward, rounded at random to one ulp (Parker, "Monte Carlo arithmetic", UCLA 1997). That is how
far two correct programs may differ, so the tests need no tolerances of their own.

The same versions on the same processor write the same bytes; another processor may differ within the rounding.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from pack import PATH, Case, write
from running import run
from table import Row, numbered, rows
from table.draws import Draw, named
from torch.utils._python_dispatch import TorchDispatchMode

VERSION, SEED, RUNS = 1, 2026, 8
EPS = float(np.finfo(np.float64).eps)


class PyTorch:
    """PyTorch, as `running` uses it."""

    names = vars(torch)

    def leaf(self, array):
        return torch.tensor(array, requires_grad=True)

    def constant(self, array):
        return torch.tensor(array)

    def numbers(self, x):
        return x.detach().numpy()

    def in_float64(self, module):
        return module.double()

    def pull_back(self, outputs, cotangents, inputs):
        found = torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


class Rounded(TorchDispatchMode):
    """The new float64 numbers of every operation, and those it writes, rounded at random to one ulp; views are not."""

    def __init__(self, rng: np.random.Generator):
        super().__init__()
        self.rng = rng

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in function._schema.returns]
        if not isinstance(results, tuple):
            return self.rounded(results, aliases[0]) if aliases else results
        return type(results)(map(self.rounded, results, aliases))

    def rounded(self, x: Any, alias: Any) -> Any:
        if not isinstance(x, torch.Tensor) or x.dtype != torch.float64 or (alias and not alias.is_write):
            return x
        factor = torch.from_numpy(np.asarray(noise(self.rng, x.shape)))
        return x.mul_(factor) if alias else x * factor


def noise(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return 1 + EPS * rng.uniform(-1, 1, tuple(shape))


def pack() -> bytes:
    """The file's bytes."""
    about = {"version": VERSION, "torch": torch.__version__, "numpy": np.__version__, "seed": SEED, "runs": RUNS}
    return write(about, [computed(*call) for call in numbered(rows())])


def computed(name: str, row: Row, arguments: dict[str, Any]) -> Case:
    """The numbers of one call, and what PyTorch makes of them; no other case has a part in them."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    draws: dict[str, Draw] = {}
    case = Case(name, row.kind, row.ours, row.theirs, row.then, named(arguments, draws))
    case.arrays = {key: draw.make(rng) for key, draw in draws.items()}
    fixed = {key for key, draw in draws.items() if not draw.differentiable}

    def given(name, shape, dtype):
        if name not in case.arrays:
            case.arrays[name] = rng.normal(size=shape).astype(dtype)
        return case.arrays[name]

    def given_with_noise(name, shape, dtype):
        x = case.arrays[name]
        return x * noise(rng, x.shape) if x.dtype == np.float64 and name not in fixed else x

    case.results = run(row.kind, row.theirs, row.then, PyTorch(), case.arguments, given)
    case.rounding = {key: np.zeros(x.shape) for key, x in case.results.items() if x.dtype.kind == "f"}
    for _ in range(RUNS):
        with Rounded(rng):
            moved = run(row.kind, row.theirs, row.then, PyTorch(), case.arguments, given_with_noise)
        for key, most in case.rounding.items():
            with np.errstate(invalid="ignore"):
                np.fmax(most, np.abs(moved[key] - case.results[key]), out=most)
    return case


if __name__ == "__main__":
    PATH.write_bytes(content := pack())
    print(f"{PATH}: {len(content) / 2**20:.2f} MB")
