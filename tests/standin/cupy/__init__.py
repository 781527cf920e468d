"""A stand-in for CuPy on machines without an NVIDIA GPU: its arrays, streams and kernels, on memory of the host.

What it has behaves as CuPy's does where code written for NumPy goes wrong: arrays of the host and of the device do not
mix, sums are 0-dimensional arrays, no index is out of range, fresh memory holds garbage and freed memory is handed out
again, a captured stream does nothing until it is launched and cannot wait. Kernels run in this project's simulator.
It knows nothing of time, and its streams are one.
"""

import numpy as _np
from cupy import _functions, _kernels, _memory
from cupy._array import ndarray as ndarray  # the name that users ask for

__version__ = "14.2.0"

for _name in _functions.UFUNCS.split():
    globals()[_name] = _functions.ufunc(_name)
for _name in (_functions.FUNCTIONS + " " + _functions.WAITING).split():
    globals()[_name] = _functions.function(_name)
for _own in (_functions.ufunc, _kernels.RawKernel, _kernels.RawModule, *_functions.OWN):
    globals()[_own.__name__] = _own
for _name in _functions.ABOUT.split():
    globals()[_name] = _functions.about(_name)
for _name in _functions.NAMES.split():
    globals()[_name] = getattr(_np, _name)
_ALIASES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2",
    "atanh": "arctanh", "pow": "power", "concat": "concatenate", "bitwise_invert": "invert", "bitwise_not": "invert",
    "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift", "mod": "remainder",
}  # fmt: skip
for _name, _original in _ALIASES.items():
    globals()[_name] = globals()[_original]

from cupy import cuda, fft, linalg  # noqa: E402, F401  they use what is above

AxisError = _np.exceptions.AxisError


def is_available():
    from cupy._machine import machine

    return machine.fails is None and machine.devices > 0


def get_default_memory_pool():
    return _memory.default_pool


def get_default_pinned_memory_pool():
    return _memory.PinnedMemoryPool()


__all__ = [_name for _name in globals() if not _name.startswith("_")]
