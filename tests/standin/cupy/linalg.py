"""`cupy.linalg`: NumPy's on device arrays."""

import numpy as _np
from cupy._call import call as _call

NAMES = "cholesky det eigh eigvalsh inv lstsq matrix_power matrix_rank norm pinv qr slogdet solve svd"


def _function(name):
    theirs = getattr(_np.linalg, name)
    return lambda *args, **params: _call(theirs, *args, **params)


for _name in NAMES.split():
    globals()[_name] = _function(_name)
__all__ = NAMES.split()
