"""What a wrong gradient looks like, I: numbers at wrong places, lost, or where there should be none."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from tinygrad_nlp.autograd.checking.evidence import Evidence


def transposed(e: Evidence) -> str | None:
    for shape, axis, text in (
        (e.x.shape, 1, "transposed: the axes of the gradient are exchanged"),
        (
            e.out_shape or (),
            0,
            "transposed: the axes of the cotangent are exchanged (a bias summed over the wrong axis)",
        ),
    ):
        for order in permutations(range(len(shape))):
            if list(order) != sorted(order) and tuple(shape[a] for a in order) == shape:
                places = np.arange(int(np.prod(shape))).reshape(shape).transpose(order).reshape(-1)
                if e.same(e.W, np.take(e.T, places, axis)):
                    return text
    return None


def transposed_operand(e: Evidence) -> str | None:
    """Rows of T are multiples of the rows of a square input A, those of W of its columns: A for Aᵀ in a product."""
    n = e.x.shape[-1] if e.x.ndim else 0
    if e.out_shape is None or n < 2 or e.out_shape != e.x.shape:
        return None
    blocks = [m.reshape(-1, n, e.x.size // n, n) for m in (e.T, e.W)]  # (row, j, row, k)
    true, ours = (np.stack([b[i, :, i] for i in range(len(b))]) for b in blocks)
    for name, A in e.inputs.items():
        if A.shape != (n, n) or name == e.name:
            continue
        for right, wrong in ((A, A.T), (A.T, A)):
            slopes = (true * right).sum(axis=-1, keepdims=True) / (right * right).sum(axis=-1, keepdims=True)
            if (
                np.abs(true - slopes * right).max() <= 1e-3 * e.gap
                and np.abs(ours - slopes * wrong).max() <= 1e-3 * e.gap
            ):
                return f"the product is with {name} where it should be with its transpose, or the other way round"
    return None


def misplaced(e: Evidence) -> str | None:
    """Every output reaches one place of the input, with the right number, but not the right place."""
    true, ours = ~e.zero(e.T), ~e.zero(e.W)
    if e.out_shape is None or e.x.ndim != 1 or (true.sum(axis=1) != 1).any() or (ours.sum(axis=1) != 1).any():
        return None
    if not e.same(e.T.sum(axis=1), e.W.sum(axis=1)):
        return None
    at = np.stack(np.unravel_index(np.arange(len(e.T)), e.out_shape), axis=1)
    for a, b in permutations(range(len(e.out_shape)), 2):
        if (true.argmax(axis=1) == at[:, a]).all() and (ours.argmax(axis=1) == at[:, b]).all():
            return f"the cotangent is summed over the wrong axis: it keeps axis {b}, the input goes along axis {a}"
    return "the right numbers at wrong places: what belongs to one element of the input comes to another"


def leak(e: Evidence) -> str | None:
    if not e.wrong.any() or not e.zero(e.T)[e.wrong].all():
        return None
    places = np.flatnonzero(e.wrong.any(axis=0) & e.zero(e.T).all(axis=0))
    if places.size:
        where = list(map(int, np.unravel_index(places[0], e.x.shape)))
        return f"a gradient leaks into places that do not matter (masked, padded or unread), such as {where}"
    return "a gradient leaks between places that do not depend on each other: a mask is missing, or off by one"


def some_leak(e: Evidence) -> str | None:
    places = np.flatnonzero(e.wrong.any(axis=0) & e.zero(e.T).all(axis=0))
    if not places.size:
        return None
    where = list(map(int, np.unravel_index(places[0], e.x.shape)))
    return f"among other errors, a gradient reaches places that do not matter (masked, padded), such as {where}"


def lost(e: Evidence) -> str | None:
    """Right wherever it is not 0."""
    if not e.wrong.any() or not e.zero(e.W)[e.wrong].all():
        return None
    reads = ~e.zero(e.T)
    kept = reads & ~e.wrong
    if e.T.shape[0] == e.T.shape[1] and e.same(e.W, e.T * np.eye(len(e.T))):
        return "only the diagonal of the Jacobian is there: the elements of a row are taken as independent"
    several = reads.sum(axis=0) > 1
    if several.any() and not e.wrong[:, ~several].any() and (kept.sum(axis=0)[several] == 1).all():
        whole = [_whole_axes(column, e.out_shape) for column in reads.T[several]]
        if all(axes == whole[0] and axes for axes in whole) and several.all():
            return f"the broadcast axis is not summed: one entry of output axis {whole[0][0]} stands for all"
        if e.x.size < 2:
            return None
        place = list(map(int, np.unravel_index(int(np.flatnonzero(several)[0]), e.x.shape)))
        return f"duplicates lost: {place} is read several times, and only one of its gradients comes back"
    if e.x.size < 2:
        return None
    place = list(map(int, np.unravel_index(int(np.flatnonzero(e.wrong.any(axis=0))[0]), e.x.shape)))
    return f"a part of the gradient is lost, at {place} and {int(e.wrong.any(axis=0).sum()) - 1} other places"


def _whole_axes(reads: np.ndarray, shape: tuple[int, ...] | None) -> list[int]:
    """The output axes along which an input is read by every entry, if it is read nowhere else."""
    if shape is None:
        return []
    places = np.argwhere(reads.reshape(shape))
    axes = [a for a, n in enumerate(shape) if n > 1 and len(np.unique(places[:, a])) == n]
    return axes if len(places) == np.prod([shape[a] for a in axes]) else []


def wrong_axis(e: Evidence) -> str | None:
    if e.out_shape != e.x.shape or e.x.ndim < 2:
        return None
    true, ours = _coupled(e, e.T), _coupled(e, e.W)
    if true - ours and ours - true:
        mixed, apart = min(ours - true), min(true - ours)
        return f"the wrong axis: the rule mixes places along axis {mixed}, the function along axis {apart}"
    return None


def _coupled(e: Evidence, jacobian: np.ndarray) -> set[int]:
    """The axes along which an output depends on another place of the input than its own."""
    pairs = np.argwhere(~e.zero(jacobian))
    places = np.stack(np.unravel_index(pairs, e.x.shape), axis=-1)  # (pairs, output or input, axis)
    differs = places[:, 0] != places[:, 1]
    return {int(np.argmax(d)) for d in differs if d.sum() == 1}


def shifted(e: Evidence) -> str | None:
    for shape, axis in ((e.x.shape, 1), (e.out_shape or (), 0)):
        for a, n in enumerate(shape):
            for step in (1, -1) if n > 2 else ():
                places = np.roll(np.arange(int(np.prod(shape))).reshape(shape), step, a).reshape(-1)
                if e.same(e.W, np.take(e.T, places, axis)):
                    return f"an index is off by one along axis {a}"
    rows = [np.sort(d[w]) for d, w in zip(e.D, e.wrong, strict=True) if w.any()]
    pairs = [r for r in rows if r.size == 2 and e.same(r[:1], -r[1:])]
    alone = [r for r in rows if r.size == 1]
    if e.x.ndim and e.x.shape[-1] > 2 and len(pairs) > len(alone) and len(pairs) + len(alone) == len(rows):
        return "what belongs to one place of a row is at another: an index (a label?) is off by one"
    return None
