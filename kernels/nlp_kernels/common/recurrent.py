"""What the recurrent hot paths share: the order of the steps, which of them are real, and the checks of their inputs.

Sequences (T, B, …) are padded to T steps; sequence b has lengths[b] real ones, the first. Time runs forward, or in
reverse from step T - 1 down; a step that is not real carries the state on and gives no output. So in reverse too the
first real step meets the initial state, and the last one makes the final state.

`states` (T + 1, B, H) are in the order of time, the initial state first, or last where time runs in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlp_kernels.common import check
from nlp_kernels.common.xp import array_namespace, unstack


def steps(T: int, reverse: bool) -> range:
    """The steps in the order in which they are taken."""
    return range(T - 1, -1, -1) if reverse else range(T)


def before(states: Any, reverse: bool) -> Any:
    """The states that the steps begin with.  (T + 1, B, H) -> (T, B, H)"""
    return states[1:, ...] if reverse else states[:-1, ...]


def after(states: Any, reverse: bool) -> Any:
    """The states that the steps end with.  (T + 1, B, H) -> (T, B, H)"""
    return states[:-1, ...] if reverse else states[1:, ...]


def real_steps(lengths: Any, T: int) -> list[Any]:
    """Which sequences each step is a step of: T times bool (B, 1); None where there are no lengths: of all."""
    return [None if lengths is None else lengths[:, None] > t for t in range(T)]


def choose(real: Any, new: Any, otherwise: Any) -> Any:
    """`new` where the step is real, else `otherwise`."""
    return new if real is None else array_namespace(new).where(real, new, otherwise)


def in_time(parts: Sequence[Any], like: Any, reverse: bool = False) -> Any:
    """What the steps made one after the other, stacked in the order of time; nothing is (0, *like.shape)."""
    stack = array_namespace(like).stack
    return stack(parts[::-1] if reverse else parts) if parts else stack([like])[:0, ...]


def split(a: Any, n: int) -> tuple[Any, ...]:
    """The n gates that lie side by side.  (B, n H) -> n times (B, H)"""
    return unstack(array_namespace(a).reshape(a, (a.shape[0], n, a.shape[1] // n)), axis=1)


def join(*gates: Any) -> Any:
    """Gates side by side: the inverse of `split`."""
    return array_namespace(*gates).concat(gates, axis=1)


def sigmoid(a: Any) -> Any:
    """σ(a) = ½ (1 + tanh ½a): nothing overflows (E13)."""
    return 0.5 + 0.5 * array_namespace(a).tanh(0.5 * a)


def flat(x: Any) -> Any:
    """(T, B, H) -> (T B, H)"""
    return array_namespace(x).reshape(x, (x.shape[0] * x.shape[1], x.shape[2]))


def checked(function: str, gates: int, x: Any, states: dict, weights: Sequence[Any], lengths: Any) -> tuple[Any, ...]:
    """The inputs of a layer in C order, after a look at their shapes and dtypes.

    x: (T, B, I), states: (B, H) each, weights: w_ih (gates H, I), w_hh (gates H, H), b_ih, b_hh (gates H,) or None,
    lengths (B,), 0 … T, or None.
    """
    arrays = states | dict(zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True))
    check.floating(function, x=x, **arrays)
    check.shape(function, "x", x, ("T", "B", "I"))
    (T, B, inputs), first = x.shape, next(iter(states))
    check.shape(function, first, states[first], (B, "H"))
    H = states[first].shape[1]
    shapes: dict[str, tuple] = {"w_ih": (gates * H, inputs), "w_hh": (gates * H, H)}
    for name, array in arrays.items():
        if array is not None:
            check.shape(function, name, array, shapes.get(name, (B, H) if name in states else (gates * H,)))
    if lengths is not None:
        check.shape(function, "lengths", lengths, (B,))
        check.indices(function, f"lengths (0 to {T})", lengths, T + 1)
    return tuple(map(check.contiguous, (x, *arrays.values(), lengths)))


def checked_cotangents(function: str, x: Any, h0: Any, **cotangents: Any) -> tuple[Any, ...]:
    """The cotangents dy (T, B, H) and of the final states (B, H) in C order, after a look at them."""
    check.floating(function, x=x, **cotangents)
    for name, cotangent in cotangents.items():
        check.shape(function, name, cotangent, (x.shape[0], *h0.shape) if name == "dy" else h0.shape)
    return tuple(map(check.contiguous, cotangents.values()))
