"""Errors that name the function which was called: NumPy's and CuPy's as the library's, inner ones by the outer name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nlp_kernels.errors import AxisError, DeviceError, DtypeError, ShapeError, TinygradError

from tinygrad_nlp.autograd.arrays import is_array
from tinygrad_nlp.autograd.bfloat16 import is_numeric
from tinygrad_nlp.autograd.devices import device_of

F = TypeVar("F", bound=Callable)


def library_error(function: str, error: Exception, inputs: Sequence[Any]) -> Exception:
    """The library's error for one of NumPy's or CuPy's: it names the function, and all shapes or dtypes."""
    if isinstance(error, TinygradError):
        return renamed(function, error)
    message = str(error).removeprefix(f"{function}: ")
    devices = list(dict.fromkeys(device_of(x) for x in inputs if is_array(x)))
    if len(devices) > 1:
        shapes = ", ".join(f"{tuple(x.shape)} on {device_of(x)}" for x in inputs if is_array(x))
        return DeviceError(f"{function} of {shapes}: move them to one device, as with x.to({devices[0]!r})")
    if isinstance(error, TypeError):
        dtypes = ", ".join(str(x.dtype) if is_array(x) else type(x).__name__ for x in inputs)
        return DtypeError(f"{function} of {dtypes}: {message}")
    if isinstance(error, IndexError) and not isinstance(error, ValueError):
        return IndexError(f"{function}: {message}")
    shapes = ", ".join(str(tuple(x.shape)) if is_array(x) else repr(x) for x in inputs)
    kind = AxisError if isinstance(error, IndexError) else ShapeError
    return kind(f"{function} of {shapes}: {message}")


def no_numbers(x: Any) -> str:
    """What an operand is instead of numbers, None or an array of text or objects; "" for everything else."""
    return "None" if x is None else str(x.dtype) if is_array(x) and not is_numeric(x.dtype) else ""


def renamed(function: str, error: Exception) -> Exception:
    """An error of the same class whose message begins with the function's name; of a TypeError, a DtypeError."""
    kind: type[Exception] = IndexError if isinstance(error, IndexError) else ValueError
    if isinstance(error, TypeError):
        kind = DtypeError
    return (type(error) if isinstance(error, TinygradError) else kind)(f"{function}: {error}")


def explained(function: F) -> F:
    """A function made of others, whose errors begin with its own name; a bare TypeError becomes a DtypeError."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args, **params):
        try:
            return function(*args, **params)
        except (TypeError, ValueError, IndexError) as error:
            bare = isinstance(error, TypeError) and not isinstance(error, TinygradError)
            if _of_the_call(error) or (str(error).startswith(name) and not bare):
                raise
            raise renamed(name, error) from error

    return call  # type: ignore[return-value]


def _of_the_call(error: Exception) -> bool:
    """Whether arguments that the function does not have raised it, before the function began."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
