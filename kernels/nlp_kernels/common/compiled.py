"""Numba kernels that compile when they are first called, for one dtype at a time, and are kept on disk.

    @kernel("y[N,C] | x[N,C] keep:bool[N,C] temperature")
    def _forward(y, x, keep, temperature): ...

The signature names the arguments in order, outputs before the bar (all inputs may be read-only). `x[N,C]` is an array
in C order of the kernel's own dtype T, float32 or float64, `x(N,C)` one of any strides, `x` a number; another type is
written `x:int64[N]`. It is explicit, so that no memory layout of a caller's array triggers another compilation.

Two ways to run in parallel: a loop over `prange(workers)` in the kernel, or, where the kernel is large, `spread=True`:

    @kernel("y[N,C] | x[N,C] first:int64[W+1]", spread=True)
    def _forward(w, y, x, first): ...

is called as `_forward(W, y, x, first)` and runs for w = 0 … W - 1 at once. It is compiled once; what a prange contains
Numba compiles three times, as a function of its own, with the wrapper that threads call, and with the kernel.

Compiled code is cached under a key made of the sources (the kernel's folder and everything in `common/`), the versions
of Python and Numba, the processor and T. `TINYGRAD_NLP_CACHE` names the folder; without a writable one nothing is kept.
The logger `nlp_kernels` says at level INFO what is compiled, which takes a second or more each.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import logging
import os
import platform
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import caching, cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from nlp_kernels.cache import cache_home
from nlp_kernels.common import threads

__all__ = ["DTYPES", "FAST", "KERNELS", "Kernel", "absent", "cache_folder", "cache_root", "device", "kernel"]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# Sums may be reordered, so that they vectorise; infinities and NaN keep their meaning: masks are -inf, NaN must show.
FAST = frozenset({"reassoc", "nsz", "contract", "arcp"})
KERNELS: list[Kernel] = []  # all of them that are imported: what `tinygrad-nlp warmup` compiles

_ARGUMENT = re.compile(r"(\w+)(?::(\w+))?(?:(\[.*\])|(\(.*\)))?")
_TYPES = {"bool": types.boolean} | {kind: getattr(types, kind) for kind in ("int64", "float64", "uint32", "uint64")}
_compiling = threading.RLock()
_log = logging.getLogger("nlp_kernels")


class Kernel:
    """A Numba function of explicit types; calling it compiles or loads it for the dtype of its first array."""

    def __init__(self, function: Callable, signature: str, fastmath: frozenset[str], spread: bool = False):
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.module = function.__module__
        self.spread, self.parallel = spread, spread or "prange" in function.__code__.co_names
        self.options = {"fastmath": set(fastmath), "nogil": True, "error_model": "numpy"}
        self.arguments = _parsed("w:int64 " * spread + signature, function)
        self.file = Path(inspect.getfile(function))
        self._typed = next(i for i, (kind, ndim, *_) in enumerate(self.arguments) if kind == "T" and ndim)
        self._cut = self.parallel and list(inspect.signature(function).parameters)[-1] == "workers"
        self.compiled: dict[str, Callable] = {}  # dtype character -> function

    def __call__(self, *args: Any) -> Any:
        """Run it; nothing is converted: arrays of other types raise TypeError."""
        dtype = args[self._typed].dtype
        function = self.compiled.get(dtype.char) or self.compile(dtype)
        return threads.alone(function, args) if self._cut and args[-1] == 1 else function(*args)

    def __repr__(self) -> str:
        return f"{self.module}.{self.__name__.lstrip('_')}"

    def is_kept(self, dtype: Any) -> bool:
        """Whether the compiled function lies in the cache."""
        folder = cache_folder(self.file, np.dtype(dtype))
        return folder is not None and any(folder.glob(f"*.{self.__name__}-*.nbi"))

    def compile(self, dtype: Any) -> Callable:
        """The function for float32 or float64, from the cache where it is there."""
        dtype = np.dtype(dtype)
        if dtype not in DTYPES:
            raise TypeError(f"{self}: an array of {dtype}, expected float32 or float64")
        with _compiling:
            if dtype.char not in self.compiled:
                self.compiled[dtype.char] = self._compile(dtype)
            return self.compiled[dtype.char]

    def _compile(self, dtype: np.dtype) -> Callable:
        threads.one_pool()
        if not self.is_kept(dtype):
            _log.info("compiling %s for %s", self, dtype)
        kinds = [_type(a, numba.from_dtype(dtype)) for a in self.arguments]
        function = self._jit(self.__wrapped__, kinds, dtype, parallel=self.parallel and not self.spread)
        if self.spread:
            function = _spread(function, self._jit(_spreading(self.__wrapped__), [types.int64, *kinds], dtype))
        return threads.guarded(function) if self.parallel else function

    def _jit(self, function: Callable, kinds: list, dtype: np.dtype, parallel: bool = True) -> Any:
        compiled = numba.njit(**self.options, parallel=parallel)(function)
        if folder := cache_folder(self.file, dtype):
            compiled._cache = _Cache(function, folder)
        compiled.compile(types.void(*kinds))
        compiled.disable_compile()
        return compiled


@functools.cache
def absent(ndim: int, dtype: np.dtype) -> np.ndarray:
    """What a kernel is given where an optional array is absent: one without entries, `x.size` is 0."""
    return np.empty((0,) * ndim, dtype)


def _spread(worker: Any, spreading: Callable) -> Callable:
    """The function (workers, …): one worker is called right here, several at once by their machine code's address."""
    (compiled,) = worker.overloads.values()
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return lambda workers, *args: worker(0, *args) if workers == 1 else spreading(address, workers, *args)


def _spreading(function: Callable) -> Callable:
    """The function (address, workers, …) that calls the machine code of `function` for each worker at once."""
    name, (_, *arguments) = function.__name__, inspect.signature(function).parameters
    rest = ", ".join(arguments)
    text = f"def {name}_spread(code, workers, {rest}):\n for w in prange(workers):\n  _call(code, (w, {rest}))"
    scope = {"prange": numba.prange, "_call": _call, "__name__": function.__module__}
    exec(compile(text, inspect.getfile(function), "exec"), scope)
    return scope[f"{name}_spread"]


@intrinsic
def _call(typingctx, code, args):
    """Call the compiled kernel at an address; args: a tuple of exactly the types in its signature."""

    def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(types.void, args.types)
        function = builder.inttoptr(values[0], kind.as_pointer())
        unpacked = cgutils.unpack_tuple(builder, values[1], len(args.types))
        convention.call_function(builder, function, types.void, args.types, unpacked)
        return context.get_dummy_value()

    return types.void(code, args), codegen


def kernel(signature: str, *, fastmath: frozenset[str] = FAST, spread: bool = False) -> Callable[[Callable], Kernel]:
    """Make a Kernel of a function that `numba.njit` takes; see the module."""

    def made(function: Callable) -> Kernel:
        KERNELS.append(Kernel(function, signature, fastmath, spread))
        return KERNELS[-1]

    return made


def device(function: Callable | None = None, *, fastmath: frozenset[str] = FAST, inline: bool = True) -> Any:
    """A function that kernels call, compiled into them; its types are those of its arguments.

    `inline=False`: called where the compiler thinks so, not copied to each place: for what works on a whole tile.
    """
    if function is None:
        return functools.partial(device, fastmath=fastmath, inline=inline)
    options = {"nogil": True, "error_model": "numpy", "forceinline": inline}
    return numba.njit(fastmath=set(fastmath), **options)(function)


def cache_root() -> Path | None:
    """The folder of all compiled kernels; None where nothing can be written."""
    root = cache_home() / "kernels"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return root if os.access(root, os.W_OK) else None


def cache_folder(source: Path, dtype: np.dtype) -> Path | None:
    """Where the kernels of a file are kept for a dtype; None where nothing can be written."""
    if (root := cache_root()) is None:
        return None
    digest = hashlib.sha256("\n".join([*_environment(), *map(_digest, _sources(source))]).encode()).hexdigest()
    folder = root / f"{source.parent.name}-{dtype.name}-{digest[:16]}"
    folder.mkdir(exist_ok=True)
    return folder


class _Locator(caching._CacheLocator):
    """A folder whose name says all: nothing in it is ever out of date, so files have no stamp.

    Each folder has one dtype, and an index one signature: processes that compile at the same time write the same.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> int:
        return 0

    def get_disambiguator(self) -> str:
        return ""


class _Cache(caching.FunctionCache):
    """Numba's cache of compiled functions, in the folder of a `_Locator`."""

    def __init__(self, function: Callable, folder: Path):
        class Implementation(caching.CompileResultCacheImpl):
            _locator_classes = [type("Here", (), {"from_function": staticmethod(lambda *_: _Locator(folder))})]  # noqa: RUF012

        self._impl_class = Implementation
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file, by a crash or a full disk: compile again
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # of a full disk: nothing is kept
            super().save_overload(sig, data)


def _parsed(signature: str, function: Callable) -> list[tuple[str, int, str, bool]]:
    """(type, dimensions, layout, read-only) of each argument."""
    outputs, bar, inputs = signature.partition("|")
    found = [(text, False) for text in outputs.split()] + [(text, True) for text in inputs.split()]
    if not bar:
        raise ValueError(f"{function.__name__}: a signature is 'outputs | inputs', not {signature!r}")
    arguments, names = [], []
    for text, read_only in found:
        match = _ARGUMENT.fullmatch(text)
        if match is None:
            raise ValueError(f"{function.__name__}: {text!r} in its signature is no argument")
        name, kind, ordered, strided = match.groups()
        axes = ordered or strided
        names.append(name)
        arguments.append((kind or "T", axes.count(",") + 1 if axes else 0, "A" if strided else "C", read_only))
    if names != list(inspect.signature(function).parameters):
        raise ValueError(f"{function.__name__}: the signature names {names}, the function other arguments")
    return arguments


def _type(argument: tuple[str, int, Any, bool], T: Any) -> Any:
    kind, ndim, layout, read_only = argument
    scalar: Any = T if kind == "T" else _TYPES[kind]
    return types.Array(scalar, ndim, layout, readonly=read_only) if ndim else scalar


def _environment() -> tuple[str, ...]:
    processor = cpu_target.target_context.codegen().magic_tuple()
    vectors = os.environ.get("TINYGRAD_NLP_VECTOR_BYTES", "")
    return platform.python_version(), numba.__version__, np.__version__, repr(processor), vectors


def _sources(source: Path) -> list[Path]:
    return [source, *sorted({*source.parent.glob("*.py"), *Path(__file__).parent.glob("*.py")})]


@functools.cache
def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()
