"""Wrong gradients, planted as patches on the text of the references, and the points at which checkers look at them.

Each bug changes the backward pass of a hot path and nothing else: its forward pass stays right. The same mutant runs
under every library, because a reference runs on any library's arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from nlp_kernels.common.xp import array_namespace


@dataclass(frozen=True)
class Work:
    """A hot path at random points: `draw(rng)` gives its differentiable inputs, `call` places them among the others."""

    hot_path: str
    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    others: dict[str, Any] = field(default_factory=dict)  # arrays that have no gradient
    hyper: dict[str, Any] = field(default_factory=dict)
    wrap: Callable[[ModuleType], Any] = lambda module: module

    def arguments(self, xs: tuple, to_array: Callable = lambda a: a) -> tuple:
        """The inputs in the order of the signature."""
        return (*xs, *(to_array(a) for a in self.others.values()))


@dataclass(frozen=True)
class Bug:
    """In the backward pass of `work`, `right` is replaced by `wrong`; or `change` wraps the whole backward pass."""

    name: str
    work: Work
    right: str = ""
    wrong: str = ""
    change: Callable | None = None
    in_forward: bool = False  # the patch is where the forward pass chooses what to save

    def planted(self) -> Any:
        """A module like the reference, with the bug in it."""
        return self.work.wrap(_planted(self))


def right(work: Work) -> Any:
    """The reference itself."""
    return work.wrap(import_module(f"nlp_kernels.{work.hot_path}.reference"))


def _planted(bug: Bug) -> Any:
    reference = import_module(f"nlp_kernels.{bug.work.hot_path}.reference")
    if bug.change is not None:
        changed = bug.change(reference)
        return SimpleNamespace(__name__=reference.__name__, forward=reference.forward, backward=changed)
    text = Path(str(reference.__file__)).read_text(encoding="utf-8")
    head, mark, tail = text.partition("def backward")
    if bug.in_forward:
        head, mark, tail = "", "", text
    if bug.right not in tail:
        raise ValueError(f"{bug.name}: the backward pass of {bug.work.hot_path} has no {bug.right!r}")
    mutant = ModuleType(f"{reference.__name__} with a bug")
    mutant.__dict__["frozen"] = _frozen
    exec(compile(head + mark + tail.replace(bug.right, bug.wrong, 1), mutant.__name__, "exec"), mutant.__dict__)
    return mutant


def _frozen(values: tuple) -> tuple:
    """The same numbers, taken for constants."""
    if hasattr(values[0], "detach"):
        return tuple(v.detach() for v in values)
    if type(values[0]).__module__.startswith("jax"):
        return tuple(import_module("jax").lax.stop_gradient(v) for v in values)
    return values


def _mean_over_counted(module: Any) -> Any:
    """Cross-entropy's mean over the rows that are not ignored, as one function."""

    def forward(x, target, **hyper):
        xp = array_namespace(x)
        loss, saved = module.forward(x, target, **hyper)
        return xp.sum(loss) / float((np.asarray(target) != -100).sum()), saved

    def backward(g, x, target, saved=None, *, divisor=None, **hyper):
        xp = array_namespace(x)
        n = float((np.asarray(target) != -100).sum()) if divisor is None else float(divisor(x))
        return module.backward(xp.broadcast_to(g / n, target.shape), x, target, saved, **hyper)

    return SimpleNamespace(__name__="mean cross-entropy", forward=forward, backward=backward)


def _divides_by_all_rows(module: Any) -> Any:
    mean = _mean_over_counted(module)
    wrong = lambda *args, **hyper: mean.backward(*args, divisor=lambda x: x.shape[0], **hyper)  # noqa: E731
    return SimpleNamespace(__name__="mean cross-entropy", forward=mean.forward, backward=wrong)


def _padding_is_constant(module: Any) -> Any:
    """An embedding whose padding row is 0 whatever the table says, so that its true gradient there is 0."""

    def forward(table, indices, *, padding_idx):
        xp = array_namespace(table)
        rows = xp.reshape(xp.arange(table.shape[0]), (-1, 1))
        return module.forward(xp.where(rows == padding_idx, 0.0, table), indices, padding_idx=padding_idx)

    return SimpleNamespace(__name__="embedding", forward=forward, backward=module.backward)


def _times(factor: float) -> Callable:
    return lambda reference: lambda *args, **hyper: tuple(d * factor for d in reference.backward(*args, **hyper))


def _in_float32(reference: ModuleType) -> Callable:
    def backward(dy, x, keep=None, saved=None, **hyper):
        xp = array_namespace(x)
        y = reference.forward(x, keep, **hyper)[0] if saved is None else saved
        low = lambda a: xp.astype(a, xp.float32)  # noqa: E731
        (dx,) = reference.backward(low(dy), low(x), keep, low(y), **hyper)
        return (xp.astype(dx, x.dtype),)

    return backward


def _reads_memory_in_order(reference: ModuleType) -> Callable:
    """A kernel that takes the cotangent's memory for C-contiguous."""

    def backward(dy, x, *rest, **hyper):
        if type(dy) is np.ndarray and not dy.flags.c_contiguous:
            dy = dy.ravel(order="K").reshape(dy.shape)
        elif hasattr(dy, "is_contiguous") and not dy.is_contiguous():
            dy = dy.as_strided(dy.shape, [int(np.prod(dy.shape[i + 1 :])) for i in range(dy.ndim)])
        return reference.backward(dy, x, *rest, **hyper)

    return backward


def _right_near_zero(reference: ModuleType) -> Callable:
    def backward(dy, x, *rest, **hyper):
        xp = array_namespace(x)
        (dx,) = reference.backward(dy, x, *rest, **hyper)
        return (xp.where(xp.abs(x) < 1, dx, 0.0),)

    return backward


def _normal(*shapes: tuple[int, ...]) -> Callable:
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


LAYER_NORM = Work("layer_norm", _normal((4, 6), (6,), (6,)), {"residual": None}, {"eps": 1e-5})
SOFTMAX = Work("softmax", _normal((4, 4)), {"keep": None}, {"temperature": 0.7})
MASKED = Work("softmax", _normal((4, 4)), {"keep": np.array([1, 1, 0, 1], bool) & np.ones((4, 1), bool)})
ENTROPY = Work("cross_entropy", _normal((5, 4)), {"target": np.array([0, 3, -100, 1, 2])})
SMOOTHED = Work("cross_entropy", _normal((5, 4)), ENTROPY.others, {"label_smoothing": 0.1})
MEAN = Work("cross_entropy", _normal((5, 4)), ENTROPY.others, wrap=_mean_over_counted)
MEAN_OF_ALL = Work("cross_entropy", _normal((5, 4)), ENTROPY.others, wrap=_divides_by_all_rows)
SQUARE = Work("matmul", _normal((4, 4), (4, 4), (4,)), {"residual": None}, {"activation": "gelu"})
ATTENTION = Work("attention", _normal(*[(1, 2, 4, 3)] * 3), {"keep": None, "key_lengths": None}, {"causal": True})
DROPPED = Work("attention", ATTENTION.draw, ATTENTION.others, {"dropout": (0.4, 7, 0)})
EMBEDDING = Work("embedding", _normal((5, 3)), {"indices": np.array([1, 3, 1, 0, 4, 4])})
PADDED = Work("embedding", _normal((5, 3)), EMBEDDING.others, {"padding_idx": 4}, wrap=_padding_is_constant)

_DX = "dx = rstd * (dhhat - row_mean(dhhat) - hhat * row_mean(dhhat * hhat))"
_STATISTICS = "mean, rstd = saved or statistics(h, eps)"
_SOFTMAX = "p * (dy - xp.sum(dy * p, axis=-1, keepdims=True)) / temperature"
_SCORES = "s = scores(q, k, keep, key_lengths, causal, scale)"
_EARLIER = "xp.arange(s.shape[-1]) < xp.reshape(xp.arange(s.shape[-2]), (-1, 1))"
_LAST = "xp.any((indices[None, :] == indices[:, None]) & (xp.arange(n)[None, :] > xp.arange(n)[:, None]), axis=1)"

BUGS = (
    Bug("layer norm: mean term missing", LAYER_NORM, "dhhat - row_mean(dhhat) -", "dhhat -"),
    Bug("layer norm: x̂ term missing", LAYER_NORM, " - hhat * row_mean(dhhat * hhat)", ""),
    Bug("layer norm: ε dropped", LAYER_NORM, _STATISTICS, "mean, rstd = statistics(h, 0.0)"),
    Bug("layer norm: ε outside the root", LAYER_NORM, _STATISTICS,
        "mean = row_mean(h); rstd = 1 / (row_mean((h - mean) ** 2) ** 0.5 + eps)"),
    Bug("layer norm: r³ for r", LAYER_NORM, _DX, _DX.replace("rstd *", "rstd**3 *")),
    Bug("layer norm: saved statistics taken as constants", LAYER_NORM, _STATISTICS,
        "mean, rstd = frozen(statistics(h, eps))"),
    Bug("softmax: −⟨g,p⟩ missing", SOFTMAX, _SOFTMAX, "p * dy / temperature"),
    Bug("softmax: wrong axis", SOFTMAX, _SOFTMAX, _SOFTMAX.replace("axis=-1", "axis=0")),
    Bug("softmax: diagonal only", SOFTMAX, _SOFTMAX, "p * (1 - p) * dy / temperature"),
    Bug("softmax: temperature missing", SOFTMAX, " / temperature,)  # (7)", ",)  # (7)"),
    Bug("softmax: gradient into a masked place", MASKED, "p = y\n", "p = forward(x, temperature=temperature)[0]\n"),
    Bug("cross-entropy: divides by N with ignored rows", MEAN_OF_ALL, "import", "import", in_forward=True),
    Bug("cross-entropy: smoothing missing in the gradient", SMOOTHED,
        "q = (1 - eps) * xp.astype(hit, x.dtype) + eps / C", "q = xp.astype(hit, x.dtype)"),
    Bug("cross-entropy: label off by one", ENTROPY, "arange(C, x)", "(arange(C, x) + 1)"),
    Bug("cross-entropy: ignored row leaks", ENTROPY, "xp.where(target != ignore_index, dloss, 0.0)", "dloss"),
    Bug("matmul: transposed operand on square shapes", SQUARE, "(w if transpose_w else w.T)", "w"),
    Bug("matmul: db over the wrong axis", SQUARE, "sum(dz, axis=0)", "sum(dz, axis=1)"),
    Bug("matmul: activation's slope at y instead of z", SQUARE,
        'None if activation == "none" else z', 'None if activation == "none" else y', in_forward=True),
    Bug("attention: scale missing in dK only", ATTENTION, "dk = c * ", "dk = "),
    Bug("attention: causal mask off by one", ATTENTION, _SCORES, f"{_SCORES}; s = xp.where({_EARLIER}, s, -math.inf)"),
    Bug("attention: dropout mask not applied in dP", DROPPED, "dp = drop(", "dp = ("),
    Bug("embedding: duplicates lost", EMBEDDING, "return (scatter_add(dy,",
        f"dy = xp.where({_LAST}[:, None], 0.0, dy)\n    return (scatter_add(dy,"),
    Bug("embedding: padding row trained", PADDED, "if padding_idx is not None:", "if False:"),
    Bug("anywhere: a factor 1+1e-4", SOFTMAX, change=_times(1 + 1e-4)),
    Bug("anywhere: a float32 accumulator inside float64", SOFTMAX, change=_in_float32),
    Bug("anywhere: right only for a contiguous cotangent", SOFTMAX, change=_reads_memory_in_order),
    Bug("anywhere: right only for |x|<1", SOFTMAX, change=_right_near_zero),
)  # fmt: skip

CORRECT = (LAYER_NORM, SOFTMAX, MASKED, ENTROPY, SMOOTHED, MEAN, SQUARE, ATTENTION, DROPPED, EMBEDDING, PADDED)
