"""`tinygrad-nlp check MODULE:FUNCTION`: are the gradients of a function right?"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from nlp_kernels.errors import TinygradError, UserError

from tinygrad_nlp.autograd.check import ORACLES, CheckError, GradientError, check_grads
from tinygrad_nlp.autograd.checking.draws import VALUES, values
from tinygrad_nlp.autograd.checking.kinks import CONVENTIONS

ABOUT = """Check the gradients of a function of tensors, at random inputs, by oracles that know nothing of its rules:
for every input, to the order asked for, in several memory layouts, with random cotangents."""

EXAMPLES = """examples:
  tinygrad-nlp check tinygrad_nlp:layer_norm --shape 4,8 --shape 8 --shape 8
  tinygrad-nlp check my_functions.py:swish --shape 3,4 --order 3
  tinygrad-nlp check tinygrad_nlp:log --shape 5 --values positive
  tinygrad-nlp check tinygrad_nlp:embedding --shape 5,3 --shape 6@5        six indices below 5
  tinygrad-nlp check tinygrad_nlp:relu --shape 9 --values kinks --kinks zero --order 1
  tinygrad-nlp check tinygrad_nlp:permute_dims --shape 2,3 --linear --set axes=(1,0)

exit status: 0 right, 1 wrong (with the worst element, what the error looks like, a small case), 2 no verdict"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"check: {message.removeprefix('argument ')}; see tinygrad-nlp check --help")


def main(argv: list[str]) -> int:
    """Check one function and print the table of what was compared."""
    arguments = _parser().parse_args(argv)
    dtype = np.dtype(arguments.dtype)
    rng = np.random.default_rng(arguments.seed)
    f, given = find(arguments.target), dict(_setting(s) for s in arguments.set)
    inputs = [_drawn(shape, arguments.values, rng, dtype) for shape in arguments.shape]
    name = arguments.target.rpartition(":")[2]

    def call(*xs: Any) -> Any:
        try:
            return f(*xs, **given)
        except TinygradError:
            raise
        except Exception as error:  # whatever the function of a stranger may raise
            raise UserError(f"check: {name} raised {type(error).__name__}: {error}") from error

    call.__wrapped__ = f  # type: ignore[attr-defined]  # inspect.signature finds the names of the arguments here
    _fits(f, name, inputs, given)
    try:
        report = check_grads(
            call,
            inputs,
            name=name,
            order=arguments.order,
            wrt=arguments.wrt or None,
            dtype=dtype,
            oracle=arguments.oracle,
            linear=arguments.linear,
            kinks=arguments.kinks,
            vacuous=arguments.vacuous,
            rng=rng,
        )
    except GradientError as error:
        print(f"WRONG  {error}")
        return 1
    except CheckError as error:
        raise type(error)(_as_options(str(error))) from error
    if all(row.note == "empty" for row in report.rows):
        raise UserError(f"check: {name}: all inputs or outputs are empty, nothing was compared: give larger shapes")
    print(f"right  {report}")
    return 0


def _fits(f: Callable, name: str, inputs: list, given: dict) -> None:
    """UserError unless the function takes so many inputs and these keyword arguments."""
    try:
        signature = inspect.signature(f)
    except ValueError:  # builtins need not have one
        return
    try:
        signature.bind(*inputs, **given)
    except TypeError as error:
        raise UserError(
            f"check: {name}{signature} does not take what is given ({error}): give one --shape for each input, in "
            "order, and --set NAME=VALUE for other arguments"
        ) from None


def _as_options(message: str) -> str:
    """The keyword arguments of check_grads in a message as options of the command line."""
    message = re.sub(r"\b(vacuous|linear)=True", r"--\1", message)
    return re.sub(r"\b(dtype|kinks|oracle|order|wrt)='?(\w*)'?", lambda m: f"--{m[1]} {m[2]}".strip(), message)


def _parser() -> Parser:
    parser = Parser(
        prog="tinygrad-nlp check",
        usage="tinygrad-nlp check MODULE:FUNCTION --shape 3,4 --shape 4 [options]",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("target", metavar="MODULE:FUNCTION", help="a function of tensors; MODULE may be a file, as my_functions.py")
    add("--shape", action="append", default=[], metavar="S", help="of one input: 3,4 or scalar; 6@5: indices below 5")
    add("--order", type=int, default=2, metavar="N", help="of derivatives (default: 2)")
    add("--dtype", choices=("float64", "float32"), default="float64", help="to compute in (default: float64)")
    add("--seed", type=int, default=0, metavar="N", help="of inputs, directions and cotangents (default: 0)")
    add("--values", choices=tuple(VALUES), default="ordinary", help="of the inputs (default: ordinary, that is normal)")
    add("--oracle", choices=ORACLES, default="auto", help="default: adjoint with --linear, else richardson")
    add("--linear", action="store_true", help="the function is linear in all inputs together")
    add("--kinks", choices=tuple(CONVENTIONS), help="what the derivative is at a kink")
    add("--vacuous", action="store_true", help="permit a gradient that is zero everywhere")
    add("--wrt", action="append", metavar="NAME", help="differentiate only by this input; repeat it")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a keyword argument, as axis=0; repeat it")
    return parser


def find(target: str) -> Callable:
    """The function that MODULE:FUNCTION or FILE.py:FUNCTION names; UserError if there is none."""
    source, _, name = target.rpartition(":")
    if not source or not name:
        raise UserError(f"check: {target!r} is not MODULE:FUNCTION, as tinygrad_nlp:tanh or my_functions.py:swish")
    try:
        found: Any = _module(source)
    except Exception as error:  # the import of a stranger's module
        raise UserError(f"check: cannot import {source}: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"check: {source} has no {name}")
        found = getattr(found, part)
    if isinstance(found, type) or not callable(found):
        kind = "a class: check an object of it, made in a module of yours" if isinstance(found, type) else "no function"
        raise UserError(f"check: {target} is {kind}")
    return found


def _module(source: str) -> Any:
    if not source.endswith(".py"):
        if "" not in sys.path:
            sys.path.insert(0, "")  # modules in the working directory, as `python -m` would find them
        return importlib.import_module(source)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _drawn(text: str, kind: str, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    sizes, _, limit = text.partition("@")
    try:
        shape = () if sizes in ("scalar", "()") else tuple(int(n) for n in sizes.split(","))
        below = int(limit) if limit else None
        if any(n < 0 for n in shape) or (below is not None and below < 1):
            raise ValueError
    except ValueError:
        raise UserError(f"check: --shape {text!r} is no shape: write 3,4 or scalar, 6@5 for indices") from None
    return values(kind, rng, shape, dtype) if below is None else rng.integers(0, below, shape)


def _setting(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not mark or not name.isidentifier():
        raise UserError(f"check: --set {text!r} is not NAME=VALUE, as axis=0")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
