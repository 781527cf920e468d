"""One way for every operation: NumPy's function on the memory of device arrays, done at once or recorded.

While a stream is captured nothing is done: the operation, with the memory that it reads and writes, goes on a tape that
`Graph.launch` runs. Shapes of results are found by a trial whose values are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cupy._machine import machine
from cupy._memory import alloc_pinned_memory


def call(function: Callable, *args: Any, out: Any = None, **params: Any) -> Any:
    """function(*args) as device arrays: views of what was given, else new memory; with `out` written there."""
    machine.check()
    given: list[Any] = []
    args, params = _plain(args, given), _plain(params, given)
    if out is not None:
        target = _plain(out, given)
        effect(lambda: function(*args, **params, out=target))
        return out
    tape = machine.recording
    with np.errstate(all="ignore"):
        result = function(*args, **params)
    made: list[np.ndarray] = []
    wrapped = _wrapped(result, given, made)
    if tape is not None and made:

        def again() -> None:
            values: list[np.ndarray] = []
            _wrapped(function(*args, **params), given, values, only_list=True)
            for target, value in zip(targets, values, strict=True):
                target[...] = value

        targets, made[:] = list(made), []
        tape.append(again)
    return wrapped


def effect(function: Callable[[], Any]) -> None:
    """Change memory in place: now, or when the graph is launched."""
    if machine.recording is not None:
        machine.recording.append(function)
        return
    with np.errstate(all="ignore"):
        function()


def new(shape: tuple[int, ...], dtype: Any, order: str = "C", values: Any = None) -> Any:
    """A device array of new memory; `values` are put there at once."""
    from cupy._array import ndarray

    x = ndarray(shape, dtype, order=order)
    if values is not None:
        x._host[...] = values
    return x


def _plain(x: Any, given: list[Any]) -> Any:
    """The memory of device arrays, scalars as they are; arrays of the host are refused."""
    from cupy._array import ndarray

    if isinstance(x, ndarray):
        if x.data.device_id != machine.current:
            raise ValueError(
                f"The device where the array resides ({x.data.device_id}) is different from the current device "
                f"({machine.current}). Peer access is unavailable between these devices."
            )
        given.append(x)
        return x._host
    if isinstance(x, np.ndarray | np.longdouble):
        raise TypeError(f"Unsupported type {type(x)}")
    if type(x) in (tuple, list):
        return type(x)(_plain(item, given) for item in x)
    return {k: _plain(v, given) for k, v in x.items()} if type(x) is dict else x


def _wrapped(result: Any, given: list[Any], made: list[np.ndarray], only_list: bool = False) -> Any:
    """Arrays and NumPy's scalars as device arrays; new ones are filled, or while recording only listed."""
    if isinstance(result, tuple | list):
        parts = [_wrapped(r, given, made, only_list) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    if isinstance(result, np.ndarray):
        for x in given:
            if result is x._host:
                return x
            if result.size and np.may_share_memory(result, x._host):
                return x._view(result)
    if only_list:
        made.append(np.asarray(result))
        return None
    order = "F" if isinstance(result, np.ndarray) and result.flags.fnc else "C"
    x = new(result.shape, result.dtype, order, None if machine.recording is not None else result)
    made.append(x._host)
    return x


def from_host(x: Any, dtype: Any = None) -> Any:
    """A copy of the host's numbers; a captured stream cannot wait for one that is not a scalar."""
    host = np.array(x, dtype)
    check_dtype(host.dtype)
    if host.ndim:
        alloc_pinned_memory(host.nbytes)
        machine.synchronises()
    made = new(host.shape, host.dtype)
    memory = made._host
    effect(lambda: np.copyto(memory, host))
    return made


def check_dtype(dtype: np.dtype) -> None:
    if (dtype.kind not in "biufc" and dtype.name != "bfloat16") or dtype == np.longdouble:
        raise ValueError(f"Unsupported dtype {dtype}")


def index_of(index: Any, given: list[Any]) -> Any:
    """An index as NumPy takes it; arrays of the host are copied to the device first."""
    if isinstance(index, tuple):
        return tuple(index_of(i, given) for i in index)
    if isinstance(index, np.ndarray | list):
        index = from_host(index, None if np.size(index) else np.int32)
    return _plain(index, given)


def around(index: Any, shape: tuple[int, ...]) -> Any:
    """The index with integers of arrays that are beyond an axis counted on from its beginning: a GPU does not look."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(p is None or p is Ellipsis or (isinstance(p, np.ndarray) and p.dtype.kind == "b") for p in parts):
        return index
    parts = tuple(
        p % n if isinstance(p, np.ndarray) and n else p for p, n in zip(parts, (*shape, *parts), strict=False)
    )
    return parts if isinstance(index, tuple) else parts[0]
