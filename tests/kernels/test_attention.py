"""Attention beyond the contract: its definition query by query, PyTorch, what E35 to E38b promise, planted bugs."""

import numpy as np
import pytest
from cases import Case, generators, sizes
from cases.attention import HOT_PATH, cases
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from nlp_kernels import attention
from nlp_kernels.attention import reference
from nlp_kernels.common.philox import keep_mask
from nlp_kernels.errors import DtypeError, ShapeError
from planted import QUIET, assert_derivative_catches, plant

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def by_definition(q, k, v, keep=None, key_lengths=None, *, causal=False, scale=None, dropout=None):
    """E34 for one query at a time, over the keys it may see and no others: no -inf, no matrix."""
    (B, H, T, D), (KH, S) = q.shape, k.shape[1:3]
    o = np.zeros((B, H, T, v.shape[3]))
    keep = np.broadcast_to(True if keep is None else keep, (B, H, T, S))
    p, seed, offset = dropout or (0.0, 0, 0)
    for b, h, t in np.ndindex(B, H, T):
        of_keys = h // (H // KH)
        seen = [j for j in range(S) if keep[b, h, t, j]]
        seen = [j for j in seen if key_lengths is None or j < key_lengths[b]]
        seen = [j for j in seen if not causal or j <= t + S - T]
        scores = [q[b, h, t] @ k[b, of_keys, j] * (D**-0.5 if scale is None else scale) for j in seen]
        weights = [np.exp(s - max(scores)) for s in scores]
        for j, w in zip(seen, weights, strict=True):
            if keep_mask(p, seed, offset + ((b * H + h) * T + t) * S + j, ())[()]:
                o[b, h, t] += w / sum(weights) / (1 - p) * v[b, of_keys, j]
    return o


@st.composite
def heads(draw, least=0):
    """q, k, v, do of any sizes; up to three heads of queries share one of keys and values."""
    rng = draw(generators())
    B, KH, T, S, D, Dv = (max(least, draw(sizes(n))) for n in (2, 3, 5, 6, 4, 4))
    H = KH * draw(st.integers(1, 3))
    shapes = (B, H, T, max(D, 1)), (B, KH, S, max(D, 1)), (B, KH, S, Dv), (B, H, T, Dv)
    return tuple(rng.normal(size=shape) for shape in shapes)


def assert_equals_its_definition(kernel, many=100):
    @given(case=cases(np.float64).filter(lambda case: case.inputs[0].shape[-1] > 0))
    @settings(**QUIET, max_examples=many)
    def compare(case):
        o, _ = kernel.forward(*case.inputs, **case.hyper)
        magnitude = max(1.0, np.abs(case.inputs[0]).max(initial=0))  # logits of 1e4 carry 1e4 times the rounding
        np.testing.assert_allclose(o, by_definition(*case.inputs, **case.hyper), rtol=0, atol=1e-12 * magnitude)

    compare()


def test_equals_its_definition():
    assert_equals_its_definition(attention)


@given(qkv=heads(least=1), rng=generators(), masked=st.booleans(), causal=st.booleans(), scale=st.none() | st.just(0.3))
def test_equals_pytorch(qkv, rng, masked, causal, scale):
    torch = pytest.importorskip("torch")
    *arrays, do = qkv
    T, S = do.shape[2], arrays[1].shape[2]
    keep = rng.random((T, S)) < 0.7
    keep[:, 0] = True  # PyTorch's answer for a row without keys depends on its version
    allowed = (keep if masked else True) & (np.tri(T, S, S - T, dtype=bool) if causal else np.ones((T, S), bool))
    allowed[:, 0] |= ~allowed.any(axis=1)
    options = {"keep": allowed} if masked or causal else {}
    o, saved = attention.forward(*arrays, **options, scale=scale)
    ours = attention.backward(do, *arrays, options.get("keep"), None, saved, scale=scale)
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    mask = torch.tensor(allowed) if options else None
    shared = {"scale": scale, "enable_gqa": True}
    expected = torch.nn.functional.scaled_dot_product_attention(*leaves, attn_mask=mask, **shared)
    theirs = torch.autograd.grad(expected, leaves, torch.tensor(do))
    for a, b in zip((o, *ours), (expected.detach(), *theirs), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@given(rng=generators(), T=st.integers(1, 6))
def test_causal_equals_pytorch(rng, T):
    torch = pytest.importorskip("torch")
    q, k, v = rng.normal(size=(3, 2, 2, T, 4))
    theirs = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), is_causal=True)
    np.testing.assert_allclose(attention.forward(q, k, v, causal=True)[0], theirs, **CLOSE)


KEEP_BUT_ROW_1 = np.array([[True], [False], [True]])
WITHOUT_KEYS = [  # how many keys there are, keep, key_lengths, hyper, and which of three queries see none
    (3, KEEP_BUT_ROW_1, None, {}, [1]),
    (3, KEEP_BUT_ROW_1, None, {"dropout": (0.5, 1, 0)}, [1]),
    (3, None, np.array([0]), {}, [0, 1, 2]),
    (1, None, None, {"causal": True}, [0, 1]),
    (2, np.array([[True, False]]), None, {"causal": True}, [0]),
    (0, None, None, {}, [0, 1, 2]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("S", "keep", "lengths", "hyper", "rows"), WITHOUT_KEYS)
def test_a_query_without_keys_gives_zeros(dtype, S, keep, lengths, hyper, rows):
    """E36: zeros, never NaN; and no gradient, neither to the query nor through it to keys and values."""
    rng = np.random.default_rng(0)
    q, do = rng.normal(size=(2, 1, 1, 3, 2)).astype(dtype)
    k, v = (1e4 * rng.normal(size=(2, 1, 1, S, 2))).astype(dtype)
    o, saved = attention.forward(q, k, v, keep, lengths, **hyper)
    gradients = attention.backward(do, q, k, v, keep, lengths, saved, **hyper)
    assert all(np.isfinite(a).all() for a in (o, *saved, *gradients))
    assert not o[:, :, rows].any()
    assert not gradients[0][:, :, rows].any()
    do[:, :, rows] = 1e6  # whatever is asked of such a row, the others' gradients stay
    for a, b in zip(gradients, attention.backward(do, q, k, v, keep, lengths, saved, **hyper), strict=True):
        np.testing.assert_array_equal(a, b)


def test_scores_have_variance_one():
    """E35: Var(q·k) = D; with 1/√D it is 1, with 1/D it is 1/D, with the notes' 1/D² it is 1/D³. S plays no part."""
    rng, n = np.random.default_rng(0), 300
    for D in (4, 64, 256):
        q, k = rng.normal(size=(2, 1, 1, n, D))
        for scale, variance in ((None, 1.0), (1.0, D), (1 / D, 1 / D), (1 / D**2, 1 / D**3)):
            s = attention.reference.scores(q, k, None, None, False, scale)
            np.testing.assert_allclose(s.var() / variance, 1, rtol=0.1)  # 5 standard deviations of the estimate


@given(qkv=heads(least=1), rng=generators())
def test_order_blindness(qkv, rng):
    """E38b: A(ΠX) = ΠA(X) for every permutation; keys and values alone may be permuted with no effect at all."""
    q, k, v, _ = qkv
    o, _ = attention.forward(q, k, v)
    tokens, sources = rng.permutation(q.shape[2]), rng.permutation(k.shape[2])
    moved, _ = attention.forward(q[:, :, tokens], k[:, :, sources], v[:, :, sources])
    np.testing.assert_allclose(moved, o[:, :, tokens], **CLOSE)


def test_causal_attention_is_not_order_blind():
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 3))
    turned = np.flip(x, axis=2)
    o, moved = (attention.forward(a, a, a, causal=True)[0] for a in (x, turned))
    assert np.abs(moved - np.flip(o, axis=2)).max() > 0.1


@given(rng=generators(), S=st.integers(1, 9), step=st.integers(1, 4))
def test_decoding_with_a_cache_equals_one_pass(rng, S, step):
    """`causal` aligns the last query with the last key: new tokens against all keys so far, 1 or more at a time."""
    q, k, v = rng.normal(size=(3, 2, 2, S, 4))
    whole, _ = attention.forward(q, k, v, causal=True)
    for end in range(1, S + 1):
        new = slice(max(0, end - step), end)
        o, _ = attention.forward(q[:, :, new], k[:, :, :end], v[:, :, :end], causal=True)
        np.testing.assert_allclose(o, whole[:, :, new], **CLOSE)


@pytest.mark.parametrize("causal", [True, False])
def test_the_causal_mask_is_needed_at_inference_too(causal):
    """The notes: "important only during the training process". In two layers a new token changes earlier states."""
    x = np.random.default_rng(0).normal(size=(1, 1, 5, 4))

    def two_layers(x):
        h = x + attention.forward(x, x, x, causal=causal)[0]
        return h + attention.forward(h, h, h, causal=causal)[0]

    change = np.abs(two_layers(x)[:, :, :4] - two_layers(x[:, :, :4])).max()
    assert (change < 1e-12) == causal


@given(case=cases(np.float64), rng=generators())
@settings(deadline=None)
def test_rowsum_identity_with_dropout(case, rng):
    """README (14): Σ_s dP P = Σ_i dO O, the dropout mask included."""
    q, k, v, *masks = case.inputs
    dropout = case.hyper["dropout"]
    o, (_, lse) = attention.reference.forward(*case.inputs, **case.hyper)
    s = attention.reference.scores(q, k, *masks, case.hyper["causal"], case.hyper["scale"])
    do = rng.normal(size=o.shape)
    v = np.repeat(v, q.shape[1] // max(v.shape[1], 1), axis=1)
    p, dp = np.exp(s - lse), attention.reference.dropper(s, dropout)(do @ v.mT)
    scale = np.sum(np.abs(dp) * p, axis=-1).max(initial=1) * max(1, np.abs(lse).max(initial=0))
    np.testing.assert_allclose((dp * p).sum(axis=-1), (do * o).sum(axis=-1), rtol=0, atol=1e-13 * scale)


def test_dropout_keeps_the_mean():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 1, 1, 2, 4))
    o, _ = attention.forward(q, k, v)
    n, total = 4000, 0.0
    for i in range(n):
        total = total + attention.forward(q, k, v, dropout=(0.4, 11, 4 * i))[0]
    spread = np.abs(v).max() * np.sqrt(0.4 / 0.6 / n)
    assert np.abs(total / n - o).max() < 5 * spread


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("p * (dp - delta)", "p * dp"),
        ("delta = xp.sum(do * o,", "delta = xp.sum(dp * s,"),
        ("delta = xp.sum(do * o,", "delta = xp.sum(apart(xp.matmul(together(do, v), transposed(v)), q) * p,"),
        ("dk = c * ", "dk = "),
        ("dq = c * ", "dq = "),
        ("dk = c * xp.matmul(transposed(ds), together(q,", "dk = c * xp.matmul(transposed(ds), together(c * q,"),
        ("dp = drop(apart(", "dp = (apart("),
        ("together(drop(p), v)), together(do", "together(p, v)), together(do"),
        ("ds = p * (dp", "ds = drop(p) * (dp"),
    ],
    ids=["no-delta", "delta-s", "delta-mask", "dk-c", "dq-c", "dk-c-twice", "dp-mask", "dv-mask", "ds-mask"],
)
def test_planted_gradient_bugs_are_caught(right, wrong):
    with np.errstate(all="ignore"):
        assert_derivative_catches(HOT_PATH, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("x * (1 / (1 - p))", "x"),
        (" + (S - T)", ""),
        ("arange(S, q) <= ", "arange(S, q) < "),
        ("xp.where(allowed, s, -math.inf)", "xp.where(allowed, s, -1e9)"),
        ("1 / math.sqrt(max(q.shape[-1], 1))", "1 / max(q.shape[-1], 1)"),
        ("m = row_max(s)", "m = 0 * row_max(s)"),
        ("functools.reduce(xp.logical_and, conditions)", "functools.reduce(xp.logical_or, conditions)"),
        (
            "reshape(x, (B, k.shape[1],",
            "reshape(x.reshape(B, H // max(k.shape[1], 1), k.shape[1], T, n).swapaxes(1, 2), (B, k.shape[1],",
        ),
    ],
    ids=["factor", "aligned-first", "strictly-causal", "-1e9", "no-root", "no-maximum", "any-mask", "other-group"],
)
def test_planted_forward_bugs_are_caught(right, wrong):
    """Where forward and backward agree on the wrong function, only the definition tells."""
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_equals_its_definition(plant(attention.reference, right, wrong), many=300)


def test_refusals():
    q = np.zeros((2, 3, 4, 5))
    f = attention.forward
    with pytest.raises(ShapeError, match=r"attention.forward: q has shape \(3, 4, 5\), expected \(B, H, T, D\)"):
        f(q[0], q, q)
    with pytest.raises(ShapeError, match=r"k has shape \(2, 3, 4, 4\), expected \(2, KH, S, 5\)"):
        f(q, q[..., :4], q)
    with pytest.raises(ShapeError, match=r"q has 3 heads and k 2; those of q must be a multiple of those of k"):
        f(q, q[:, :2], q[:, :2])
    with pytest.raises(ShapeError, match=r"q has 3 heads and k 0"):
        f(q, q[:, :0], q[:, :0])
    with pytest.raises(ShapeError, match=r"v has shape \(2, 3, 3, 5\), expected \(2, 3, 4, Dv\)"):
        f(q, q, q[:, :, :3])
    with pytest.raises(ShapeError, match=r"keep has shape \(3, 3\), not broadcastable to .* = \(2, 3, 4, 4\)"):
        f(q, q, q, np.ones((3, 3), bool))
    with pytest.raises(ShapeError, match=r"key_lengths has shape \(3,\), expected \(2,\)"):
        f(q, q, q, None, np.array([1, 2, 3]))
    with pytest.raises(IndexError, match=r"key_lengths \(0 to 4\) contains 5"):
        f(q, q, q, None, np.array([1, 5]))
    with pytest.raises(DtypeError, match="keep is float64, expected bool"):
        f(q, q, q, np.zeros((4, 4)))
    with pytest.raises(DtypeError, match="k is float32 but q is float64"):
        f(q, q.astype(np.float32), q)
    with pytest.raises(ValueError, match=r"\[0, 1\), not 1"):
        f(q, q, q, dropout=(1.0, 0, 0))
    with pytest.raises(ShapeError, match=r"attention.backward: do has shape"):
        attention.backward(q[:1], q, q, q, None, None, None)


# The CPU kernel: what shows only across several tiles.

MASKS = {
    "keep": lambda rng, B, H, T, S: (rng.random((B, 1, T, S)) < 0.6, None, False),
    "keep-keys": lambda rng, B, H, T, S: (rng.random((1, H, 1, S)) < 0.6, None, True),
    "keep-queries": lambda rng, B, H, T, S: (rng.random((B, H, T, 1)) < 0.6, None, False),
    "lengths": lambda rng, B, H, T, S: (None, rng.integers(0, S + 1, B), False),
    "causal": lambda rng, B, H, T, S: (None, None, True),
    "all": lambda rng, B, H, T, S: (rng.random((T, S)) < 0.6, rng.integers(S // 2, S + 1, B), True),
}


@pytest.fixture
def cpu(monkeypatch):
    """The kernel's module, with tiles so small that little arrays have many of them."""
    module = pytest.importorskip("nlp_kernels.attention.cpu")
    for name, size in (("QUERIES", 5), ("KEYS", 8)):  # keys in whole panels: 8 or 16 or 32
        monkeypatch.setattr(module, name, size)
    return module


def on_workers(monkeypatch, cpu, n):
    """Whatever the number of processors."""
    monkeypatch.setattr(cpu, "workers", lambda tasks: max(1, min(n, tasks)))


@pytest.mark.parametrize("dropout", [None, (0.3, 7, 2)], ids=["", "dropout"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("T", "S"), [(23, 71), (71, 50)])
def test_many_tiles(cpu, dtype, T, S, mask, dropout):
    rng, B, H, KH, D, Dv = np.random.default_rng(0), 2, 4, 2, 5, 35
    q, k, v = (rng.normal(size=shape).astype(dtype) for shape in ((B, H, T, D), (B, KH, S, D), (B, KH, S, Dv)))
    keep, lengths, causal = MASKS[mask](rng, B, H, T, S)
    case = Case((q, k, v, keep, lengths), {"causal": causal, "scale": None, "dropout": dropout})
    cotangents = draw_cotangents(HOT_PATH, case, rng)
    ours = evaluate(attention, HOT_PATH, case, cotangents)
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


@given(case=cases(np.float64), rng=generators(), n=st.integers(2, 5))
def test_shared_out_by_tiles(case, rng, n):
    """More workers than heads: dK and dV by tiles of keys, dQ by tiles of queries."""
    cpu = pytest.importorskip("nlp_kernels.attention.cpu")
    cotangents = draw_cotangents(HOT_PATH, case, rng)
    with pytest.MonkeyPatch.context() as patch:
        on_workers(patch, cpu, 100)
        patch.setattr(cpu, "QUERIES", n)
        ours = evaluate(attention, HOT_PATH, case, cotangents)
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


@pytest.mark.parametrize(("B", "H", "KH"), [(1, 1, 1), (1, 3, 1), (3, 4, 2)])
@pytest.mark.parametrize("mask", MASKS)
def test_the_same_bits_on_any_number_of_workers(cpu, monkeypatch, B, H, KH, mask):
    rng, T, S, D = np.random.default_rng(0), 33, 70, 8
    shapes = ((B, heads, n, D) for heads, n in ((H, T), (H, T), (KH, S), (KH, S)))
    q, do, k, v = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    keep, lengths, causal = MASKS[mask](rng, B, H, T, S)
    results = []
    for n in (1, 2, 4):
        on_workers(monkeypatch, cpu, n)
        o, saved = attention.forward(q, k, v, keep, lengths, causal=causal, dropout=(0.1, 3, 0))
        gradients = attention.backward(do, q, k, v, keep, lengths, saved, causal=causal, dropout=(0.1, 3, 0))
        results.append((o, saved[1], *gradients))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_memory_is_linear_in_the_length(cpu, monkeypatch):
    """No array with an entry for each pair of a query and a key, with dropout and masks neither."""
    taken = []
    empty = cpu.empty
    monkeypatch.setattr(cpu, "empty", lambda shape, dtype: taken.append(empty(shape, dtype)) or taken[-1])

    def used(T):
        taken.clear()
        q, k, v, do = np.zeros((4, 1, 2, T, 8), np.float32)
        lengths = np.array([T - 3])
        _, saved = attention.forward(q, k, v, None, lengths, causal=True, dropout=(0.1, 3, 0))
        attention.backward(do, q, k, v, None, lengths, saved, causal=True, dropout=(0.1, 3, 0))
        return sum(x.nbytes for x in taken)

    assert used(1024) < 2.1 * used(512)


def test_views_of_one_array_are_taken_as_they_are(monkeypatch):
    """q, k, v of one product (B, T, 3 H D), and o whose heads can be joined: no copy on the way, the same bits."""
    cpu = pytest.importorskip("nlp_kernels.attention.cpu")
    (B, T, H, D), rng = (2, 40, 3, 8), np.random.default_rng(0)
    x, do = rng.normal(size=(B, T, 3, H, D)), rng.normal(size=(B, T, H, D)).transpose(0, 2, 1, 3)
    views, seen = x.transpose(2, 0, 3, 1, 4), []
    for name in ("forward", "backward"):
        function = getattr(cpu, name)
        monkeypatch.setattr(cpu, name, lambda *args, f=function, **kw: seen.extend(args[:4]) or f(*args, **kw))
    results = []
    for q, k, v in (views, np.ascontiguousarray(views)):
        o, saved = attention.forward(q, k, v, causal=True)
        results.append((o, *attention.backward(do, q, k, v, None, None, saved, causal=True)))
    assert all(np.shares_memory(a, x) for a in (*seen[:3], *seen[5:8]))
    assert np.shares_memory(seen[4], do)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.shares_memory(a, a.transpose(0, 2, 1, 3).reshape(B, T, H * D))


def test_what_is_not_a_number_shows_where_it_does_in_the_reference():
    rng = np.random.default_rng(0)
    for place in range(3):
        arrays = rng.normal(size=(4, 1, 1, 40, 4))
        arrays[place, 0, 0, 17, 2] = np.nan
        q, k, v, do = arrays
        (o, saved), (o_r, saved_r) = attention.forward(q, k, v), reference.forward(q, k, v)
        ours = attention.backward(do, q, k, v, None, None, saved)
        theirs = reference.backward(do, q, k, v, None, None, saved_r)
        for a, b in zip((o, *ours), (o_r, *theirs), strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
