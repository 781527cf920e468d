"""tinygrad-nlp: an array library with gradients to any order, hand-written kernels, and the NLP models of a course.

`Tensor`, `grad` and `primitive` are the tape; the functions have the array API standard's names; layers are in `nn`,
optimisers in `optim`, models in `models`.
"""

from importlib.metadata import version

from nlp_kernels.determinism import use_deterministic_algorithms
from nlp_kernels.dispatch import backends, register_backend, use_backend
from nlp_kernels.errors import (
    AnomalyError,
    AxisError,
    BackendError,
    DeviceError,
    DtypeError,
    FreedGraphError,
    InplaceError,
    ShapeError,
    TinygradError,
    UserError,
)

from tinygrad_nlp import linalg, random
from tinygrad_nlp.autograd import (
    Tensor,
    checkpoint,
    detect_anomaly,
    enable_grad,
    grad,
    hessian,
    hvp,
    is_recording,
    jacobian,
    jvp,
    no_grad,
    primitive,
    value_and_grad,
    vjp,
)
from tinygrad_nlp.ops import *
from tinygrad_nlp.ops import names as _functions
from tinygrad_nlp.random import manual_seed
from tinygrad_nlp.threads import get_num_threads, set_num_threads

__version__ = version("tinygrad-nlp")
__array_api_version__ = "2024.12"

__all__ = [
    *_functions,
    "AnomalyError",
    "AxisError",
    "BackendError",
    "DeviceError",
    "DtypeError",
    "FreedGraphError",
    "InplaceError",
    "ShapeError",
    "Tensor",
    "TinygradError",
    "UserError",
    "backends",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "hessian",
    "hvp",
    "is_recording",
    "jacobian",
    "jvp",
    "linalg",
    "manual_seed",
    "no_grad",
    "primitive",
    "random",
    "register_backend",
    "get_num_threads",
    "set_num_threads",
    "use_backend",
    "use_deterministic_algorithms",
    "value_and_grad",
    "vjp",
]
