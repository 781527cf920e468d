"""`cupy.fft`: NumPy's on device arrays."""

import numpy as _np
from cupy._call import call as _call

NAMES = "fft ifft rfft irfft"


def _function(name):
    theirs = getattr(_np.fft, name)
    return lambda *args, **params: _call(theirs, *args, **params)


for _name in NAMES.split():
    globals()[_name] = _function(_name)
__all__ = NAMES.split()
