"""The table of what is compared: an expression in our names, the same in PyTorch's, and arguments to draw.

A row is read as it is run: both expressions are evaluated with the arguments of each call, ours in the names of
`tinygrad_nlp` and PyTorch's in those of `torch`. Often they are one and the same text. Nothing here imports PyTorch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison. `kind` says what is done with the value of the expression:

    - function: it is the result; gradients for every differentiable array among the arguments;
    - layer: it is a module, which gets random weights; `then` is evaluated for the result; gradients also for weights;
    - optimizer: its steps change `params`, given `gradients` for each step; the result is every step's parameters;
    - clipping: it changes the gradients of `params`, and they are the result, with its value;
    - schedule: it sets the rate of `optimizer`; the result is the rate of `steps` steps.
    """

    kind: str
    ours: str
    theirs: str
    calls: tuple[dict[str, Any], ...]
    then: str = ""

    @property
    def name(self) -> str:
        return self.ours.split("(")[0]

    @property
    def called(self) -> set[str]:
        """The names of all that our expression calls."""
        return set(re.findall(r"(?<![\w.])\w[\w.]*(?=\()", self.ours))


def function(ours: str, theirs: str, *calls: dict[str, Any]) -> Row:
    """Our expression and PyTorch's, SAME where the text is the same."""
    return Row("function", ours, theirs or ours, calls)


def layer(text: str, then: str, *calls: dict[str, Any]) -> Row:
    """One text for both, since layers have PyTorch's names and arguments; `then` calls the `layer`."""
    return Row("layer", text, text, calls, then)


def call(**arguments: Any) -> dict[str, Any]:
    """One call's arguments, by the names that the expressions use."""
    return arguments


SAME = ""

# What is public and not compared
EXCEPTIONS = {
    "dropout": "its mask comes from the library's own generator; the layer is compared in evaluation",
    "nn.ModuleList": "a list of modules, which is not called",
    "optim.InverseSqrt": "PyTorch has no such schedule",
    "optim.Noam": "PyTorch has no such schedule",
    "optim.clip_scale": "PyTorch has it inside clip_grad_norm_, with which it is compared",
}
WITHOUT_GRADIENTS = {
    "tinygrad_nlp.ops.creation": "new arrays",
    "tinygrad_nlp.ops.comparison": "truth values and whole numbers",
    "tinygrad_nlp.ops.dtypes": "what dtypes are",
    "tinygrad_nlp.ops.searching": "truth values and indices",
    "tinygrad_nlp.ops.sets": "their size depends on the values",
}


def rows() -> list[Row]:
    """The whole table, in the order of its files."""
    from table import elementwise, hot_paths, indexing, layers, losses, optimizers, products, reductions, shapes

    files = (elementwise, reductions, products, shapes, indexing, hot_paths, layers, losses, optimizers)
    return [row for file in files for row in file.ROWS]


def numbered(table: list[Row]) -> Iterator[tuple[str, Row, dict[str, Any]]]:
    """Every call with its case's name: the row's, and a number that counts all calls of that name."""
    counts: Counter[str] = Counter()
    for row in table:
        for arguments in row.calls:
            yield f"{row.name}.{counts[row.name]}", row, arguments
            counts[row.name] += 1
