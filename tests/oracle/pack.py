"""The file of the pack: arrays under `case/name`, and the cases themselves as JSON in the header.

An argument that JSON has no form for is an object with one key: $array (the array's name, with whether it is
differentiable), $tuple, $slice, $ellipsis, $float.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save
from table.draws import Leaf

PATH = Path(__file__).with_name("pack.safetensors")


@dataclass
class Case:
    """One row's expressions with one set of arguments. `arrays` are what went in, `results` what PyTorch made of it.

    `rounding` says for each result how far rounding moves PyTorch's own numbers.
    """

    name: str
    kind: str
    ours: str
    theirs: str
    then: str
    arguments: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    results: dict[str, np.ndarray] = field(default_factory=dict)
    rounding: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def row(self) -> str:
        """The name without the case's number."""
        return self.name.rpartition(".")[0]


_PARTS = {"arrays": "", "results": "result.", "rounding": "rounding."}
TEXT = ("name", "kind", "ours", "theirs", "then")


def write(about: dict[str, Any], cases: list[Case]) -> bytes:
    """The file's bytes: the same for the same pack."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for case in cases:
        entries.append({key: getattr(case, key) for key in TEXT} | {"arguments": _encoded(case.arguments)})
        for part, prefix in _PARTS.items():
            arrays |= {f"{case.name}/{prefix}{name}": np.array(x, order="C") for name, x in getattr(case, part).items()}
    header = json.dumps(about | {"cases": entries}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return save(arrays, {"oracle": header})  # one key: the order of several is not fixed


def read(path: Path = PATH) -> tuple[dict[str, Any], list[Case]]:
    """What is said about the pack, and its cases."""
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["oracle"])
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    cases = [Case(**entry | {"arguments": _decoded(entry["arguments"])}) for entry in about.pop("cases")]
    by_name = {case.name: case for case in cases}
    for key, x in arrays.items():
        name, _, rest = key.partition("/")
        part = next(p for p in ("results", "rounding", "arrays") if rest.startswith(_PARTS[p]))
        getattr(by_name[name], part)[rest.removeprefix(_PARTS[part])] = x
    return about, cases


def _encoded(x: Any) -> Any:
    match x:
        case Leaf():
            return {"$array": [x.name, x.differentiable]}
        case tuple():
            return {"$tuple": [_encoded(item) for item in x]}
        case list():
            return [_encoded(item) for item in x]
        case dict():
            return {key: _encoded(item) for key, item in x.items()}
        case slice():
            return {"$slice": [x.start, x.stop, x.step]}
        case float() if not np.isfinite(x):
            return {"$float": str(x)}
        case _ if x is ...:
            return {"$ellipsis": True}
    return x


def _decoded(x: Any) -> Any:
    match x:
        case {"$array": [name, differentiable]}:
            return Leaf(name, differentiable)
        case {"$tuple": items}:
            return tuple(map(_decoded, items))
        case {"$slice": ends}:
            return slice(*ends)
        case {"$float": text}:
            return float(text)
        case {"$ellipsis": _}:
            return ...
        case list():
            return [_decoded(item) for item in x]
        case dict():
            return {key: _decoded(item) for key, item in x.items()}
    return x
