"""The sweep: nodes from the newest to the oldest, each handing its gradient to its sources. No recursion."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any

import numpy as np
from nlp_kernels.common.memory import Loan
from nlp_kernels.errors import DtypeError, FreedGraphError, InplaceError, ShapeError

from tinygrad_nlp.autograd import anomaly
from tinygrad_nlp.autograd.arrays import is_array, namespace, unbroadcast, writes
from tinygrad_nlp.autograd.modes import ANOMALY, mode
from tinygrad_nlp.autograd.node import FREED, Leaf, Node, Output
from tinygrad_nlp.autograd.operators import Operators

_by_order = attrgetter("order")


class Piece:
    """The gradient of `x[index]`: `value` at `index`, zero elsewhere.

    The sweep adds all pieces of one source into one buffer, so that reading x[t] in a loop over t stays linear in T.
    """

    __slots__ = ("index", "put", "value")

    def __init__(self, index, value, put):
        self.index, self.value, self.put = index, value, put


@np.errstate(all="ignore")  # a pole whose cotangent is 0 is no news; anomaly mode finds what is
def sweep(
    roots: Iterable[tuple[Node, Any]],
    wanted: set[Node] | None,
    *,
    create_graph: bool,
    retain_graph: bool,
    through: bool = True,
) -> tuple[dict[Node, Any], set[Node]]:
    """Gradients of the wanted nodes (of every Leaf if None), and those among them whose arrays nobody else holds.

    With `create_graph` gradients are Tensors and the rules' own operations are recorded; otherwise plain arrays.
    Without `through` the sweep stops at wanted nodes: they count as independent even if one was made from another.
    """
    pending: dict[Node, Any] = {}  # node -> gradient so far
    owned: set[Node] = set()  # nodes whose pending array the sweep alone holds: it may be added to in place
    pieces: dict[Node, list[Piece]] = {}  # with create_graph, the gradients of x[i] of a node
    found: dict[Node, Any] = {}
    for node, g in roots:
        pending[node] = g if node not in pending else pending[node] + g
    needed = None if wanted is None else _needed(pending, wanted, through)
    heap = [(-n.order, n) for n in pending if needed is None or n in needed]
    heapify(heap)  # the newest node is next: all its uses are behind it
    watching = mode.get() & ANOMALY
    while heap:
        node = heappop(heap)[1]
        g = pending.pop(node)
        if node in pieces:
            g = _join(g, pieces.pop(node), node.shape)
        if not through and wanted is not None and node in wanted:
            found[node] = g  # its hooks are called where its gradient is complete, in the sweep around this one
            continue
        if node.watch is not None:
            g = _show(node, g, owned)
        if wanted is not None and node in wanted:
            found[node] = g
            if needed is not None and needed.isdisjoint(node.sources):
                continue  # nothing below is asked for: what it keeps is left to a later sweep
        function, sources, kept = node.function, node.sources, node.kept
        rules = function.rules
        if type(node) is Leaf:
            if wanted is None:
                found[node] = g
            continue
        if type(node) is Output:  # the gradient of its source is a dict {output: gradient}
            if sources[0] not in pending:
                pending[sources[0]] = {}
                heappush(heap, (-sources[0].order, sources[0]))
            parts = pending[sources[0]]
            parts[node.index] = parts[node.index] + g if node.index in parts else g
            continue
        if kept is FREED:
            raise FreedGraphError(
                f"{function.__name__}: this graph was released by an earlier sweep; "
                "pass retain_graph=True to the first one, or compute the output again"
            )
        if writes.last > node.order:
            refuse_changed(node, node)
        if watching:
            anomaly.check_kept(node)
        handed: Iterable = ()  # the cotangents of several outputs: a rule may hand one on as it is
        if rules is None:
            handed = g.values() if type(g) is dict else ()
            gradients = function.gradients(node, g, needed, create_graph)
            steps: Iterable[tuple] = ((source, _same, (dx,)) for source, dx in gradients)
        else:
            if function.several:
                handed = g = function.cotangents(node, g, create_graph)
            steps = zip(sources, rules, kept if not create_graph else function.lifted(node), strict=True)
        for source, rule, args in steps:
            if source is None or (needed is not None and source not in needed):
                continue
            dx = rule(g, *args)
            if type(dx) is not np.ndarray:
                if type(dx) is Piece:
                    if source not in pending:
                        pending[source] = None
                        heappush(heap, (-source.order, source))
                    if create_graph:
                        pieces.setdefault(source, []).append(dx)
                    else:
                        _add_piece(dx, source, pending, owned)
                    continue
                if dx is None:
                    continue
                dx = _array_of(dx, node, source, create_graph)
            if dx.shape != source.shape:
                dx = _fit(dx, node, source)
            if watching:
                anomaly.check_gradient(dx, node, source)
            if source not in pending:
                pending[source] = dx
                heappush(heap, (-source.order, source))
                if dx is not g and not create_graph and _holds(dx) and not (handed and _among(dx, handed)):
                    owned.add(source)
            elif source in owned:
                total = pending[source]
                total += dx
                pending[source] = total
            else:
                so_far = pending[source]
                pending[source] = dx if so_far is None else so_far + dx
                if not create_graph and so_far is not None:
                    owned.add(source)
        if not retain_graph:
            node.kept = FREED
    return found, owned


def _needed(roots: Iterable[Node], wanted: set[Node], through: bool) -> set[Node]:
    """The nodes on a path from a root to a wanted node."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if not through and node in wanted:
            continue
        for source in node.sources:
            if source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    needed: set[Node] = set()
    for node in sorted(seen, key=_by_order):
        if node in wanted or not needed.isdisjoint(node.sources):
            needed.add(node)
    return needed


def lent(found: dict[Node, Any], owned: set[Node]) -> dict[Node, Any]:
    """What a sweep inside another one found: arrays that somebody else holds become views, nobody adds to them."""
    return {node: g if node in owned else g[...] for node, g in found.items()}


def _holds(dx) -> bool:
    """Whether an array has its memory to itself: its own, or lent to it alone."""
    base = dx.base
    return base is None or type(base) is Loan


def _same(g, dx):
    return dx


def _among(dx, handed: Iterable) -> bool:
    return any(dx is h for h in handed)


def _fit(dx, node: Node, source: Node):
    """Undo the broadcasting of an elementwise function; any other difference of shape is a wrong rule."""
    if node.function.broadcasts:
        return unbroadcast(dx, source.shape)
    raise ShapeError(
        f"{node.function.__name__}: the rule for {anomaly.operand(node, source)} returned a gradient of shape "
        f"{tuple(dx.shape)} for an input of shape {source.shape}"
    )


def _array_of(dx, node: Node, source: Node, create_graph: bool):
    """What a rule returned: on arrays it may have used the library's functions, whose results are Tensors."""
    if not hasattr(dx, "shape"):
        raise DtypeError(
            f"{node.function.__name__}: the rule for {anomaly.operand(node, source)} returned {dx!r}, not an array of "
            f"shape {source.shape}"
        )
    return dx.data if isinstance(dx, Operators) and not create_graph else dx


def _add_piece(piece: Piece, source: Node, pending: dict, owned: set) -> None:
    if source not in owned or not is_array(pending[source]):  # NumPy gives scalars for 0-d results
        xp = namespace(piece.value)
        buffer = xp.zeros(source.shape, dtype=piece.value.dtype)
        if pending[source] is not None:
            buffer += pending[source]
        pending[source] = buffer
        owned.add(source)
    piece.put(pending[source], piece.index, piece.value)


def _join(g, pieces: list[Piece], shape):
    """All pieces of one source as one recorded function of their values."""
    total = pieces[0].put.joined(shape, [p.index for p in pieces], [p.value for p in pieces])
    return total if g is None else g + total


def _show(node: Node, g, owned: set):
    """Hooks see the finished gradient, oldest hook first, and may replace it; the one that retains it comes last."""
    assert node.watch is not None
    for _, hook in sorted(node.watch.hooks.items()):
        owned.discard(node)  # a hook may hold on to what it saw
        g = hook(g)
    return g


def refuse_changed(keeper: Node, node: Node) -> None:
    """Raise if an array of `keeper` was written to after `node` was recorded: a checkpoint's keepers are newer."""
    for x in anomaly.arrays_in(keeper.kept if type(keeper.kept) is tuple else ()):
        if writes.since(x, node.order):
            raise InplaceError(
                f"{node.function.__name__}: an array of shape {x.shape} that its gradient needs was changed in place "
                "after it was recorded; change a copy (x + 0), or do it before the forward pass"
            )
