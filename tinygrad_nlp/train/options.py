"""Hyperparameters in dataclasses: a field's default, range and help make both the API and the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields
from typing import Any

from nlp_kernels.errors import UserError


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    flag: str | None = None,
    short: str | None = None,
    kind: Callable[[str], Any] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
) -> Any:
    """A dataclass field that is a command line option too; `kind` where the default does not tell the type."""
    kind = kind or type(default)
    if choices is None:
        metavar = metavar or _METAVARS.get(kind, "TEXT")
    about = {"help": help, "flag": flag, "short": short, "kind": kind, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=about | {"metavar": metavar})


class Options:
    """Base of dataclasses made of `option`s: a value outside its range raises `UserError` naming field and flag."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.metadata.get("kind") in _METAVARS and value is not None and not _inside(f, value):
                raise UserError(f"{type(self).__name__}.{f.name} ({flag_of(f)}) must be {_range(f)}, not {value!r}")


def add_options(parser: argparse._ActionsContainer, config_class: type) -> None:
    """One `--flag` for each field made by `option`; what is not given is absent from the parsed arguments."""
    for f in fields(config_class):
        if "kind" in f.metadata:
            shown = f.metadata["help"] + ("" if f.default in (None, "") else f" (default: {f.default})")
            parser.add_argument(
                *filter(None, [f.metadata["short"], flag_of(f)]),
                dest=f.name,
                type=_parser_of(f),
                choices=f.metadata["choices"],
                default=argparse.SUPPRESS,
                metavar=f.metadata["metavar"],
                help=shown.replace("%", "%%"),
            )


def given(arguments: argparse.Namespace, config_class: type) -> dict[str, Any]:
    """The fields of a config class that the command line named."""
    return {f.name: getattr(arguments, f.name) for f in fields(config_class) if hasattr(arguments, f.name)}


def flag_of(f: Field[Any]) -> str:
    """The option of a field: its own flag, or its name with dashes."""
    return f.metadata["flag"] or "--" + f.name.replace("_", "-")


_METAVARS: dict[Any, str] = {int: "N", float: "X"}
_NAMES: dict[Any, str] = {int: "a whole number", float: "a number"}


def _inside(f: Field[Any], value: float) -> bool:
    return f.metadata["low"] <= value <= f.metadata["high"] and math.isfinite(value)  # NaN compares false


def _range(f: Field[Any]) -> str:
    low, high = f.metadata["low"], f.metadata["high"]
    if math.isfinite(low) and math.isfinite(high):
        return f"{_NAMES[f.metadata['kind']]} from {low:g} to {high:g}"
    return f"{_NAMES[f.metadata['kind']]}" + (f" of at least {low:g}" if math.isfinite(low) else "")


def _parser_of(f: Field[Any]) -> Callable[[str], Any]:
    kind = f.metadata["kind"]
    if kind not in _NAMES:
        return kind

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not _inside(f, value):
            raise argparse.ArgumentTypeError(f"expected {_range(f)}, not {text!r}")
        return value

    return parse
