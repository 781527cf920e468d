"""Activations (E13), each with its derivative, to any order."""

import math

import numpy as np
from nlp_kernels import matmul
from nlp_kernels.common import xp as helpers

from tinygrad_nlp.autograd import namespace, primitive
from tinygrad_nlp.autograd.explain import explained
from tinygrad_nlp.ops.arithmetic import negative

__all__ = ["erf", "gelu", "gelu_tanh", "log_sigmoid", "relu", "sigmoid", "softplus"]

elementwise = primitive(broadcasts=True)


@elementwise
def sigmoid(x):
    """σ(x) = 1/(1 + e^-x), and e^x/(1 + e^x) for x < 0  (E13).  (...) -> (...)

    No overflow, and no digits lost where σ is small. Raises DtypeError for bools and for what is no array or number.

    >>> tn.sigmoid(0.0)
    Tensor(0.5)
    """
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, 1) / (1 + e)


@sigmoid.vjp("x")
def _(g, y):  # dσ/dx = σ(1 - σ)
    return g * y * (1 - y)


@elementwise
def softplus(x):
    """ln(1 + e^x), its derivative σ(x)  (E13).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.softplus(1e3)
    Tensor(1000.)
    """
    return namespace(x).logaddexp(x, 0.0)


@softplus.vjp("x")
def _(g, x):  # d(softplus)/dx = σ(x) = e^(-softplus(-x))
    xp = namespace(g)
    return g * xp.exp(-xp.logaddexp(-x, 0.0))


@explained
def log_sigmoid(x):
    """ln σ(x) = -softplus(-x), exact for large |x|.  (...) -> (...)

    Raises DtypeError for bools and for what is no array or number.

    >>> tn.log_sigmoid(-1e3)
    Tensor(-1000.)
    """
    return -softplus(negative(x))


@elementwise
def relu(x):
    """max(x, 0)  (E13).  (...) -> (...)

    The derivative at 0 is 0. Raises DtypeError for what is no array or number.

    >>> tn.relu([-1.0, 2.0])
    Tensor([0., 2.])
    """
    return namespace(x).maximum(x, 0)


@relu.vjp("x")
def _(g, y):  # d(relu)/dx = 1[x > 0] = 1[y > 0]
    return namespace(g).where(y > 0, g, 0)


@elementwise
def erf(x):
    """2/√π ∫_0^x e^(-t²) dt.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.erf(0.0)
    Tensor(0.)
    """
    return _erf(x)


@erf.vjp("x")
def _(g, x):  # d(erf)/dx = 2/√π e^(-x²)
    return g * (2 / math.sqrt(math.pi)) * namespace(g).exp(-x * x)


def _erf(x):
    return helpers.erf(np.asarray(x) if isinstance(x, (np.generic, float, int)) else x)


@elementwise
def gelu(x):
    """x Φ(x), Φ the normal distribution function  (E13; Hendrycks & Gimpel 2016, arXiv:1606.08415).  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.gelu([0.0, 1e3])
    Tensor([   0., 1000.])
    """
    return matmul.activate(x, activation="gelu")


@gelu.vjp("x")
def _(g, x):  # d(xΦ)/dx = Φ(x) + x φ(x)
    return matmul.activate_backward(g, x, activation="gelu")[0]


@elementwise
def gelu_tanh(x):
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))  (E13), GELU as GPT-2 computes it.  (...) -> (...)

    Raises DtypeError for what is no array or number.

    >>> tn.gelu_tanh([0.0, 1e3])
    Tensor([   0., 1000.])
    """
    return matmul.activate(x, activation="gelu_tanh")


@gelu_tanh.vjp("x")
def _(g, x):  # ½(1 + t) + ½ x (1 - t²) √(2/π) (1 + 3·0.044715 x²), t = tanh(√(2/π) (x + 0.044715 x³))
    return matmul.activate_backward(g, x, activation="gelu_tanh")[0]
