"""The stand-in for CuPy, put in CuPy's place for a while: a fixture for tests, a context manager for everybody.

On the command line it is enough to look for modules here first:
`PYTHONPATH=tests/standin tinygrad-nlp train gpt --device cuda`.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_FOLDER = str(Path(__file__).parent)
_kept: dict[str, ModuleType] = {}  # the stand-in's modules: imported once, so that its classes stay the same


@contextlib.contextmanager
def installed() -> Iterator[ModuleType]:
    """`import cupy` gives the stand-in inside a `with` block, on a machine of two devices that has not failed yet."""
    import array_api_compat

    real = _taken_away()
    sys.path.insert(0, _FOLDER)
    sys.modules.update(_kept)
    _forget_kernels()
    try:
        cupy = importlib.import_module("cupy")
        array_api_compat.cupy = importlib.import_module("array_api_compat.cupy")
        importlib.import_module("cupyx.scipy.special")
        yield cupy
    finally:
        if "cupy._machine" in sys.modules:
            sys.modules["cupy._machine"].machine.__init__()
        sys.path.remove(_FOLDER)
        _kept.update(_taken_away())
        vars(array_api_compat).pop("cupy", None)
        sys.modules.update(real)
        if "array_api_compat.cupy" in real:
            array_api_compat.cupy = real["array_api_compat.cupy"]
        _forget_kernels()


def _taken_away() -> dict[str, ModuleType]:
    """Every module of CuPy's name, no longer imported."""
    names = [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx", "cupy_backends")]
    names += [n for n in sys.modules if n.startswith("array_api_compat.cupy")]
    return {name: sys.modules.pop(name) for name in names}


def _forget_kernels() -> None:
    """What launchers have compiled is of one CuPy."""
    from nlp_kernels.common.cuda import Source

    Source._module.cache_clear()


@pytest.fixture
def standin_cupy() -> Iterator[ModuleType]:
    """The stand-in in CuPy's place, for one test."""
    with installed() as cupy:
        yield cupy
