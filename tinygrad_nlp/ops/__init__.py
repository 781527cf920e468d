# ruff: noqa: F403
"""Differentiable functions under the array API's names: `namespace(tensor)` has all of them.

Each module lists its own in `__all__`.
"""

import sys
from typing import TYPE_CHECKING

from tinygrad_nlp.autograd.operators import bind
from tinygrad_nlp.ops import (
    activation,
    arithmetic,
    comparison,
    contraction,
    creation,
    cumulative,
    dtypes,
    exponential,
    hot_paths,
    indexing,
    joining,
    kinks,
    linear_algebra,
    matrices,
    powers,
    reduction,
    repetition,
    searching,
    sets,
    shape,
    trigonometric,
)
from tinygrad_nlp.ops.activation import *
from tinygrad_nlp.ops.arithmetic import *
from tinygrad_nlp.ops.comparison import *
from tinygrad_nlp.ops.contraction import *
from tinygrad_nlp.ops.creation import *
from tinygrad_nlp.ops.cumulative import *
from tinygrad_nlp.ops.dtypes import *
from tinygrad_nlp.ops.exponential import *
from tinygrad_nlp.ops.hot_paths import *
from tinygrad_nlp.ops.indexing import *
from tinygrad_nlp.ops.joining import *
from tinygrad_nlp.ops.kinks import *
from tinygrad_nlp.ops.linear_algebra import *
from tinygrad_nlp.ops.matrices import *
from tinygrad_nlp.ops.powers import *
from tinygrad_nlp.ops.reduction import *
from tinygrad_nlp.ops.repetition import *
from tinygrad_nlp.ops.searching import *
from tinygrad_nlp.ops.sets import *
from tinygrad_nlp.ops.shape import *
from tinygrad_nlp.ops.trigonometric import *

bind(sys.modules[__name__])

names = [
    *activation.__all__,
    *arithmetic.__all__,
    *comparison.__all__,
    *contraction.__all__,
    *creation.__all__,
    *cumulative.__all__,
    *dtypes.__all__,
    *exponential.__all__,
    *hot_paths.__all__,
    *indexing.__all__,
    *joining.__all__,
    *kinks.__all__,
    *linear_algebra.__all__,
    *matrices.__all__,
    *powers.__all__,
    *reduction.__all__,
    *repetition.__all__,
    *searching.__all__,
    *sets.__all__,
    *shape.__all__,
    *trigonometric.__all__,
]
if not TYPE_CHECKING:  # mypy reads literal lists only; without one it takes all names
    __all__ = names
