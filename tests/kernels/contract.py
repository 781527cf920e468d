"""What is asked of every backend, as functions: the tests apply them, and the planted bugs must fail them."""

from typing import Any

import numpy as np
from cases import Case, HotPath, is_float
from rounding import noisy, plain

SAMPLES = 4  # of random rounding


def evaluate(kernel: Any, path: HotPath, case: Case, cotangents: tuple) -> dict[str, Any]:
    """Every named result: outputs, what is saved, gradients ("dx" for input "x"); for an update, the new values."""
    if path.kind == "update":
        return dict(zip(path.outputs, kernel.step(*case.inputs, **case.hyper), strict=True))
    y, saved = kernel.forward(*case.inputs, **case.hyper)
    several = isinstance(y, tuple)
    results = dict(zip(path.outputs, y if several else (y,), strict=False))  # an optional output may be absent
    results |= {f"saved[{i}]": s for i, s in enumerate(flat(saved))}
    dxs = kernel.backward(cotangents if several else cotangents[0], *case.inputs, saved, **case.hyper)
    given = dict(zip(path.inputs, case.inputs, strict=True))
    for name, dx in zip(path.differentiable, dxs, strict=True):
        assert (dx is None) == (given[name] is None), f"d{name} is {dx} where {name} is {given[name]}"
        if dx is not None:
            assert tuple(dx.shape) == given[name].shape, f"d{name} is {dx.shape}, not {given[name].shape}"
            results["d" + name] = dx
    return results


def draw_cotangents(path: HotPath, case: Case, rng: np.random.Generator) -> tuple:
    """One random cotangent for each output (never ones: a sum forgives what a random direction shows)."""
    if path.kind == "update":
        return ()
    y, _ = path.reference.forward(*case.inputs, **case.hyper)
    return tuple(rng.normal(size=o.shape).astype(case.dtype) for o in (y if isinstance(y, tuple) else (y,)))


def assert_no_worse_than_the_problem(ours: dict, path: HotPath, case: Case, cotangents: tuple, *, peer=True) -> None:
    """No tolerance is chosen by hand. The oracle is the reference in extended precision.

    The yardstick is how far the oracle moves when its inputs move by one ulp and its operations round at random in
    this precision, and (with `peer`) how far the reference in this precision is off.
    """
    oracle = evaluate(path.reference, path, wide(case), _wide(cotangents))
    peers = [evaluate(path.reference, path, case, cotangents)] if peer else []
    eps, rng = np.finfo(case.dtype).eps, np.random.default_rng(0)
    for _ in range(SAMPLES):
        inputs, cs = _rounding(case.inputs, eps, rng), _rounding(cotangents, eps, rng)
        peers.append(evaluate(path.reference, path, Case(inputs, case.hyper), cs))
    assert ours.keys() >= oracle.keys()  # a backend may save more
    for name, result in ((name, ours[name]) for name in oracle):
        check_infinities(name, np.asarray(result), oracle[name])
        yardstick = max(distance(other[name], oracle[name]) for other in peers)
        error, allowed = distance(result, oracle[name]), 4 * yardstick + 4 * eps * largest(oracle[name])
        assert error <= allowed, f"{path.name}: {name} is off by {error:.3g}, more than {allowed:.3g}"


def assert_backward_is_the_derivative(path: HotPath, case: Case, rng: np.random.Generator, kernel: Any = None) -> None:
    """⟨g, dy/dt f(x + t v)⟩ = ⟨J^T g, v⟩ for random g and v, by central differences in extended precision (E60).

    The error bar is the difference quotient's own: its spread over three step sizes, and the rounding
    of its terms.
    """
    kernel, case = kernel or path.reference, wide(case)
    cotangents = _wide(draw_cotangents(path, case, rng))
    at = [i for i, x in enumerate(case.inputs) if path.inputs[i] in path.differentiable and is_float(x)]
    vs = {i: np.asarray(rng.normal(size=case.inputs[i].shape), np.longdouble) for i in at}

    def along(t):
        moved = [x + t * vs[i] if i in vs else x for i, x in enumerate(case.inputs)]
        y, _ = kernel.forward(*moved, **case.hyper)
        return sum(_dot(g, o) for g, o in zip(cotangents, y if isinstance(y, tuple) else (y,), strict=True))

    results = evaluate(kernel, path, case, cotangents)
    dxs = {i: results["d" + path.inputs[i]] for i in at}
    exact = sum(_dot(dxs[i], vs[i]) for i in at)
    eps = np.finfo(np.longdouble).eps
    h = eps ** (np.longdouble(1) / 3)
    quotients = [(along(t) - along(-t)) / (2 * t) for t in (h, 2 * h, 4 * h)]
    y_terms = sum(_dot(abs(g), abs(results[o])) for g, o in zip(cotangents, path.outputs, strict=False))
    x_terms = sum(_dot(abs(dxs[i]), abs(case.inputs[i])) for i in at)
    constants = np.finfo(np.float64).eps * sum(np.abs(g).sum() for g in cotangents)  # 1/C, √2 are Python floats
    bar = 4 * (max(quotients) - min(quotients)) + 8 * eps / h * (y_terms + x_terms) + constants
    assert abs(exact - quotients[0]) <= bar, (
        f"{path.name}: backward gives {exact:.12g} along a random direction, finite differences {quotients[0]:.12g}"
    )


def wide(case: Case) -> Case:
    return Case(_wide(case.inputs), case.hyper)


def flat(saved: Any) -> list:
    """The arrays in what a forward pass saved."""
    if isinstance(saved, tuple):
        return [a for s in saved for a in flat(s)]
    return [] if saved is None else [saved]


def distance(a: Any, b: Any) -> float:
    """max |a - b| where b is finite; infinities are compared by `check_infinities`."""
    a, b = plain(np.asarray(a)), plain(np.asarray(b))
    finite = np.isfinite(b)
    return float(np.max(np.abs(a[finite] - b[finite]), initial=0.0)) if a.size else 0.0


def largest(a: Any) -> float:
    return float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) if is_float(np.asarray(a)) else 0.0


def check_infinities(name: str, a: np.ndarray, b: np.ndarray) -> None:
    assert a.shape == b.shape, f"{name} is {a.shape}, not {b.shape}"
    wrong = np.isfinite(a) != np.isfinite(b)
    wrong |= ~np.isfinite(b) & (a != b)
    assert not wrong.any(), f"{name} is off by infinity: {a[wrong]} where {b[wrong]} is right"


def _wide(arrays):
    return tuple(np.asarray(x, np.longdouble) if is_float(x) else x for x in arrays)


def _rounding(arrays, eps, rng):
    """Each floating-point array one ulp away, in random directions, and rounding at random from there on."""
    return tuple(
        noisy(np.asarray(x, np.longdouble) * (1 + eps * rng.choice([-1, 1], x.shape)), eps=eps, rng=rng)
        if is_float(x)
        else x
        for x in arrays
    )


def _dot(a, b):
    product = a * np.where(np.isfinite(b), b, 0)  # an output that is -inf by definition does not move
    return product.sum(dtype=np.longdouble)
