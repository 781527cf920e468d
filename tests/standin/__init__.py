"""The stand-in for CuPy, put in CuPy's place for a while: a fixture for tests, a context manager for everybody.

On the command line it is enough to look for modules here first:
`PYTHONPATH=tests/standin tinygrad-nlp train gpt --device cuda`.
"""

from __future__ import annotations

import contextlib
import functools
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
    from nlp_kernels.common import tensor_map

    real, driver = _taken_away(), tensor_map._driver
    sys.path.insert(0, _FOLDER)
    sys.modules.update(_kept)
    try:
        cupy = importlib.import_module("cupy")
        importlib.import_module("cupy._driver").opened()
        array_api_compat.cupy = importlib.import_module("array_api_compat.cupy")
        importlib.import_module("cupyx.scipy.special")
        with _kernels_of_its_own():
            yield cupy
    finally:
        if "cupy._machine" in sys.modules:
            sys.modules["cupy._machine"].machine.__init__()
            sys.modules["cupy._memory"].forget()
        sys.path.remove(_FOLDER)
        _kept.update(_taken_away())
        vars(array_api_compat).pop("cupy", None)
        sys.modules.update(real)
        tensor_map._driver = driver
        if "array_api_compat.cupy" in real:
            array_api_compat.cupy = real["array_api_compat.cupy"]


def _taken_away() -> dict[str, ModuleType]:
    """Every module of CuPy's name, no longer imported."""
    names = [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx", "cupy_backends")]
    names += [n for n in sys.modules if n.startswith("array_api_compat.cupy")]
    return {name: sys.modules.pop(name) for name in names}


@contextlib.contextmanager
def _kernels_of_its_own() -> Iterator[None]:
    """What launchers have compiled is of one CuPy; the stand-in's are whole modules, those that NumPy arrays run on."""
    from nlp_kernels.common.cuda import Source

    compiled = Source._module

    @functools.cache
    def module(self, dtype, instances, library):
        every = (*self.instances, *self.clusters) if library == "cupy" else instances
        return compiled.__wrapped__(self, dtype, every, library)

    Source._module = module
    _forget_tables()
    try:
        yield
    finally:
        Source._module = compiled
        _forget_tables()


def _forget_tables() -> None:
    """What launchers keep of a device, and on it."""
    from nlp_kernels.adamw import cuda as adamw
    from nlp_kernels.common import gpu, sending, tensor_map

    sending._table.cache_clear()
    tensor_map._encoded.cache_clear()
    gpu._attribute.cache_clear()
    gpu._capability.cache_clear()
    gpu._nvrtc.cache_clear()
    adamw._cut.cache_clear()
    adamw._plans.clear()


def needs_simulator() -> pytest.MarkDecorator:
    """Skips, saying why, where there is no g++ or there are no CUDA headers."""
    from nlp_kernels.simulator import SimulatorMissingError, build

    try:
        build.compiler(), build.headers()
    except SimulatorMissingError as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.filterwarnings("error")  # nothing to skip


@pytest.fixture
def standin_cupy() -> Iterator[ModuleType]:
    """The stand-in in CuPy's place, for one test."""
    with installed() as cupy:
        yield cupy


@pytest.fixture
def real_cupy() -> ModuleType:
    """CuPy itself and a GPU, or the test is skipped."""
    from tinygrad_nlp import DeviceError
    from tinygrad_nlp.autograd.devices import cupy_and_count

    try:
        return cupy_and_count()[0]
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["standin", pytest.param("gpu", marks=pytest.mark.gpu)])
def any_cupy(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The stand-in; and with a GPU, for tests that are marked `gpu`, CuPy itself."""
    if request.param == "gpu":
        yield request.getfixturevalue("real_cupy")
    else:
        with installed() as cupy:
            yield cupy
