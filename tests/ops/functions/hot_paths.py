"""The hot paths as functions of tensors: any leading axes, masks, optional inputs."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import scipy.special
from drawn import Case, distinct, generators, laid_out, shapes, uniform
from nlp_kernels.common.xp import array_namespace, dropout_mask

from functions import Function
from tinygrad_nlp import Tensor
from tinygrad_nlp.random import Generator


@st.composite
def rows(draw):
    x = draw(uniform(draw(shapes(min_dims=1))))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    params = {"axis": axis, "temperature": draw(st.sampled_from([1.0, 0.7]))}
    if draw(st.booleans()):
        keep = draw(generators()).random(x.shape[draw(st.integers(0, x.ndim)) :]) < 0.6
        params["keep"] = draw(laid_out(keep, repeated=True))
    return Case((x,), params)


def masked_zero(f, x, *, axis, temperature, keep=None):
    """log-softmax, with 0 for the -inf of masked places, where no difference can be taken"""
    y = f(x, axis=axis, temperature=temperature, keep=keep)
    if keep is None:
        return y
    xp = array_namespace(y)
    return xp.where(keep if type(keep) is Tensor else xp.asarray(keep.copy()), y, 0.0)


def _softmax(xp, x, axis, temperature, keep):
    """(p, log p) of any library's arrays, written with the row of a fully masked row replaced before and after."""
    s = x / temperature
    if keep is not None:
        keep = xp.asarray(np.broadcast_to(keep, x.shape).copy())
        s = xp.where(keep, s, -math.inf)
        dead = ~keep.any(axis=axis, keepdims=True)
        s = xp.where(dead, 0.0, s)
    if not x.size if isinstance(x, np.ndarray) else not x.numel():
        return x + 0, x + 0
    if isinstance(x, np.ndarray):
        p, log_p = scipy.special.softmax(s, axis=axis), scipy.special.log_softmax(s, axis=axis)
    else:
        p, log_p = s.softmax(axis), s.log_softmax(axis)
    if keep is not None:
        p, log_p = xp.where(keep, p, 0.0), xp.where(keep, log_p, -math.inf)
    return p, log_p


def _library(x):
    return np if isinstance(x, np.ndarray) else __import__("torch")


def softmax(x, *, axis, temperature, keep=None):
    return _softmax(_library(x), x, axis, temperature, keep)[0]


def log_softmax(x, *, axis, temperature, keep=None):
    return _softmax(_library(x), x, axis, temperature, keep)[1]


@st.composite
def classified(draw):
    shape = draw(shapes(min_dims=1, max_dims=3))
    shape = (*shape[:-1], draw(st.integers(1, 5)))
    target = draw(generators()).integers(-1, shape[-1], shape[:-1])
    hyper = {"ignore_index": -1, "label_smoothing": draw(st.sampled_from([0.0, 0.1]))}
    return Case((draw(uniform(shape)), draw(laid_out(np.asarray(target)))), hyper)


def numpy_cross_entropy(x, target, *, ignore_index, label_smoothing):
    log_p = scipy.special.log_softmax(x, axis=-1)
    hit = np.take_along_axis(log_p, np.maximum(target, 0)[..., None], axis=-1)[..., 0]
    loss = -(1 - label_smoothing) * hit - label_smoothing * log_p.mean(axis=-1)
    return np.where(target == ignore_index, 0, loss)


def torch_cross_entropy(x, target, **hyper):
    from torch.nn import functional

    flat = functional.cross_entropy(x.reshape(-1, x.shape[-1]), target.reshape(-1), reduction="none", **hyper)
    return flat.reshape(target.shape)


@st.composite
def affine(draw):
    lead, k, n = draw(shapes(max_dims=2)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    activation = draw(st.sampled_from(["none", "relu", "gelu", "gelu_tanh"]))
    x, w, b, r = draw(distinct((*lead, k), (n, k), (n,), draw(st.sampled_from([(*lead, n), (n,)]))))
    bias, residual = (b, None)[draw(st.integers(0, 1))], (r, None)[draw(st.integers(0, 1))]
    return Case((x, w, bias, residual), {"activation": activation})


def linear(x, w, b, r, *, activation):
    y = x @ w.T
    y = y if b is None else y + b
    if isinstance(x, np.ndarray):
        from functions.elementwise import gelu_tanh

        acts = {"relu": lambda z: np.maximum(z, 0), "gelu": lambda z: z * scipy.special.ndtr(z), "gelu_tanh": gelu_tanh}
    else:
        from torch.nn import functional as F

        acts = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda z: F.gelu(z, approximate="tanh")}
    y = acts.get(activation, lambda z: z)(y)
    return y if r is None else y + r


@st.composite
def normalised(draw):
    shape = draw(shapes(min_dims=1, min_side=1))
    rng = draw(generators())
    x, residual = (draw(laid_out(rng.normal(size=shape))) for _ in range(2))
    gamma, beta = (draw(laid_out(rng.normal(size=shape[-1:]))) for _ in range(2))
    return Case((x, gamma, beta, draw(st.sampled_from([residual, None]))), {"eps": draw(st.sampled_from([1e-2, 0.1]))})


def layer_norm(x, gamma, beta, residual, *, eps):
    h = x if residual is None else x + residual
    centred = h - h.mean(-1)[..., None]
    y = gamma * centred / ((centred**2).mean(-1)[..., None] + eps) ** 0.5 + beta
    return y if residual is None else (y, h)


@st.composite
def attended(draw):
    B, KH, T, S = (draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 3)), draw(st.integers(1, 3)))
    H, D, Dv = KH * draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = draw(generators())
    q, k, v = (draw(laid_out(rng.normal(size=(B, *s)))) for s in ((H, T, D), (KH, S, D), (KH, S, Dv)))
    shape = draw(st.sampled_from([(B, H, T, S), (B, 1, 1, S), (T, S)]))
    keep = draw(st.sampled_from([None, rng.random(shape) < 0.7]))
    lengths = draw(st.sampled_from([None, rng.integers(0, S + 1, B)]))
    hyper = {"causal": draw(st.booleans()), "scale": draw(st.sampled_from([None, 0.8]))}
    hyper["dropout"] = draw(st.sampled_from([0.0, 0.3]))
    return Case((q, k, v, keep, lengths), hyper)


def seeded(f, *args, dropout=0.0, p=None, **params):
    """With dropout, the same mask at every call."""
    if p is not None:
        return f(*args, p, generator=Generator(3), **params)
    return f(*args, dropout=dropout, generator=Generator(3), **params)


def attention(q, k, v, keep, lengths, *, causal, scale, dropout, generator):
    xp = _library(q)
    (H, T, D), (KH, S) = q.shape[-3:], k.shape[-3:-1]
    k, v = (x[:, [h // (H // KH) for h in range(H)]] for x in (k, v))
    s = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(D) if scale is None else scale)
    allowed = np.ones(tuple(s.shape), bool)
    if keep is not None:
        allowed &= np.asarray(keep)
    if lengths is not None:
        allowed &= np.arange(S) < np.asarray(lengths)[:, None, None, None]
    if causal:
        allowed &= np.arange(S) <= np.arange(T)[:, None] + S - T
    p = _softmax(xp, s, -1, 1.0, allowed)[0]
    if dropout:
        mask = dropout_mask(np.zeros(1), dropout, generator.seed, 0, tuple(s.shape))
        p = xp.where(xp.asarray(mask), p / (1 - dropout), 0.0)
    return p @ v


@st.composite
def looked_up(draw):
    V, D = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    indices = draw(generators()).integers(0, V, draw(shapes(max_dims=2)))
    return Case((draw(uniform((V, D))), draw(laid_out(np.asarray(indices), repeated=True))))


def rows_of(table, indices):
    return table[indices]


@st.composite
def dropped(draw):
    return Case((draw(uniform(draw(shapes()))),), {"p": draw(st.sampled_from([0.0, 0.4, 1.0]))})


def dropout(x, p, *, generator):
    xp = _library(x)
    mask = dropout_mask(np.zeros(1), p, generator.seed, 0, tuple(x.shape))
    return xp.where(xp.asarray(mask), x / (1 - p) if p < 1 else x, 0.0)


FUNCTIONS = [
    Function("softmax", rows(), numpy=softmax, torch=softmax),
    Function("log_softmax", rows(), numpy=log_softmax, torch=log_softmax, call=masked_zero),
    Function("cross_entropy", classified(), numpy=numpy_cross_entropy, torch=torch_cross_entropy),
    Function("linear", affine(), numpy=linear, torch=linear),
    Function("layer_norm", normalised(), numpy=layer_norm, torch=layer_norm),
    Function("attention", attended(), numpy=attention, torch=attention, call=seeded),
    Function("embedding", looked_up(), numpy=rows_of, torch=rows_of),
    Function("dropout", dropped(), numpy=dropout, torch=dropout, call=seeded),
]
