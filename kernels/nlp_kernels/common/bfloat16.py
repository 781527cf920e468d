"""bfloat16, the upper half of a float32: arrays are stored in it, sums and products are computed in float32.

The dtype is that of `ml_dtypes`, which NumPy and CuPy take as one of kind "V", not "f": hence the names here. Results
are rounded once, to the nearest, ties to even: a relative error of 2⁻⁸ at most.
"""

from typing import Any

import ml_dtypes
import numpy as np

from nlp_kernels.common.xp import array_namespace

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)  # one object, which is the dtype of NumPy's, CuPy's and JAX's arrays


def widened(x: Any) -> Any:
    """An array of bfloat16 in float32; in a tuple or list each; everything else as it is."""
    if isinstance(x, (tuple, list)):
        return tuple(map(widened, x))
    return _converted(x, np.dtype(np.float32)) if getattr(x, "dtype", None) is BFLOAT16 else x


def rounded(x: Any) -> Any:
    """An array in bfloat16; in a tuple or list each; None as it is."""
    if isinstance(x, (tuple, list)):
        return tuple(map(rounded, x))
    return x if x is None else _converted(x, BFLOAT16)


def _converted(x, dtype):
    return array_namespace(x).astype(x, dtype)
