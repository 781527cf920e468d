"""The same question asked in other ways: other memory layouts, fewer inputs, fewer outputs, twice differentiable.

A gradient must not depend on any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinygrad_nlp.autograd.checking.draws import backwards, plain, repeated, strided, transposed
from tinygrad_nlp.autograd.checking.subject import Arrays, Subject

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in Fortran order": transposed,
    "with negative strides": backwards,
    "as every second entry of a larger array": strided,
    "repeated by a stride of 0": repeated,
}


def presented(subject: Subject, xs: Arrays, gs: Arrays, dxs: Arrays, rng: np.random.Generator) -> Iterator[tuple]:
    """(how it was asked, positions of the inputs, gradients expected, gradients found) for each presentation."""
    every, ask = list(range(len(xs))), subject.gradients
    yield "when it is itself to be differentiated (create_graph=True)", every, dxs, ask(xs, gs, create_graph=True)
    for name, layout in LAYOUTS.items():
        for what, of_x, of_g in (("cotangents", plain, layout), ("inputs", layout, plain)):
            laid_xs, laid_gs = [of_x(x) for x in xs], [of_g(g) for g in gs]
            if all(a.flags.c_contiguous for a in (*laid_xs, *laid_gs)):
                continue
            expected = dxs
            if layout is repeated:
                try:
                    expected = ask([plain(x) for x in laid_xs], [plain(g) for g in laid_gs])
                except (ArithmeticError, ValueError, RuntimeError):  # equal rows may lie outside the domain
                    continue
            yield f"for {what} {name}", every, expected, ask(laid_xs, laid_gs)
    if len(xs) > 1:
        some = _subset(len(xs), rng)
        names = ", ".join(subject.names[i] for i in some)
        yield f"when only {names} requires a gradient", some, [dxs[i] for i in some], ask(xs, gs, inputs=some)
    if len(gs) > 1:
        some = _subset(len(gs), rng)
        used, rest = ([g if (k in some) == wanted else None for k, g in enumerate(gs)] for wanted in (True, False))
        found = [a + b for a, b in zip(ask(xs, used), ask(xs, rest), strict=True)]
        yield f"when only output {', '.join(map(str, some))} is used, and then the others", every, dxs, found


def _subset(n: int, rng: np.random.Generator) -> list[int]:
    """Some of n, not none and not all."""
    return sorted(rng.permutation(n)[: rng.integers(1, n)].tolist())
