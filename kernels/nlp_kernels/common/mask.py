"""Dropout's mask drawn on a GPU, the bits of `philox.keep_mask`: nothing is drawn on the host and sent."""

import math
from typing import Any

import numpy as np

from nlp_kernels.common.cuda import Source, empty
from nlp_kernels.common.gpu import blocks

THREADS = 256
SOURCE = Source(__file__, "keep_mask")


def keep_mask(like: Any, p: float, seed: int, offset: int, shape: tuple[int, ...]) -> Any:
    """`philox.keep_mask(p, seed, offset, shape)` where `like` is."""
    if not 0 <= p <= 1:
        raise ValueError(f"keep_mask: the probability to drop must lie in [0, 1], not {p}")
    keep, n = empty(like, shape, np.bool_), math.prod(shape)
    if n:
        grid = blocks(like, -(-(n + 3) // (4 * THREADS)))
        threshold = np.uint64(round(p * 2**32))
        arguments = (keep, np.int64(n), np.uint64(seed), np.uint64(offset), threshold)
        SOURCE.kernel("keep_mask", like)((grid,), (THREADS,), arguments)
    return keep
