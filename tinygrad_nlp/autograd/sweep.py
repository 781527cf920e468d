"""The sweep: nodes from the newest to the oldest, each handing its gradient to its sources. No recursion."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from nlp_kernels.errors import FreedGraphError, InplaceError, ShapeError

from tinygrad_nlp.autograd import anomaly
from tinygrad_nlp.autograd.arrays import is_array, namespace, unbroadcast, writes
from tinygrad_nlp.autograd.modes import ANOMALY, mode
from tinygrad_nlp.autograd.node import FREED, Leaf, Node, Output

_by_order = attrgetter("order")


class Piece:
    """The gradient of `x[index]`: `value` at `index`, zero elsewhere.

    The sweep adds all pieces of one source into one buffer, so that reading x[t] in a loop over t stays linear in T.
    """

    __slots__ = ("index", "put", "value")

    def __init__(self, index, value, put):
        self.index, self.value, self.put = index, value, put


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
    pieces: dict[Node, list[Piece]] = {}  # create_graph only
    found: dict[Node, Any] = {}
    for node, g in roots:
        pending[node] = g if node not in pending else pending[node] + g
    nodes, needed = _nodes(pending, wanted, through)
    watching = mode.get() & ANOMALY
    for node in nodes:
        if node in pieces:
            g = _join(pending.pop(node, None), pieces.pop(node), node.shape)
        else:
            g = pending.pop(node, None)
            if g is None:
                continue
        if node.watch is not None:
            g = _show(node, g, owned)
        if wanted is None:
            if type(node) is Leaf:
                found[node] = g
                continue
        elif node in wanted:
            found[node] = g
            if not through:
                continue
        if type(node) is Output:  # one of several: the source's gradient is a dict {output: gradient}
            parts = pending.setdefault(node.sources[0], {})
            parts[node.index] = parts[node.index] + g if node.index in parts else g
            continue
        if type(node) is Leaf:
            continue
        kept, plan = node.kept, node.plan
        if kept is FREED:
            raise FreedGraphError(
                f"{node.function.__name__}: this graph was released by an earlier sweep; "
                "pass retain_graph=True to the first one, or compute the output again"
            )
        if writes.last > node.order:
            _refuse_changed(node)
        if watching:
            anomaly.check_kept(node)
        if plan is None:
            pairs = node.function.gradients(node, g, needed, create_graph)
        else:
            if plan.several:
                g = plan.several(node, g, create_graph)
            if create_graph:
                kept = plan.lift(node)
            pairs = zip(node.sources, plan.rules, strict=False)
        for source, dx in pairs:
            if source is None or (needed is not None and source not in needed):
                continue
            if plan is not None:
                dx = dx(g, kept)
            if dx is None:
                continue
            if type(dx) is Piece:
                if create_graph:
                    pieces.setdefault(source, []).append(dx)
                else:
                    _add_piece(dx, source, pending, owned)
                continue
            if dx.shape != source.shape:
                dx = _fit(dx, node, source)
            if watching:
                anomaly.check_gradient(dx, node, source)
            if source not in pending:
                pending[source] = dx
                if dx is not g and not create_graph and dx.base is None:
                    owned.add(source)
            elif source in owned:
                total = pending[source]
                total += dx
                pending[source] = total
            else:
                pending[source] = pending[source] + dx
                if not create_graph:
                    owned.add(source)
        if not retain_graph:
            node.kept = FREED
    return found, owned


def _nodes(
    roots: Iterable[Node], wanted: set[Node] | None, through: bool
) -> tuple[list[Node], set[Node] | None]:
    """The nodes to visit, newest first; with `wanted`, only those on a path to a wanted node."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if not through and wanted is not None and node in wanted:
            continue
        for source in node.sources:
            if source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    nodes = sorted(seen, key=_by_order)
    if wanted is None:
        nodes.reverse()
        return nodes, None
    needed: set[Node] = set()
    for node in nodes:
        if node in wanted or not needed.isdisjoint(node.sources):
            needed.add(node)
    return [n for n in reversed(nodes) if n in needed], needed


def _fit(dx, node: Node, source: Node):
    """Undo the broadcasting of an elementwise function; any other difference of shape is a wrong rule."""
    if node.function.broadcasts:
        return unbroadcast(dx, source.shape)
    raise ShapeError(
        f"{node.function.__name__}: the rule for {anomaly.operand(node, source)} returned a gradient of shape "
        f"{tuple(dx.shape)} for an input of shape {source.shape}"
    )


def _add_piece(piece: Piece, source: Node, pending: dict, owned: set) -> None:
    if source not in owned:
        xp = namespace(piece.value)
        buffer = xp.zeros(source.shape, dtype=piece.value.dtype)
        if source in pending:
            buffer += pending[source]
        pending[source] = buffer
        owned.add(source)
    piece.put(pending[source], piece.index, piece.value)


def _join(g, pieces: list[Piece], shape):
    """All pieces of one source as one recorded function of their values."""
    total = pieces[0].put.joined(shape, [p.index for p in pieces], [p.value for p in pieces])
    return total if g is None else g + total


def _show(node: Node, g, owned: set):
    """Hooks see the finished gradient, oldest hook first, and may replace it."""
    assert node.watch is not None
    for hook in list(node.watch.hooks.values()):
        owned.discard(node)  # a hook may hold on to what it saw
        g = hook(g)
    return g


def _refuse_changed(node: Node) -> None:
    for x in node.kept if isinstance(node.kept, tuple) else ():
        if is_array(x) and writes.since(x, node.order):
            raise InplaceError(
                f"{node.function.__name__}: an array of shape {x.shape} that its gradient needs was changed in place "
                "after it was recorded; change a copy (x + 0), or do it before the forward pass"
            )
