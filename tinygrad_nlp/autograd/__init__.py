"""The tape: Tensor, primitive, grad. Everything else in the library is built from these three."""

from tinygrad_nlp.autograd.arrays import namespace, unbroadcast
from tinygrad_nlp.autograd.checkpoint import checkpoint
from tinygrad_nlp.autograd.functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_nlp.autograd.modes import detect_anomaly, enable_grad, is_recording, no_grad
from tinygrad_nlp.autograd.primitive import Primitive, primitive
from tinygrad_nlp.autograd.tensor import Tensor

__all__ = [
    "Primitive",
    "Tensor",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "hessian",
    "hvp",
    "is_recording",
    "jacobian",
    "jvp",
    "namespace",
    "no_grad",
    "primitive",
    "unbroadcast",
    "value_and_grad",
    "vjp",
]
