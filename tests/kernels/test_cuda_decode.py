"""Few queries to many keys on CUDA cores, in the simulator: shares of the keys, heads that share them, masks, types."""

import numpy as np
import pytest
from cases import generators
from cases.attention import HOT_PATH, cases
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given, settings
from nlp_kernels import attention, dispatch
from nlp_kernels.attention import cuda, decode, reference
from nlp_kernels.simulator import ORDERS, every_order, simulate
from simulated import needs_simulator

from tinygrad_nlp.models.gpt import GPT, GPTConfig

pytestmark = needs_simulator()


@pytest.fixture
def small(monkeypatch):
    """Blocks that have few keys: little arrays have many shares."""
    monkeypatch.setattr(decode, "MANY", 1)


def drawn(B, H, KH, T, S, D, Dv, dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = (B, H, T, D), (B, KH, S, D), (B, KH, S, Dv), (B, H, T, Dv)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


CASES = {  # B, H, KH, T, S, D, Dv, lengths, what else
    "one of each": ((1, 1, 1, 1, 1, 1, 1), None, {}),
    "no key": ((2, 2, 1, 1, 0, 8, 8), None, {}),
    "none of its keys": ((2, 2, 1, 2, 70, 8, 8), [0, 70], {}),
    "ragged shares": ((2, 1, 1, 1, 333, 16, 20), [333, 129], {}),
    "more shares than keys": ((1, 1, 1, 1, 5, 16, 16), None, {}),
    "a group of four": ((1, 8, 2, 1, 150, 64, 64), [149], {}),
    "a group in two blocks": ((1, 9, 1, 1, 70, 5, 7), None, {}),
    "queries of a group": ((2, 4, 2, 3, 140, 36, 36), [140, 90], {"causal": True, "dropout": (0.3, 7, 2**40 + 3)}),
    "more queries than keys": ((1, 2, 2, 5, 3, 8, 8), None, {"causal": True, "scale": 0.3}),
    "wide heads": ((1, 3, 1, 1, 140, 128, 100), None, {}),
    "the widest": ((1, 3, 3, 1, 70, 256, 200), None, {}),
    "the widest, eight": ((1, 8, 1, 1, 70, 200, 256), [69], {}),
}


def compared(ours, sizes, lengths, hyper, dtype, of_o):
    """The largest error of o and of ℓ, in units of the arithmetic's rounding and of the size of numbers."""
    q, k, v, _ = drawn(*sizes, dtype)
    with simulate("random:1"):
        o, (_, lse) = ours(q, k, v, None, lengths, **hyper)
    exact = [x.astype(np.longdouble) for x in (q, k, v)]
    right, (_, right_lse) = reference.forward(*exact, None, lengths, **hyper)
    for x, wanted, eps in ((o, right, of_o), (lse, right_lse, np.finfo(lse.dtype).eps)):
        scale = max(1, np.abs(wanted).max(initial=0))
        assert np.abs(x.astype(np.longdouble) - wanted).max(initial=0) <= 20 * eps * scale


@pytest.mark.parametrize(("name", "dtype"), [(n, d) for n in CASES for d in (np.float32, np.float64)])
def test_every_kernel(name, dtype, small):
    sizes, lengths, hyper = CASES[name]
    compared(decode.forward, sizes, None if lengths is None else np.array(lengths), hyper, dtype, np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["no key", "ragged shares", "a group of four", "queries of a group", "wide heads"])
def test_numbers_of_16_bits_are_computed_in_float32(name, small):
    sizes, lengths, hyper = CASES[name]
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    lengths = None if lengths is None else np.array(lengths)
    compared(decode.forward, sizes, lengths, hyper, bfloat16, 2**-8 / 20)  # 20 of them: one rounding of o


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=12)
@given(case=cases(np.float32), rng=generators())
def test_no_worse_than_the_problem_itself(order, case, rng):
    """The contract, with gradients: those kernels take what this one saves."""
    cotangents = draw_cotangents(HOT_PATH, case, rng)
    with pytest.MonkeyPatch.context() as patch, dispatch.use_backend("cuda", "attention", simulate=order):
        patch.setattr(decode, "MANY", 1)
        ours = evaluate(attention, HOT_PATH, case, cotangents)
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


def test_the_order_of_the_threads_changes_no_bit(small):
    q, k, v, _ = drawn(1, 6, 2, 3, 150, 20, 20)

    def every_result():
        o, (_, lse) = decode.forward(q, k, v, None, np.array([130]), causal=True, dropout=(0.2, 5, 0))
        return np.concatenate([x.ravel() for x in (o, lse)])

    every_order(every_result)


def test_a_cache_that_is_longer_than_it_is_filled():
    """What lies beyond the length may be anything; it is not read. Views of one product are, where they lie."""
    whole, S = np.random.default_rng(0).normal(size=(2, 200, 2, 2, 8)).astype(np.float32), 130
    q = np.random.default_rng(1).normal(size=(2, 4, 1, 8)).astype(np.float32)
    k, v = whole.transpose(2, 0, 3, 1, 4)
    right = reference.forward(q, k[:, :, :S], v[:, :, :S])[0]
    whole[:, S:] = np.nan
    with simulate():
        np.testing.assert_allclose(decode.forward(q, k, v, None, np.array([S, S]))[0], right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("T", "S", "asked"), [(1, 128, True), (8, 128, True), (9, 128, False), (1, 127, False)])
def test_few_queries_and_many_keys_come_here(monkeypatch, T, S, asked):
    q, k, v, _ = drawn(1, 2, 1, T, S, 8, 8)
    calls, forward = [], decode.forward
    monkeypatch.setattr(decode, "forward", lambda *args, **hyper: calls.append(args) or forward(*args, **hyper))
    with simulate():
        o, _ = cuda.forward(q, k, v)
    assert len(calls) == asked
    np.testing.assert_allclose(o, reference.forward(q, k, v)[0], rtol=1e-4, atol=1e-5)


def test_a_gpt_that_writes_comes_here(any_cupy, monkeypatch, small):
    """A token at a time, over the cache of all before it: once a layer and token after the prompt."""
    model, prompt = GPT(GPTConfig(11, block_size=16, n_layer=2, n_head=4, n_kv_head=2, n_embd=16)), [[1] * 9] * 2
    wanted = [list(token) for token in model.generate(prompt, 4, temperature=0)]
    shapes, forward = [], decode.forward

    def noted(q, k, *others, **hyper):
        shapes.append((q.shape, k.shape))
        return forward(q, k, *others, **hyper)

    monkeypatch.setattr(decode, "forward", noted)
    model.to("cuda")
    assert [list(token) for token in model.generate(prompt, 4, temperature=0)] == wanted
    assert shapes == [((2, 4, 1, 4), (2, 2, S, 4)) for S in (10, 11, 12) for _ in range(2)]
