"""How many planted gradient bugs each checker catches, how often it accuses correct code, and how long it takes.

    python -m benchmarks.gradient_checkers          needs PyTorch, JAX and HIPS autograd for their columns

Every checker sees the same mutants of the same references (`gradient_bugs.py`) at the same random points, with its own
default settings. A checker that raises an assertion has caught the bug.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.compare import Candidate, interleaved, save, summary
from benchmarks.gradient_bugs import BUGS, CORRECT, Work, right
from tinygrad_nlp import nn
from tinygrad_nlp.autograd.check import check_grads
from tinygrad_nlp.ops.fused import Fused

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "gradient-checkers.png"


def ours(module: Any, work: Work, seed: int) -> None:
    """Richardson differences, random directions and cotangents, other memory layouts, order 2."""
    xs = work.draw(np.random.default_rng(seed))

    def backward(*args, **hyper):  # without the gradients of optional inputs that are not given
        return module.backward(*args, **hyper)[: len(xs)]

    reference = SimpleNamespace(forward=module.forward, backward=backward)
    kernel = SimpleNamespace(__name__=work.hot_path, reference=reference, **vars(reference))
    names = " ".join(["x", *(f"x{i}" for i in range(1, len(xs))), *work.others])
    function = Fused(kernel, names, tuple(range(len(xs))))  # type: ignore[arg-type]
    f = lambda *tensors: function(*work.arguments(tensors), **work.hyper)  # noqa: E731
    check_grads(f, xs, order=2, rng=np.random.default_rng(seed))


def torch_function(module: Any, work: Work) -> Callable:
    import torch

    to_array = lambda a: None if a is None else torch.from_numpy(np.array(a))  # noqa: E731

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            y, ctx.extra = module.forward(*work.arguments(xs, to_array), **work.hyper)
            ctx.xs = xs
            return y if y is not ctx.extra else y.clone()

        @staticmethod
        def backward(ctx, g):
            dxs = module.backward(g, *work.arguments(ctx.xs, to_array), ctx.extra, **work.hyper)
            return tuple(dxs[: len(ctx.xs)])

    return Function.apply


def torch_gradcheck(module: Any, work: Work, seed: int, fast: bool = False) -> None:
    """torch.autograd.gradcheck: every element of the Jacobian (fast: one random projection), order 1."""
    import torch
    from torch.autograd.gradcheck import GradcheckError, gradcheck

    xs = [torch.from_numpy(x).requires_grad_() for x in work.draw(np.random.default_rng(seed))]
    torch.manual_seed(seed)
    try:
        gradcheck(torch_function(module, work), xs, fast_mode=fast)
    except GradcheckError as error:
        raise AssertionError(str(error)) from error


def torch_gradcheck_fast(module: Any, work: Work, seed: int) -> None:
    """The same with fast_mode=True."""
    torch_gradcheck(module, work, seed, fast=True)


def jax_check_grads(module: Any, work: Work, seed: int) -> None:
    """jax.test_util.check_grads: one random direction, order 2, reverse mode."""
    import jax
    from jax.test_util import check_grads as check

    jax.config.update("jax_enable_x64", True)
    to_array = lambda a: None if a is None else jax.numpy.asarray(a)  # noqa: E731

    @jax.custom_vjp
    def f(*xs):
        return module.forward(*work.arguments(xs, to_array), **work.hyper)[0]

    def forward(*xs):
        y, saved = module.forward(*work.arguments(xs, to_array), **work.hyper)
        return y, (xs, saved)

    def backward(kept, g):
        xs, saved = kept
        return tuple(module.backward(g, *work.arguments(xs, to_array), saved, **work.hyper)[: len(xs)])

    f.defvjp(forward, backward)
    xs = tuple(jax.numpy.asarray(x) for x in work.draw(np.random.default_rng(seed)))
    check(f, xs, order=2, modes=["rev"])


def hips_check_grads(module: Any, work: Work, seed: int) -> None:
    """autograd.test_util.check_grads: one random direction, reverse mode, order 1 (the mutants run on arrays)."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads as check

    @primitive
    def f(*xs):
        return module.forward(*work.arguments(xs), **work.hyper)[0]

    def pull(i):
        def vjp(y, *xs):
            saved = module.forward(*work.arguments(xs), **work.hyper)[1]
            return lambda g: module.backward(g, *work.arguments(xs), saved, **work.hyper)[i]

        return vjp

    xs = work.draw(np.random.default_rng(seed))
    defvjp(f, *(pull(i) for i in range(len(xs))))
    np.random.seed(seed)  # noqa: NPY002  the peer draws from NumPy's global generator
    check(f, modes=["rev"], order=1)(*xs)


def differences_of_the_sum(module: Any, work: Work, seed: int) -> None:
    """Central differences of f(x).sum(), element by element: the test most tutorials show."""
    xs = [x.copy() for x in work.draw(np.random.default_rng(seed))]
    y, saved = module.forward(*work.arguments(tuple(xs)), **work.hyper)
    dxs = module.backward(np.ones_like(y), *work.arguments(tuple(xs)), saved, **work.hyper)
    h = 1e-5
    for x, dx in zip(xs, dxs, strict=False):
        numeric = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            kept = x[i]
            sides = []
            for step in (h, -h):
                x[i] = kept + step
                sides.append(np.sum(module.forward(*work.arguments(tuple(xs)), **work.hyper)[0]))
            x[i] = kept
            numeric[i] = (sides[0] - sides[1]) / (2 * h)
        np.testing.assert_allclose(dx, numeric, rtol=1e-4, atol=1e-6)


LAYERS: dict[
    str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable]
] = {  # how to make it, input, how to call it
    "Linear(8, 8)": (lambda: nn.Linear(8, 8), (2, 3, 8), lambda layer, x: layer(x)),
    "LayerNorm(8)": (lambda: nn.LayerNorm(8), (2, 3, 8), lambda layer, x: layer(x)),
    "MultiheadAttention(8, 2)": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        (2, 3, 8),
        lambda layer, x: layer(x, x, x, need_weights=False)[0],
    ),
}


def layer_check(name: str) -> Callable[[int], Any]:
    """seed -> the check to order 2 of a layer, by its input and all of its parameters."""
    make, shape, call = LAYERS[name]
    layer = make()
    places = [(p, *path.rpartition(".")[::2]) for path, p in layer.named_parameters()]
    modules = dict(layer.named_modules())

    def f(x, *parameters):
        for (_, module, attribute), p in zip(places, parameters, strict=True):
            object.__setattr__(modules[module], attribute, p)  # not a leaf at second order
        return call(layer, x)

    def check(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        xs = [rng.normal(size=s) for s in (shape, *(p.shape for p, *_ in places))]
        return check_grads(f, xs, order=2, rng=rng, name=name)

    return check


def layers(rounds: int = 50) -> dict[str, dict[str, float]]:
    """Median and quartiles in microseconds of each layer's check, interleaved; every round draws another point."""

    def every_round(name: str) -> Candidate:
        check, seeds = layer_check(name), count()
        return Candidate(lambda: check(next(seeds)))

    times = interleaved({name: every_round(name) for name in LAYERS}, fewest=rounds, most=rounds)
    return {name: summary(t) for name, t in times.items()}


CHECKERS: dict[str, Callable[[Any, Work, int], None]] = {
    "tinygrad-nlp check_grads": ours,
    "torch gradcheck": torch_gradcheck,
    "torch gradcheck, fast_mode": torch_gradcheck_fast,
    "jax check_grads": jax_check_grads,
    "HIPS autograd check_grads": hips_check_grads,
    "finite difference of the sum": differences_of_the_sum,
}


def verdict(checker: Callable, module: Any, work: Work, seed: int) -> tuple[bool, float]:
    """Whether the checker objects, and its seconds."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            checker(module, work, seed)
        objects = False
    except AssertionError:
        objects = True
    return objects, time.perf_counter() - start


def judge(checker: Callable, *, points: int, draws: int, label: str) -> dict[str, Any]:
    """A bug counts as caught if the checker objects at most of the points; false alarms over `draws` correct runs."""
    caught = {}
    for bug in track(BUGS, description=f"{label}: bugs"):
        module = bug.planted()
        caught[bug.name] = sum(verdict(checker, module, bug.work, seed)[0] for seed in range(points)) > points / 2
    alarms, seconds = 0, []
    for i in track(range(draws), description=f"{label}: correct code"):
        work = CORRECT[i % len(CORRECT)]
        objects, elapsed = verdict(checker, right(work), work, 1000 + i)
        alarms += objects
        seconds.append(elapsed)
    return {
        "caught": caught,
        "bugs_caught": sum(caught.values()),
        "false_alarms": alarms,
        "draws": draws,
        "median_ms": statistics.median(seconds) * 1e3,
    }


def available() -> dict[str, Callable]:
    """The checkers whose library is installed."""
    present = {}
    for name, checker in CHECKERS.items():
        library = {"torch": "torch", "jax": "jax", "HIPS": "autograd"}.get(name.split()[0])
        try:
            if library:
                __import__(library)
            present[name] = checker
        except ImportError:
            print(f"{name}: not installed")
    return present


def picture(rows: dict[str, dict]) -> None:
    """Bugs down, checkers across: green where caught."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    table = np.array([[row["caught"][bug.name] for row in rows.values()] for bug in BUGS], float)
    figure, ax = plt.subplots(figsize=(8.5, 9), layout="constrained")
    ax.imshow(table, cmap=ListedColormap(["#e8a0a0", "#a8d8a0"]), vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(rows)), [name.replace(" ", "\n") for name in rows], fontsize=8)
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(BUGS)), [bug.name for bug in BUGS], fontsize=8)
    for y, x in np.ndindex(table.shape):
        ax.text(x, y, "caught" if table[y, x] else "missed", ha="center", va="center", fontsize=7)
    ax.set_xticks(np.arange(-0.5, len(rows)), minor=True)
    ax.set_yticks(np.arange(-0.5, len(BUGS)), minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="both", length=0)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=3, help="random points at which each bug is looked at")
    parser.add_argument("--draws", type=int, default=1000, help="runs on correct code, ours; peers a fifth of it")
    args = parser.parse_args()
    rows = {}
    for name, checker in available().items():
        draws = args.draws if checker is ours else max(args.draws // 5, len(CORRECT))
        rows[name] = judge(checker, points=args.points, draws=draws, label=name)
        r = rows[name]
        print(f"{name}: {r['bugs_caught']}/{len(BUGS)} caught, {r['false_alarms']}/{r['draws']} false alarms, ", end="")
        print(f"{r['median_ms']:.1f} ms a check")
        missed = [bug for bug, caught in r["caught"].items() if not caught]
        print("  missed:", "; ".join(missed) or "nothing")
    picture(rows)
    timed = layers()
    print("a layer, all inputs and parameters, to order 2:", timed)
    print("saved:", save("gradient_checkers", rows, bugs=len(BUGS), layers=timed), FIGURE)


if __name__ == "__main__":
    main()
