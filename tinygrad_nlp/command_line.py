"""What the commands share: a parser with short complaints and suggestions, the machine's options, our name."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from nlp_kernels.errors import UserError

from tinygrad_nlp.threads import set_num_threads


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake gets one sentence instead of a page, and a misspelt option a suggestion."""

    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """The arguments; `UserError` for an unknown option or a bad value."""
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            name, known = unknown[0].partition("=")[0], [o for action in self._actions for o in action.option_strings]
            what = "option" if name.startswith("-") else "argument"
            raise UserError(f"unknown {what} {name!r}; {similar(name, known) or f'see {self.prog} --help'}")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Called by argparse for bad values."""
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def one_of(name: Any, known: Collection[str], what: str) -> str:
    """The name itself; `UserError` with the nearest one, or all, where it is not among the known."""
    if name not in known:
        raise UserError(f"unknown {what} {name!r}; {similar(str(name), known) or 'there is ' + ', '.join(known)}")
    return name


def similar(name: str, known: Collection[str]) -> str:
    """`did you mean …?` where a known name is near, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else ""


def add_machine_options(parser: argparse._ActionsContainer) -> None:
    """`--device` and `--threads`."""
    parser.add_argument(
        "--device", default="cpu", type=_device, metavar="NAME", help="cpu, cuda or cuda:N (default: cpu)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")


def _device(name: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:N, not {name!r}")
    return name


def use_threads(threads: int | None) -> None:
    """As many threads as `--threads` says; `UserError` below 1."""
    if threads is not None:
        if threads < 1:
            raise UserError(f"--threads must be at least 1, not {threads}")
        set_num_threads(threads)


def me() -> str:
    """How this program was called, so that what it prints can be typed."""
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return "uv run tinygrad-nlp"
    return "python -m tinygrad_nlp" if Path(sys.argv[0]).name == "__main__.py" else "tinygrad-nlp"


def command(*words: object) -> str:
    """A command of this program as it can be typed."""
    return " ".join([me(), *(shlex.quote(str(word)) for word in words)])
