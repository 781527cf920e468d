"""Attention on CUDA cores, in the simulator: every size of head, several tiles, masks and dropout, views."""

import numpy as np
import pytest
from nlp_kernels import attention, dispatch
from nlp_kernels.attention import cuda, problem
from nlp_kernels.simulator import every_order
from simulated import needs_simulator

pytestmark = needs_simulator()


def drawn(B, H, KH, T, S, D, Dv, dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = (B, H, T, D), (B, KH, S, D), (B, KH, S, Dv), (B, H, T, Dv)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


CASES = {  # B, H, KH, T, S, D, Dv, what is hidden
    "one of each": ((1, 1, 1, 1, 1, 1, 1), {}),
    "ragged tiles": ((2, 1, 1, 70, 130, 16, 20), {}),
    "causal, more keys": ((1, 2, 2, 33, 100, 40, 40), {"causal": True}),
    "causal, fewer keys": ((1, 1, 1, 80, 3, 64, 64), {"causal": True}),
    "shared keys": ((2, 4, 2, 35, 40, 8, 8), {"causal": True}),
    "one head of keys, dropout": ((1, 3, 1, 35, 37, 32, 8), {"causal": True, "dropout": (0.3, 7, 2**40 + 3)}),
    "wide heads": ((1, 1, 1, 40, 33, 100, 128), {}),
    "the widest": ((1, 1, 1, 9, 35, 256, 200), {}),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [(n, np.float32) for n in CASES] + [(n, np.float64) for n in CASES if "wide" not in n]
)
def test_every_kernel(name, dtype):
    sizes, hyper = CASES[name]
    q, k, v, do = drawn(*sizes, dtype)
    B, S = sizes[0], sizes[4]
    lengths = np.array([S] * (B - 1) + [S // 2])
    exact = [x.astype(np.longdouble) for x in (q, k, v)]
    o, saved = attention.reference.forward(*exact, None, lengths, **hyper)
    gradients = attention.reference.backward(do.astype(np.longdouble), *exact, None, lengths, saved, **hyper)
    with dispatch.use_backend("cuda", "attention", simulate="random:1"):
        ours, kept = attention.forward(q, k, v, None, lengths, **hyper)
        ours_too = attention.backward(do, q, k, v, None, lengths, kept, **hyper)
    for x, right in zip((ours, kept[1], *ours_too), (o, saved[1], *gradients), strict=True):
        assert np.abs(x - right).max() <= 100 * np.finfo(dtype).eps * max(1, np.abs(right).max())


def test_heads_that_are_views_of_one_product_are_read_where_they_lie(monkeypatch):
    packed = np.random.default_rng(0).normal(size=(2, 10, 3, 2, 8)).astype(np.float32)  # B, T, qkv, H, D
    q, k, v = packed.transpose(2, 0, 3, 1, 4)
    monkeypatch.setattr(problem, "contiguous", lambda x: pytest.fail("copied"))
    with dispatch.use_backend("cuda", "attention", simulate=True):
        o, _ = attention.forward(q, k, v, causal=True)
    np.testing.assert_allclose(o, attention.reference.forward(q, k, v, causal=True)[0], rtol=1e-4, atol=1e-5)
    assert o.transpose(0, 2, 1, 3).flags.c_contiguous, "joining the heads is not a view"


def test_the_order_of_the_threads_changes_no_bit():
    q, k, v, do = drawn(1, 2, 1, 35, 40, 24, 24)

    def every_result():
        o, saved = cuda.forward(q, k, v, causal=True, dropout=(0.2, 5, 0))
        gradients = cuda.backward(do, q, k, v, None, None, saved, causal=True, dropout=(0.2, 5, 0))
        return np.concatenate([x.ravel() for x in (o, *gradients)])

    every_order(every_result)


def test_heads_wider_than_shared_memory_go_elsewhere():
    q, k, v, _ = drawn(1, 1, 1, 2, 2, 300, 8)
    with (
        dispatch.use_backend("cuda", "attention", simulate=True),
        pytest.raises(dispatch.BackendError, match="does not support"),
    ):
        attention.forward(q, k, v)


def test_what_another_backend_saved():
    """o and the log-sum-exp in float64, as the reference has them for numbers in float64."""
    q, k, v, do = drawn(1, 1, 1, 5, 7, 8, 8)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    _, saved = attention.reference.forward(*wide, causal=True)
    right = attention.reference.backward(do.astype(np.float64), *wide, saved=saved, causal=True)
    with dispatch.use_backend("cuda", "attention", simulate=True):
        ours = cuda.backward(do, q, k, v, saved=saved, causal=True)
    for mine, his in zip(ours, right, strict=True):
        np.testing.assert_allclose(mine, his, rtol=1e-4, atol=1e-5)
