"""A graph as text and as a picture: what was computed from what, and what it keeps for the gradient."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from tinygrad_nlp.autograd.anomaly import arrays_in
from tinygrad_nlp.autograd.node import FREED, Leaf, Node, Output

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 150, 40, 24, 36  # of a box, in pixels


class Graph:
    """The nodes that an output was made from. `str(graph)` is text, `graph.svg()` a picture."""

    def __init__(self, root: Node | None, name: str = "output"):
        self.root, self.name = root, name
        self.nodes = _reachable(root)
        self.number = {node: i for i, node in enumerate(self.nodes)}

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        if self.root is None:
            return f"{self.name}: a constant, nothing is recorded"
        lines: list[str] = []
        stack = [(self.root, "", "")]
        shown = set()
        while stack:
            node, first, rest = stack.pop()
            if node in shown:
                lines.append(f"{first}{_title(node)} #{self.number[node]} (above)")
                continue
            shown.add(node)
            lines.append(f"{first}{_title(node)} #{self.number[node]}  {_details(node)}")
            sources = [s for s in node.sources if s is not None]
            for i, source in reversed(list(enumerate(sources))):
                last = i == len(sources) - 1
                stack.append((source, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")))
        kept = sum(_kept_bytes(n) for n in self.nodes)
        return "\n".join([*lines, f"{len(self.nodes)} nodes, {_bytes(kept)} kept for the gradient"])

    def svg(self) -> str:
        """An SVG drawing, the output on top, every arrow pointing to where a gradient goes."""
        layers = self._layers()
        width = max((len(layer) for layer in layers), default=1) * (_WIDTH + _GAP_X) + _GAP_X
        height = len(layers) * (_HEIGHT + _GAP_Y) + _GAP_Y
        at: dict[Node, tuple[float, float]] = {}
        for row, layer in enumerate(layers):
            left = (width - len(layer) * (_WIDTH + _GAP_X) + _GAP_X) / 2
            for column, node in enumerate(layer):
                at[node] = left + column * (_WIDTH + _GAP_X), _GAP_Y / 2 + row * (_HEIGHT + _GAP_Y)
        arrows = [_arrow(at[n], at[s]) for n in self.nodes for s in n.sources if s is not None]
        boxes = [_box(node, *at[node]) for node in self.nodes]
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
                f'height="{height:g}" font-family="sans-serif" font-size="12">',
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
                'orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
                '<rect width="100%" height="100%" fill="white"/>',
                *arrows,
                *boxes,
                "</svg>",
            ]
        )

    _repr_svg_ = svg  # notebooks draw it

    def save(self, path: str | Path) -> None:
        """Write the SVG drawing to a file."""
        Path(path).write_text(self.svg(), encoding="utf-8")

    def _layers(self) -> list[list[Node]]:
        """Nodes by their longest distance from the output; within a layer, below what uses them."""
        depth = dict.fromkeys(self.nodes, 0)
        uses: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:  # newest first: every use of a node comes before it
            for source in node.sources:
                if source is not None:
                    depth[source] = max(depth[source], depth[node] + 1)
                    uses[source].append(node)
        layers: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        place: dict[Node, float] = {}
        for node in sorted(self.nodes, key=lambda n: (depth[n], -n.order)):
            layers[depth[node]].append(node)
        for layer in layers:
            layer.sort(key=lambda n: sum(place[u] for u in uses[n]) / max(len(uses[n]), 1))
            place.update((node, (i + 0.5) / len(layer)) for i, node in enumerate(layer))
        return layers


def _reachable(root: Node | None) -> list[Node]:
    """All nodes, newest first."""
    seen = {root} if root is not None else set()
    stack = list(seen)
    while stack:
        for source in stack.pop().sources:
            if source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    return sorted(seen, key=lambda n: -n.order)


def _title(node: Node) -> str:
    if isinstance(node, Leaf):
        return node.name or "leaf"
    if isinstance(node, Output):
        return f"output {node.index}"
    return node.function.__name__.lstrip("_")


def _details(node: Node) -> str:
    shape = " ".join(str(s[0]) for s in node.shape if s) if isinstance(node.shape, list) else str(node.shape)
    if isinstance(node, Leaf):
        return f"{shape} requires_grad"
    if node.kept is FREED:
        return f"{shape} released"
    kept = _kept_bytes(node)
    return f"{shape} keeps {_bytes(kept)}" if kept else shape


def _kept_bytes(node: Node) -> int:
    arrays: dict[int, Any] = {id(a): a for a in arrays_in(node.kept if isinstance(node.kept, tuple) else ())}
    return sum(a.nbytes for a in arrays.values())


def _bytes(n: int) -> str:
    value, unit = float(n), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def _box(node: Node, x: float, y: float) -> str:
    fill = "#e3f0d8" if isinstance(node, Leaf) else ("#eeeeee" if isinstance(node, Output) else "#dce8f7")
    middle = x + _WIDTH / 2
    return (
        f'<g><rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#555"/>'
        f'<text x="{middle:g}" y="{y + 17:g}" text-anchor="middle" font-weight="bold">{escape(_title(node))}</text>'
        f'<text x="{middle:g}" y="{y + 32:g}" text-anchor="middle" font-size="10">{escape(_details(node))}</text></g>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1, x2, y2 = start[0] + _WIDTH / 2, start[1] + _HEIGHT, end[0] + _WIDTH / 2, end[1]
    bend = (y1 + y2) / 2
    return (
        f'<path d="M{x1:g} {y1:g}C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}" fill="none" stroke="#555" '
        'marker-end="url(#tip)"/>'
    )
