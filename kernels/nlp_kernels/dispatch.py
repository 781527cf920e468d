"""One rule: of a hot path's backends, in order of preference, the first that supports the arrays serves them.

A backend is a module beside the hot path's `reference.py` (its file name is its name), or any object that
`register_backend` adds. It has `forward` and `backward` (or `step`) and `supports(*inputs, **hyper) -> bool`; the
reference supports everything, so it needs no `supports` and comes last. One that is fast for some inputs only has
`pays(*inputs, **hyper) -> bool` besides: where it says no, the next is asked, unless this one is forced.

bfloat16 that no kernel takes as it is, as on the CPU, is computed in float32 by the backend that serves that.
"""

import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from nlp_kernels import simulator
from nlp_kernels.common.bfloat16 import BFLOAT16, rounded, widened
from nlp_kernels.errors import BackendError

ROOT = Path(__file__).parent
HOT_PATHS = tuple(sorted(path.parent.name for path in ROOT.glob("*/reference.py")))
BACKENDS = ("hopper", "tensor_cores", "cuda", "cublas", "packed", "cpu", "reference")  # in order of preference
NEED_NUMBA = ("cpu", "packed")
SIMULATED = ("hopper", "tensor_cores", "cuda")  # kernels of ours, which the simulator can run
ON_GPU = (*SIMULATED, "cublas")

_resolved: dict[str, dict[str, Any]] = {}  # hot path -> backend name -> module, in order of preference
_asked: dict[str, tuple] = {}  # hot path -> (module, its supports, its pays or None), in the same order
# hot path -> the name of its forced backend; "*" stands for every other hot path
_forced: ContextVar[Mapping[str, str]] = ContextVar("forced backends", default=MappingProxyType({}))


def backends(hot_path: str) -> tuple[str, ...]:
    """The names of the backends that a hot path has, in order of preference.  hot path -> names

    Raises BackendError for a hot path that is not there.

    >>> "reference" in tn.backends("softmax")
    True
    """
    return tuple(_modules(hot_path))


def select(hot_path: str, x: Any, *inputs: Any, **hyper: Any) -> Any:
    """The module that serves these inputs: the forced backend, else the first whose `supports` says yes.

    Raises BackendError where the forced backend is absent or does not support the inputs: no silent fallback.
    """
    if x.dtype is BFLOAT16:
        return _kernel_of_bfloat16(hot_path, x, *inputs, **hyper) or InFloat32(hot_path)
    if _forced.get() and (name := forced(hot_path)) is not None:
        module = _modules(hot_path).get(name)
        if module is None or not (name == "reference" or module.supports(x, *inputs, **hyper)):
            raise BackendError(_refusal(hot_path, name, module, x))
        return module
    for module, supports, pays in _asked.get(hot_path) or _order(hot_path, _modules(hot_path)):
        if supports is None or (supports(x, *inputs, **hyper) and (pays is None or pays(x, *inputs, **hyper))):
            return module
    raise BackendError(
        f"{hot_path}({_describe(x)}): no backend supports this array; its backends: {', '.join(_modules(hot_path))}"
    )


class InFloat32:
    """What serves arrays of bfloat16 that no kernel takes: float32's backend, its results rounded once.

    What is saved stays in float32, and so does a loss, of which a mean is to be taken.
    """

    def __init__(self, hot_path: str):
        self.hot_path = hot_path

    def forward(self, *inputs: Any, **hyper: Any) -> tuple[Any, Any]:
        inputs = widened(inputs)
        y, saved = select(self.hot_path, *inputs, **hyper).forward(*inputs, **hyper)
        return (y if self.hot_path == "cross_entropy" else rounded(y)), saved

    def backward(self, *arrays: Any, **hyper: Any) -> tuple[Any, ...]:
        dy, *inputs, saved = widened(arrays)
        return rounded(select(self.hot_path, *inputs, **hyper).backward(dy, *inputs, saved, **hyper))


def _kernel_of_bfloat16(hot_path, *inputs, **hyper):
    """The kernel that takes these as they are and pays, or is forced; None where there is none."""
    name, modules = forced(hot_path), _modules(hot_path)
    for known, (module, supports, pays) in zip(modules, _asked[hot_path], strict=True):
        if supports is None or name not in (None, known) or not supports(*inputs, **hyper):
            continue
        if name or pays is None or pays(*inputs, **hyper):
            return module
    return None


def forced(hot_path: str) -> str | None:
    """The name of the backend that `use_backend` forces for a hot path, if any."""
    names = _forced.get()
    return (names.get(hot_path) or names.get("*")) if names else None


def use_backend(
    name: str, hot_path: str | None = None, *, simulate: bool | str = False
) -> AbstractContextManager[None]:
    """Force a backend inside a `with` block, for one hot path or for all; context-local (threads, async tasks).

    `use_backend("cuda", simulate=True)` runs the CUDA kernels on NumPy arrays, in the simulator, a thread at a time;
    simulate may also name the order of the threads: "forward" (True), "reverse" or "random:SEED".

    Raises BackendError for a name that no hot path has, at once; `select` raises where the backend cannot serve.

    >>> with tn.use_backend("reference"):
    ...     y = tn.softmax([1.0, 1.0])
    >>> y
    Tensor([0.5, 0.5])
    """
    known = {*BACKENDS, *(known for path in HOT_PATHS for known in _modules(path))}
    if name not in known:
        raise BackendError(f"there is no backend {name!r}; there are {', '.join(sorted(known))}")
    if hot_path is not None:
        _modules(hot_path)
    if simulate and name not in SIMULATED:
        raise BackendError(f'simulate=True is for CUDA kernels: use_backend("cuda", simulate=True), not {name!r}')
    order = simulator.simulate(simulate if isinstance(simulate, str) else "forward") if simulate else nullcontext()
    return _force(name, hot_path, order)


def register_backend(hot_path: str, name: str, module: Any) -> None:
    """Add a backend from outside the package; it is asked before the others, and `use_backend(name)` forces it.

    Raises BackendError for an unknown hot path, a name that is taken, or a module that lacks a function.

    >>> import nlp_kernels
    >>> from types import SimpleNamespace
    >>> from nlp_kernels.softmax import reference
    >>> mine = SimpleNamespace(forward=reference.forward, backward=reference.backward)
    >>> mine.supports = lambda *inputs, **hyper: False
    >>> tn.register_backend("softmax", "mine", mine)
    >>> tn.backends("softmax")[0]
    'mine'
    >>> nlp_kernels.dispatch.unregister_backend("softmax", "mine")
    """
    modules = _modules(hot_path)
    if name in modules or name in BACKENDS:
        raise BackendError(f"{hot_path}: the backend name {name!r} is taken; choose another")
    needed = ["supports", *(f for f in ("forward", "backward", "step") if hasattr(modules["reference"], f))]
    if missing := [function for function in needed if not callable(getattr(module, function, None))]:
        raise BackendError(f"{hot_path}: backend {name!r} has no {', '.join(missing)}")
    _order(hot_path, {name: module, **modules})


def unregister_backend(hot_path: str, name: str) -> None:
    """Take back what `register_backend` added; raises BackendError for anything else."""
    modules = _modules(hot_path)
    if name not in modules or name in BACKENDS:
        raise BackendError(f"{hot_path}: no registered backend {name!r}; there are {', '.join(modules)}")
    _order(hot_path, {known: module for known, module in modules.items() if known != name})


def _modules(hot_path):
    if hot_path not in HOT_PATHS:
        raise BackendError(f"there is no hot path {hot_path!r}; there are {', '.join(HOT_PATHS)}")
    if hot_path not in _resolved:
        present = [name for name in BACKENDS if (ROOT / hot_path / f"{name}.py").exists()]
        if not _numba_works():
            present = [name for name in present if name not in NEED_NUMBA]
        _order(hot_path, {name: import_module(f"nlp_kernels.{hot_path}.{name}") for name in present})
    return _resolved[hot_path]


def _order(hot_path, modules):
    """Set down a hot path's backends, and what `select` asks them."""
    _resolved[hot_path] = modules
    _asked[hot_path] = tuple(
        (module, None if name == "reference" else module.supports, getattr(module, "pays", None))
        for name, module in modules.items()
    )
    return _asked[hot_path]


@functools.cache
def _numba_works() -> bool:
    """Whether Numba can be imported; says so once if not."""
    try:
        import_module("numba")
    except ImportError as error:  # absent, or it refuses this NumPy or Python
        warnings.warn(
            f"the CPU kernels need Numba, and it cannot be imported ({error}): the slower references run instead",
            stacklevel=2,
        )
        return False
    return True


@contextmanager
def _force(name: str, hot_path: str | None, order: AbstractContextManager[None]) -> Iterator[None]:
    token = _forced.set({"*": name} if hot_path is None else {**_forced.get(), hot_path: name})
    try:
        with order:
            yield
    finally:
        _forced.reset(token)


def _refusal(hot_path, name, module, x):
    lack = "which it does not have" if module is None else "which does not support this array"
    there = ", ".join(_modules(hot_path))
    if name in SIMULATED and module is not None and type(x) is np.ndarray and not simulator.simulating():
        lack += f' (NumPy arrays run on it in the simulator: use_backend("{name}", simulate=True))'
    return f"{hot_path}({_describe(x)}): backend {name!r} is forced, {lack}; its backends: {there}"


def _describe(x):
    return f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}[{x.dtype}]"
