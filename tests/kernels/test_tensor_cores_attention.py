"""Attention on tensor cores, in the simulator: every instance in four orders, masks, shared heads, views, errors."""

import hypothesis.strategies as st
import numpy as np
import pytest
from attention_in_bfloat16 import drawn, evaluated, exact, wrong
from cases import generators, is_float, layouts
from cases.attention import cases
from hypothesis import given, settings
from nlp_kernels import attention, dispatch
from nlp_kernels.attention import cuda, hopper, tensor_cores
from nlp_kernels.simulator import ORDERS, RawModule, every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()

CASES = {  # B, H, KH, T, S, D, Dv, what is hidden or dropped
    "one of each": ((1, 1, 1, 1, 1, 1, 1), {}),
    "ragged tiles": ((2, 1, 1, 70, 130, 16, 20), {}),
    "causal, more keys": ((1, 2, 2, 33, 100, 40, 40), {"causal": True}),
    "causal, fewer keys": ((1, 1, 1, 150, 3, 64, 64), {"causal": True}),
    "two tiles of queries and of keys": ((1, 1, 1, 140, 133, 8, 8), {"causal": True, "scale": -0.7}),
    "shared heads, dropout": ((1, 4, 2, 20, 37, 64, 8), {"causal": True, "dropout": (0.3, 7, 2**40 + 3)}),
    "a mask": ((2, 2, 1, 35, 70, 24, 24), {"keep": (2, 1, 35, 70)}),
    "a mask of keys, wide heads": ((1, 2, 1, 20, 70, 100, 128), {"keep": (1, 2, 1, 70), "dropout": (0.5, 1, 0)}),
    "wide heads": ((1, 1, 1, 130, 40, 128, 128), {"causal": True}),
    "the widest": ((1, 2, 1, 70, 40, 256, 200), {"causal": True}),
    "the widest, several steps": ((1, 1, 1, 20, 70, 130, 256), {}),
    "no query": ((1, 2, 1, 0, 5, 8, 8), {}),
    "no key": ((1, 2, 1, 5, 0, 8, 8), {}),
    "scores that are all 0": ((1, 1, 1, 5, 6, 0, 8), {}),
    "values of nothing": ((1, 1, 1, 5, 6, 8, 0), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_instance_in_every_order(name):
    """The last sequence has half of its keys; a mask hides every key from some queries."""
    sizes, hyper = CASES[name]
    B, S, hyper = sizes[0], sizes[4], dict(hyper)
    arrays, lengths, keep = drawn(*sizes), np.array([S] * (B - 1) + [(S + 1) // 2]), hyper.pop("keep", None)
    if keep is not None:
        keep = np.random.default_rng(1).random(keep) < 0.6
        keep[0, 0, :3] = keep[0, 0, :3] & (keep.shape[2] == 1)
    given = [x.copy() for x in arrays]
    with simulate():
        assert tensor_cores.supports(*arrays[:3])
    results = every_order(lambda: tuple(evaluated(tensor_cores, *arrays, keep, lengths, **hyper).values()))
    ours = dict(zip(("o", "lse", "dq", "dk", "dv"), results, strict=True))
    assert wrong(ours, exact(*arrays, keep, lengths, **hyper)) is None
    assert all(np.array_equal(x, before) for x, before in zip(arrays, given, strict=True)), "an input was changed"
    assert (ours["lse"].dtype, ours["o"].dtype, ours["dk"].dtype) == (np.float32, *[arrays[0].dtype] * 2)


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=6)
@given(data=st.data(), rng=generators())
def test_what_every_backend_must_do(order, data, rng):
    """The cases of the contract, in bfloat16, any layout."""
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    case = data.draw(cases(np.float32))
    q, k, v, keep, lengths = (data.draw(layouts(x.astype(kind))) if is_float(x) else x for x in case.inputs)
    do = data.draw(layouts(rng.normal(size=(*q.shape[:3], v.shape[3])).astype(kind)))
    with dispatch.use_backend("tensor_cores", "attention", simulate=order):
        ours = evaluated(attention, q, k, v, do, keep, lengths, **case.hyper)
    if case.hyper["dropout"] and not case.hyper["dropout"][0]:
        case.hyper["dropout"] = None
    assert wrong(ours, exact(q, k, v, do, keep, lengths, **case.hyper)) is None


@pytest.mark.parametrize("D", [8, 5], ids=["16 bytes at a time", "number by number"])
def test_heads_that_are_views_of_one_product_are_read_where_they_lie(D, monkeypatch):
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    packed = np.random.default_rng(0).normal(size=(2, 10, 3, 2, D)).astype(kind)  # B, T, qkv, H, D
    q, k, v = packed.transpose(2, 0, 3, 1, 4)
    with simulate():
        apart = evaluated(tensor_cores, *(x.copy() for x in (q, k, v)), q.copy(), causal=True)
        monkeypatch.setattr(tensor_cores, "ascending", lambda x: x)
        ours = evaluated(tensor_cores, q, k, v, q, causal=True)
    for name, x in ours.items():
        np.testing.assert_array_equal(x, apart[name])
    assert ours["o"].transpose(0, 2, 1, 3).flags.c_contiguous, "joining the heads is not a view"


def test_copies_of_16_bytes_and_of_numbers_give_the_same_bits():
    wide = drawn(1, 1, 1, 70, 80, 16, 16)
    odd = [np.concatenate([x, x[..., :1]], axis=-1)[..., :16] for x in wide]  # rows of 34 bytes
    with simulate():
        ours, theirs = (evaluated(tensor_cores, *x) for x in (wide, odd))
    for name, x in ours.items():
        np.testing.assert_array_equal(x, theirs[name])


@pytest.mark.parametrize("name", ["ragged tiles", "shared heads, dropout", "the widest"])
def test_on_cupy(name, any_cupy):
    sizes, hyper = CASES[name]
    arrays = drawn(*sizes)
    with dispatch.use_backend("tensor_cores", "attention"):
        results = evaluated(attention, *map(any_cupy.asarray, arrays), **hyper)
    assert wrong({n: x.get() for n, x in results.items()}, exact(*arrays, **hyper)) is None


def errors(right, ours):
    """Root mean square and largest error of each result."""
    return {n: [f(ours[n].astype(np.float64) - x) for f in (rms, largest)] for n, (x, _) in right.items() if n in ours}


def rms(x):
    return np.sqrt(np.mean(x * x))


def largest(x):
    return np.abs(x).max()


@pytest.mark.parametrize(("D", "causal"), [(64, True), (128, False)])
def test_it_errs_no_more_than_twice_as_much_as_torch(D, causal):
    torch = pytest.importorskip("torch")
    arrays = drawn(1, 1, 1, 100, 100, D, D)
    right = exact(*arrays, causal=causal)
    with simulate():
        ours = evaluated(tensor_cores, *arrays, causal=causal)
    q, k, v, do = (torch.tensor(x.astype(np.float32)).bfloat16() for x in arrays)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    o = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=causal)
    results = (o, *torch.autograd.grad(o, inputs, do))
    theirs = {n: x.detach().float().numpy() for n, x in zip(("o", "dq", "dk", "dv"), results, strict=True)}
    ours, theirs = errors(right, ours), errors(right, theirs)
    for name, error in theirs.items():
        assert (np.array(ours[name]) <= 2 * np.array(error)).all(), f"{name}: {ours[name]}, PyTorch {error}"


def of_a_thread_each(expression, grid, n, right="", wrong=""):
    """What an expression of fragments.cuh gives for i = 0 … n - 1, in each block of a grid."""
    folder = tensor_cores.SOURCE.path.parent
    text = (folder / "fragments.cuh").read_text()
    assert right in text
    code = f"""{text.replace(right, wrong)}
    extern "C" __global__ void kernel(int* y, int n) {{
      for (int i = threadIdx.x; i < n; i += 32) y[blockIdx.x * n + i] = {expression};
    }}"""
    y = np.full((grid, n), -1, np.int32)
    RawModule(code=f'#line 1 "{folder}/kernel.cu"\n{code}').get_function("kernel")((grid,), (32,), (y, np.int32(n)))
    return y


def test_sixteen_heads_take_turns():
    heads, tiles = 19, 3
    turns = of_a_thread_each("i ? Turn(3).tile : Turn(3).head", heads * tiles, 2)
    assert {*map(tuple, turns)} == {(h, t) for h in range(heads) for t in range(tiles)}
    for first, end in ((0, 16), (16, heads)):
        section = turns[first * tiles : end * tiles]
        np.testing.assert_array_equal(section[:, 0], [*range(first, end)] * tiles)
        np.testing.assert_array_equal(section[:, 1], np.repeat(range(tiles), end - first))


def places(rows, head, right="", wrong=""):
    """Where the chunks of a tile lie, in chunks: (rows, head / 8)."""
    y = of_a_thread_each(f"Tile<{rows}, {head}>::place(i / {head}, i % {head})", 1, rows * head, right, wrong)
    assert sorted(y[0]) == list(range(rows * head)), "two numbers in one place"
    return y.reshape(rows, head)[:, ::8] // 8


@pytest.mark.parametrize(("rows", "head"), [(64, 64), (32, 128), (16, 256)])
def test_eight_lanes_never_meet_in_a_bank(rows, head):
    """ldmatrix takes one chunk of eight rows, a copy eight chunks of a row: eight different 16-byte columns each."""
    columns = places(rows, head) % 8
    loads = columns.reshape(-1, 8, head // 8).swapaxes(1, 2).reshape(-1, 8)
    assert all(len(set(eight)) == 8 for eight in (*loads, *columns.reshape(-1, 8)))


def test_without_a_swizzle_they_would():
    assert (places(64, 64, " ^ row % 8", "") % 8 == np.arange(8)).all()


def test_which_backend_has_which_arrays(monkeypatch):
    q, k, v, _ = drawn(1, 1, 1, 2, 3, 8, 8)
    single = [x.astype(np.float32) for x in (q, k, v)]
    with simulate():
        assert dispatch.select("attention", q, k, v) is hopper, "the simulator is one"
        assert dispatch.select("attention", *single) is cuda
        monkeypatch.setattr(hopper, "has_wgmma", lambda x: False)
        assert dispatch.select("attention", q, k, v) is tensor_cores
        assert not tensor_cores.supports(*drawn(1, 1, 1, 2, 3, 257, 8)[:3])
        monkeypatch.setattr(tensor_cores, "shared_memory", lambda x: 99 << 10)
        assert tensor_cores.supports(*drawn(1, 1, 1, 2, 3, 256, 8)[:3]), "an RTX has room for the widest heads"
        monkeypatch.setattr(tensor_cores, "shared_memory", lambda x: 64 << 10)
        assert not tensor_cores.supports(q, k, v)
        monkeypatch.setattr(tensor_cores, "capability", lambda x: 75)
        assert not tensor_cores.supports(q, k, v)
    assert not tensor_cores.supports(q, k, v)
