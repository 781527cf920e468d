"""The nodes of the graph: a Leaf where a gradient is wanted, a Node for each recorded application of a function."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

tick = count().__next__  # newer nodes have larger numbers: visiting them in falling order is a topological order

FREED: Any = object()  # what a node keeps after its sweep


class Node:
    """One application of a function: where its inputs came from, and what its rules asked to keep."""

    __slots__ = ("function", "kept", "order", "shape", "sources", "watch")

    def __init__(self, function, sources, kept, shape):
        self.function, self.sources, self.kept, self.shape = function, sources, kept, shape
        self.order = tick()
        self.watch: Watch | None = None

    def watched(self) -> Watch:
        if self.watch is None:
            self.watch = Watch()
        return self.watch


class Leaf(Node):
    """A tensor the user made; gradients are accumulated in `grad`."""

    __slots__ = ("dtype", "grad", "name")

    def __init__(self, shape, dtype, name=None):
        super().__init__(LEAF, (), None, shape)
        self.dtype, self.grad, self.name = dtype, None, name


class Output(Node):
    """Output `index` of a node that has several: it hands its gradient to that place of its one source."""

    __slots__ = ("index",)

    def __init__(self, source: Node, index: int, shape):
        super().__init__(OUTPUT, (source,), None, shape)
        self.index = index


class Watch:
    """The few nodes somebody looks at: hooks, the line that made them, checksums of what they keep."""

    __slots__ = ("checksums", "hooks", "origin")

    def __init__(self) -> None:
        self.hooks: dict[int, Callable] = {}
        self.origin: str | None = None
        self.checksums: list[int] | None = None


class Mark:
    """What stands for the function of a Leaf or an Output in a drawing or a message."""

    broadcasts = False
    rules = None

    def __init__(self, name: str):
        self.__name__ = name


LEAF, OUTPUT = Mark("leaf"), Mark("output")
