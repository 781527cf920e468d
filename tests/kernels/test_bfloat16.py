"""bfloat16 on the CPU: every hot path computes it in float32, by whatever backend, and rounds what it returns once."""

import contextlib

import numpy as np
import pytest
from nlp_kernels import (
    adamw,
    attention,
    cross_entropy,
    dispatch,
    embedding,
    gru,
    layer_norm,
    lstm,
    matmul,
    rnn,
    softmax,
)
from nlp_kernels.common.bfloat16 import BFLOAT16, rounded, widened
from nlp_kernels.common.cuda import check_launch
from nlp_kernels.dispatch import use_backend
from nlp_kernels.errors import BackendError, DtypeError


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(BFLOAT16)


N, C, T, B, H = 12, 33, 3, 2, 5
INDICES = np.random.default_rng(0).integers(0, C, N)
HEADS = tuple(numbers(2, 2, 4, 6, seed=i) for i in range(3))


def recurrent(gates, states):
    """x, states, w_ih, w_hh, b_ih, b_hh, lengths"""
    weights = numbers(gates * H, 4), numbers(gates * H, H), numbers(gates * H), numbers(gates * H, seed=1)
    return (numbers(T, B, 4), *(numbers(B, H, seed=i) for i in range(states)), *weights, None)


CASES = {  # module, inputs, hyperparameters
    "softmax": (softmax, (numbers(N, C), None), {"temperature": 2.0}),
    "cross_entropy": (cross_entropy, (numbers(N, C), INDICES), {"label_smoothing": 0.1}),
    "matmul": (
        matmul,
        (numbers(N, C), numbers(7, C), numbers(7), numbers(N, 7)),
        {"activation": "gelu_tanh", "transpose_w": True},
    ),
    "layer_norm": (layer_norm, (numbers(N, C), numbers(C), numbers(C, seed=1), numbers(N, C, seed=1)), {}),
    "attention": (attention, (*HEADS, None, None), {"causal": True}),
    "embedding": (embedding, (numbers(C, 6), INDICES), {}),
    "rnn": (rnn, recurrent(1, 1), {}),
    "gru": (gru, recurrent(3, 1), {}),
    "lstm": (lstm, recurrent(4, 2), {}),
}
each = pytest.mark.parametrize("name", CASES)


def run(name, cast):
    """y, the gradients of cotangents that bfloat16 has, and what was saved; all inputs `cast`."""
    module, inputs, hyper = CASES[name]
    inputs = [cast(x) for x in inputs]
    y, saved = module.forward(*inputs, **hyper)
    several = isinstance(y, tuple)
    dys = [numbers(*part.shape, seed=9).astype(part.dtype) for part in (y if several else (y,))]
    return flat(y), flat(module.backward(tuple(dys) if several else dys[0], *inputs, saved, **hyper)), saved


def flat(results):
    return list(results) if isinstance(results, tuple) else [results]


def as_it_is(x):
    return x


def in_float64(x):
    return x.astype(np.float64) if getattr(x, "dtype", None) == BFLOAT16 else x


def assert_rounded_once(name):
    """Values and gradients are within half a unit of the last place of what float64 gives, and float32's own error."""
    values, gradients, _ = run(name, as_it_is)
    with use_backend("reference"):
        exact_values, exact_gradients, _ = run(name, in_float64)
    for got, exact in zip([*values, *gradients], [*exact_values, *exact_gradients], strict=True):
        if got is None:
            continue
        half = 0 if got.dtype == np.float32 else 2.0 ** (np.frexp(exact)[1] - 9)  # of the last of 8 bits
        error = np.abs(got.astype(np.float64) - exact)
        assert np.all(error <= half + 1e-5 * np.abs(exact).max()), (name, error.max())


@each
@pytest.mark.parametrize("backend", ["chosen", "cpu", "reference"])
def test_results_are_rounded_once(name, backend):
    with contextlib.nullcontext() if backend == "chosen" else use_backend(backend):
        assert_rounded_once(name)


@each
def test_what_has_which_dtype(name):
    values, gradients, saved = run(name, as_it_is)
    assert all(y.dtype == (np.float32 if name == "cross_entropy" else BFLOAT16) for y in values)
    assert all(dx is None or dx.dtype == BFLOAT16 for dx in gradients)
    kept = saved if isinstance(saved, tuple) else (saved,)
    assert all(getattr(x, "dtype", None) != BFLOAT16 for x in kept)


def cut(x):
    """The other way to bfloat16: the lower half of each float32 is dropped."""
    if isinstance(x, tuple | list):
        return tuple(map(cut, x))
    return x if x is None else (x.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(BFLOAT16)


@pytest.mark.parametrize("bug", ["cut", "coarse inputs"])
def test_planted_bugs_are_caught(bug, monkeypatch):
    if bug == "cut":
        monkeypatch.setattr(dispatch, "rounded", cut)
    else:
        monkeypatch.setattr(dispatch, "widened", lambda x: tuple(coarse(a) for a in x))
    with pytest.raises(AssertionError):
        assert_rounded_once("matmul")


def coarse(x):
    """float32 with a bit less than bfloat16 has."""
    if getattr(x, "dtype", None) != BFLOAT16:
        return x
    return (x.astype(np.float32).view(np.uint32) & 0xFFFE0000).view(np.float32)


def test_sums_do_not_stall():
    """10,000 numbers near 1: added in bfloat16 they stop at 256, where 1 is half of the distance to the next."""
    x = np.ones((1, 10_000), BFLOAT16)
    y, _ = matmul.forward(x, np.ones((10_000, 1), BFLOAT16))
    assert float(y[0, 0]) == 9984  # the nearest that bfloat16 has
    (dtable,) = embedding.backward(np.ones((10_000, 1), BFLOAT16), x.T[:3], np.zeros(10_000, np.int64), None)
    assert float(dtable[0, 0]) == 9984


def test_masks_scalars_and_none_pass():
    mask = np.ones(3, bool)
    assert widened((mask, None, 1.5)) == (mask, None, 1.5)
    assert rounded((None,)) == (None,)


def test_a_gpus_backend_that_is_forced_is_refused_without_a_simulator():
    with use_backend("cuda"), pytest.raises(BackendError, match=r"softmax.*'cuda' is forced.*simulate=True"):
        softmax.forward(numbers(2, 3))


def test_losses_of_bfloat16_logits_have_cotangents_of_float32():
    x, target = numbers(N, C), INDICES
    with pytest.raises(DtypeError, match="dloss is bfloat16, but the losses of bfloat16 logits are float32"):
        cross_entropy.backward(numbers(N), x, target, None)
    with pytest.raises(DtypeError, match="w is float32 but x is bfloat16; kernels do not mix dtypes"):
        matmul.forward(x, np.zeros((C, 2), np.float32))


def test_launchers_take_float32_where_it_is_computed_in():
    x, loss = numbers(N, C), np.zeros(N, np.float32)
    check_launch("f", computed=("loss",), x=x, loss=loss)
    with pytest.raises(DtypeError, match="f: loss is float32 but x is bfloat16; kernels do not mix dtypes"):
        check_launch("f", x=x, loss=loss)
    with pytest.raises(DtypeError, match="f: loss is bfloat16 but x is bfloat16; expected float32"):
        check_launch("f", computed=("loss",), x=x, loss=x)
    with pytest.raises(DtypeError, match="f: x is bfloat16 but loss is float32"):
        check_launch("f", loss=loss, x=x)


def test_adamw_steps_no_bfloat16_and_measures_it():
    x = numbers(N)
    hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.0}
    with pytest.raises(DtypeError, match=r"adamw.step: theta is bfloat16, .*; step a float32 copy of it"):
        adamw.step(x, x, x, x, t=1, **hyper)
    norm, scale = adamw.clip_scale([x, numbers(3)], 0.5)
    exact = np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in (x, numbers(3))))
    np.testing.assert_allclose(norm, exact, rtol=1e-6)
    assert scale.dtype == np.float32
