"""Attention for Hopper, in the simulator: ragged tiles, masks, dropout, shared heads; PyTorch's errors as the bar."""

import numpy as np
import pytest
from nlp_kernels import attention, dispatch
from nlp_kernels.attention import hopper, reference
from nlp_kernels.errors import BackendError
from nlp_kernels.simulator import every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
DROPOUT = (0.3, 7, 2**40 + 3)


def drawn(B, H, KH, T, S, D, Dv):
    """q, k, v, do of bfloat16."""
    rng = np.random.default_rng(0)
    shapes = (B, H, T, D), (B, KH, S, D), (B, KH, S, Dv), (B, H, T, Dv)
    return [rng.normal(size=shape).astype(bfloat16) for shape in shapes]


def beyond(k, v, lengths, value):
    """k and v with another value in the rows beyond the lengths, which nobody may look at."""
    k, v = k.copy(), v.copy()
    for x in (k, v):
        for b, length in enumerate(() if lengths is None else lengths):
            x[b, :, length:] = value
    return k, v


def wide(*arrays):
    return [x.astype(np.float64) for x in arrays]


def masked(T, S, share=0.5):
    """Random, but for a query that sees no key."""
    keep = np.random.default_rng(1).random((1, 1, T, S)) < share
    keep[:, :, T // 2] = False
    return keep


def assert_right(ours, *given):
    """o, lse, dq, dk, dv."""
    assert_forward(*ours[:2], *given)
    assert_backward(ours[2:], *given)


def assert_forward(o, lse, q, k, v, do, keep, lengths, hyper):
    """Weights and o are rounded to bfloat16, 2^-8 of themselves; sums are of float32."""
    q, k, v = wide(q, k, v)
    right, (_, exact) = reference.forward(q, k, v, keep, lengths, **hyper)
    assert_within(o, right, reference.forward(q, k, abs(v), keep, lengths, **hyper)[0], "o")
    assert np.abs(lse - exact).max() <= 2.0**-18 * max(1, np.abs(exact).max()), "lse is wrong"


def assert_backward(gradients, q, k, v, do, keep, lengths, hyper):
    """Rounded are weights, dS, results, and o, of which δ is computed."""
    exact = reference.backward(*wide(do, q, k, v), keep, lengths, **hyper)
    for x, right, name in zip(gradients, exact, ("dq", "dk", "dv"), strict=True):
        assert_within(x, right, np.abs(right).max(), name)


def assert_within(x, right, terms, name):
    error = np.abs(x.astype(np.float64) - right)
    assert (error <= 2.0**-8 * (np.abs(right) + terms) + 2.0**-14 * terms).all(), f"{name} is wrong"


CASES = {  # B, H, KH, T, S, D, Dv; keep; lengths; the rest
    "one of each": ((1, 1, 1, 1, 1, 8, 8), None, None, {}),
    "several tiles of keys": ((1, 1, 1, 70, 400, 64, 64), None, None, {"scale": 0.3}),
    "several tiles of queries": ((1, 1, 1, 330, 20, 64, 48), None, None, {}),
    "causal, more keys": ((1, 1, 1, 70, 300, 128, 40), None, None, {"causal": True}),
    "causal, fewer keys": ((1, 1, 1, 150, 3, 16, 24), None, None, {"causal": True}),
    "heads that share keys": ((2, 4, 2, 20, 140, 64, 64), None, [140, 0], {"causal": True}),
    "lengths and dropout": ((1, 2, 1, 30, 270, 72, 128), None, [261], {"dropout": DROPOUT}),
    "lengths at the ends of tiles": ((3, 1, 1, 20, 200, 64, 64), None, [128, 64, 1], {}),
    "a mask": ((1, 2, 2, 70, 290, 64, 64), masked(70, 290), [250], {"causal": True, "dropout": DROPOUT}),
}


def results(q, k, v, do, keep, lengths, hyper):
    """o, lse, dq, dk, dv."""
    with dispatch.use_backend("hopper", "attention"):
        o, saved = attention.forward(q, k, v, keep, lengths, **hyper)
        return o, saved[1], *attention.backward(do, q, k, v, keep, lengths, saved, **hyper)


@pytest.mark.parametrize("name", CASES)
def test_in_four_orders(name):
    sizes, keep, lengths, hyper = CASES[name]
    q, k, v, do = drawn(*sizes)
    masks = keep, None if lengths is None else np.array(lengths)
    ours = every_order(lambda: results(q, *beyond(k, v, lengths, np.nan), do, *masks, hyper))
    assert_right(ours, q, *beyond(k, v, lengths, 0), do, *masks, hyper)
    for x, clean in zip(ours[3:], beyond(*ours[3:], lengths, 0), strict=True):
        assert (x == clean).all(), "a key beyond the length has a gradient"


LARGE = {"large, causal": ((2, 4, 2, 1000, 1100, 128, 128), None, [1100, 700], {"causal": True, "dropout": DROPOUT})}


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_on_a_gpu(name, real_cupy):
    if real_cupy.cuda.Device().compute_capability != "90":
        pytest.skip("needs a GPU of compute capability 9.0")
    sizes, keep, lengths, hyper = (CASES | LARGE)[name]
    q, k, v, do = drawn(*sizes)
    inputs = q, *beyond(k, v, lengths, np.nan), do
    there = [real_cupy.asarray(x.view(np.uint16)).view(bfloat16) for x in inputs]
    masks = keep, None if lengths is None else np.array(lengths)
    ours = results(*there, *(None if x is None else real_cupy.asarray(x) for x in masks), hyper)
    here = [x.get() if x.dtype == np.float32 else x.copy().view(np.uint16).get().view(bfloat16) for x in ours]
    assert_right(here, q, *beyond(k, v, lengths, 0), do, *masks, hyper)


def test_what_another_backend_saved():
    given = q, k, v, do, keep, lengths, hyper = *drawn(1, 1, 1, 9, 9, 16, 16), None, None, {"causal": True}
    saved = reference.forward(*wide(q, k, v), **hyper)[1]
    assert {x.dtype.name for x in saved} == {"float64"}
    with simulate(), dispatch.use_backend("hopper", "attention"):
        assert_backward(attention.backward(do, q, k, v, keep, lengths, saved, **hyper), *given)


@pytest.mark.parametrize("room", [1, 30000, 1 << 20])
def test_sections_of_heads(room, monkeypatch):
    """Of one head, of two with a section that is not full, and of all."""
    monkeypatch.setattr(hopper, "CACHED", room)
    given = *drawn(1, 3, 1, 130, 140, 64, 64), None, None, {"causal": True}
    with simulate():
        assert_right(results(*given), *given)


def test_heads_that_are_views_are_read_where_they_lie():
    packed = np.random.default_rng(0).normal(size=(2, 10, 3, 2, 16)).astype(bfloat16)  # B, T, qkv, H, D
    q, k, v = packed.transpose(2, 0, 3, 1, 4)
    do = drawn(2, 2, 2, 10, 10, 16, 16)[3]
    assert all(hopper.readable(x) is x for x in (q, k, v))
    with simulate():
        ours = o, *_ = results(q, k, v, do, None, None, {})
    assert_right(ours, q, k, v, do, None, None, {})
    assert o.transpose(0, 2, 1, 3).flags.c_contiguous, "joining the heads is not a view"


@pytest.mark.parametrize("view", [lambda x: x[:, :, ::-1], lambda x: x[..., 4:20], lambda x: x[:, :, :1].repeat(9, 2)])
def test_views_that_the_copy_engine_cannot_read(view):
    q, k, v, do = (view(x) for x in drawn(1, 1, 1, 9, 9, 24, 24))
    with simulate():
        assert_right(results(q, k, v, do, None, None, {}), q, k, v, do, None, None, {})


def test_no_more_than_twice_the_error_of_pytorch():
    """Of scaled_dot_product_attention in bfloat16 on the CPU, forward and backward."""
    torch = pytest.importorskip("torch")
    q, k, v, do = drawn(1, 2, 2, 150, 150, 64, 64)
    hyper = {"causal": True}
    with simulate():
        o, _, *gradients = results(q, k, v, do, None, None, hyper)
    tensors = [torch.tensor(x.astype(np.float32)).bfloat16().requires_grad_() for x in (q, k, v)]
    theirs = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True)
    theirs.backward(torch.tensor(do.astype(np.float32)).bfloat16())
    right = reference.forward(*wide(q, k, v), **hyper)[0], *reference.backward(*wide(do, q, k, v), **hyper)
    for mine, his, x in zip((o, *gradients), (theirs, *(t.grad for t in tensors)), right, strict=True):
        errors = [np.abs(y - x) for y in (mine.astype(np.float64), his.detach().double().numpy())]
        assert errors[0].max() <= 2 * errors[1].max()
        assert errors[0].mean() <= 2 * errors[1].mean()


def test_what_it_serves(monkeypatch):
    q, k, v, _ = drawn(1, 1, 1, 3, 4, 64, 128)
    with simulate():
        assert hopper.supports(q, k, v, causal=True, scale=0.1, dropout=None)
        assert not hopper.supports(q, k, v, scale=-1.0)
        assert not hopper.supports(q.astype(np.float32), k, v)
        assert not hopper.supports(q[..., :60], k[..., :60], v), "rows of 120 bytes"
        assert not hopper.supports(q, k[:, :, :0], v[:, :, :0])
        assert not hopper.supports(*drawn(1, 1, 1, 3, 4, 136, 8)[:3])
        monkeypatch.setattr(hopper, "has_wgmma", lambda x: False)
        assert not hopper.supports(q, k, v)
    with dispatch.use_backend("hopper", "attention"), pytest.raises(BackendError, match="simulate=True"):
        attention.forward(q, k, v)
