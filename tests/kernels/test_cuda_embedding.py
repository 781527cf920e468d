"""The embedding's CUDA kernels beyond the contract: rows of any length, the order of sums, wrong indices, atomics."""

from contextlib import contextmanager

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import generators
from cases.embedding import HOT_PATH
from contract import assert_no_worse_than_the_problem, draw_cotangents, evaluate
from hypothesis import given, settings
from nlp_kernels import dispatch, embedding
from nlp_kernels.determinism import use_deterministic_algorithms
from nlp_kernels.embedding import cuda
from nlp_kernels.errors import DeviceError, DtypeError, ShapeError
from nlp_kernels.simulator import SimulatorError, every_order, simulate
from simulated import needs_simulator

pytestmark = needs_simulator()
# numbers in a row: some threads of a warp, all of it, more than once round; of a multiple of 16 bytes or not
LENGTHS = [1, 4, 6, 20, 128, 130, 260]


@contextmanager
def launches(monkeypatch):
    """The names of the kernels that run in the block."""
    names, kernel = [], cuda.SOURCE.kernel
    with monkeypatch.context() as patch:
        patch.setattr(cuda.SOURCE, "kernel", lambda name, x: names.append(name) or kernel(name, x))
        yield names


def lookup(dtype, kind, V=11, D=6, N=90, seed=0):
    """A table, indices of which one is two thirds of all, and cotangents."""
    rng = np.random.default_rng(seed)
    indices = np.where(rng.random(N) < 2 / 3, 4, rng.integers(0, V, N)).astype(kind)
    return rng.normal(size=(V, D)).astype(dtype), indices, rng.normal(size=(N, D)).astype(dtype)


def by_pieces(dy, indices, V, piece):
    """The sums in the order that README.md states, each number rounded as the kernel does."""
    order = np.argsort(indices, kind="stable")
    dtable = np.zeros((V, dy.shape[1]), dy.dtype)
    for r in range(V):
        (places,) = np.nonzero(indices[order] == r)
        parts = [places] if len(places) <= piece else np.split(places, np.flatnonzero(np.diff(places // piece)) + 1)
        sums = [np.add.accumulate(np.concatenate([0 * dy[:1], dy[order[part]]]))[-1] for part in parts]
        dtable[r] = np.add.accumulate(np.stack([0 * sums[0], *sums]))[-1] if len(parts) > 1 else sums[0]
    return dtable


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("D", LENGTHS)
def test_rows_of_any_length_in_the_order_stated(monkeypatch, dtype, kind, D):
    """Bit for bit, every kernel at both widths; the commonest row is cut into pieces, the others are not."""
    table, indices, dy = lookup(dtype, kind, D=D)
    monkeypatch.setattr(cuda, "PIECE", 16)
    with simulate("random:1"), launches(monkeypatch) as names:
        y, _ = cuda.forward(table, indices)
        (dtable,) = cuda.backward(dy, table, indices)
    np.testing.assert_array_equal(y, table[indices])
    np.testing.assert_array_equal(dtable, by_pieces(dy, indices, len(table), 16))
    wide = "16 / sizeof(T)" if D % (16 // table.itemsize) == 0 else "1"
    index = {np.int32: "int", np.int64: "long long"}[kind]
    assert names == [
        f"embedding_gather<T, {index}, {wide}>", f"embedding_keys<{index}>", "embedding_bounds",
        f"embedding_pieces<T, {wide}>", f"embedding_rows<T, {wide}>",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [15, 16, 17, 31, 32, 33, 48])
@pytest.mark.parametrize("before", [0, 1, 15, 16, 17])
def test_a_row_cut_anywhere(monkeypatch, count, before):
    """`count` positions of one row behind `before` of another: at the start of a piece, in it, of a few pieces."""
    monkeypatch.setattr(cuda, "PIECE", 16)
    indices = np.random.default_rng(0).permutation(np.repeat([0, 2, 3], [before, count, 5]))
    dy = np.random.default_rng(1).normal(size=(indices.size, 4)).astype(np.float32)
    with simulate():
        (dtable,) = cuda.backward(dy, np.zeros((5, 4), np.float32), indices)
    np.testing.assert_array_equal(dtable, by_pieces(dy, indices, 5, 16))


def test_vectors_of_arrays_that_are_not_aligned(monkeypatch):
    memory = np.zeros(11 * 8 + 5, np.float32)
    start = -memory.ctypes.data // 4 % 4 + 1  # one number behind a multiple of 16 bytes
    table = memory[start : start + 88].reshape(11, 8)
    table[...], indices, _ = lookup(np.float32, np.int64, D=8)
    with simulate(), launches(monkeypatch) as names:
        np.testing.assert_array_equal(cuda.forward(table, indices)[0], table[indices])
    assert names == ["embedding_gather<T, long long, 1>"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_the_threads_changes_no_bit(monkeypatch, dtype):
    monkeypatch.setattr(cuda, "PIECE", 16)
    table, indices, dy = lookup(dtype, np.int64)
    every_order(lambda: (cuda.forward(table, indices)[0], *cuda.backward(dy, table, indices)))
    with use_deterministic_algorithms(False), pytest.raises(SimulatorError, match="the thread order changes result 0"):
        every_order(lambda: cuda.backward(dy, table, indices)[0])


@pytest.mark.parametrize("mode", [True, False], ids=["sorted", "atomic"])
@pytest.mark.parametrize("padding_idx", [None, 4, 7])
def test_padding_and_wrong_indices(monkeypatch, mode, padding_idx):
    """A wrong index gives a row of NaN, which a loss shows, and counts for no row; nothing is read out of bounds."""
    monkeypatch.setattr(cuda, "PIECE", 16)
    for kind, wrong in ((np.int32, (11, -1, 2**31 - 1, -(2**31))), (np.int64, (11, -1, 2**63 - 1, -(2**63)))):
        table, indices, dy = lookup(np.float64, kind)
        indices[[3, 40, 41, 89]] = wrong
        with simulate(), use_deterministic_algorithms(mode):
            y, _ = cuda.forward(table, indices, padding_idx=padding_idx)
            (dtable,) = cuda.backward(dy, table, indices, padding_idx=padding_idx)
        right = (indices >= 0) & (indices < 11)
        np.testing.assert_array_equal(y[right], table[indices[right]])
        assert np.isnan(y[~right]).all()
        counted = right & (indices != (-1 if padding_idx is None else padding_idx))
        np.testing.assert_allclose(dtable, by_pieces(dy[counted], indices[counted], 11, 16), rtol=1e-12, atol=1e-14)
        if padding_idx is not None:
            assert not dtable[padding_idx].any()
        if padding_idx is None:  # nothing but wrong indices
            with simulate(), use_deterministic_algorithms(mode):
                assert not cuda.backward(dy, table, np.full_like(indices, 11))[0].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@settings(max_examples=12)
@given(data=st.data(), rng=generators())
def test_atomic_sums_are_no_worse_than_the_problem_itself(dtype, data, rng):
    """The contract of all backends, where atomic operations are allowed."""
    case = data.draw(HOT_PATH.cases(dtype))
    cotangents = draw_cotangents(HOT_PATH, case, rng)
    with dispatch.use_backend("cuda", "embedding", simulate="random:1"), use_deterministic_algorithms(False):
        ours = evaluate(embedding, HOT_PATH, case, cotangents)
    assert_no_worse_than_the_problem(ours, HOT_PATH, case, cotangents)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("D", [4, 6, 260])
def test_atomic_operations_are_used_where_they_are_allowed_and_pay(monkeypatch, kind, D):
    monkeypatch.setattr(cuda, "REPEATS", 8)
    for V, pays in ((12, True), (11, False)):  # 90 indices
        table, indices, dy = lookup(np.float32, kind, V, D)
        for mode in (True, False):
            with simulate(), launches(monkeypatch) as names, use_deterministic_algorithms(mode):
                (dtable,) = cuda.backward(dy, table, indices)
            assert any("scatter" in name for name in names) == (pays and not mode)
            np.testing.assert_allclose(dtable, by_pieces(dy, indices, V, 128), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("V", [0, 5])
@pytest.mark.parametrize("shape", [(0,), (3, 0), (2,), ()])
@pytest.mark.parametrize("D", [0, 4])
def test_nothing_to_do(V, shape, D):
    if V == 0 and 0 not in shape:
        return
    table, indices = np.ones((V, D), np.float32), np.zeros(shape, np.int64)
    for mode in (True, False):
        with simulate(), use_deterministic_algorithms(mode):
            assert cuda.forward(table, indices)[0].shape == (*shape, D)
            (dtable,) = cuda.backward(np.ones((*shape, D), np.float32), table, indices)
        assert dtable.shape == (V, D)
        assert dtable.sum() == indices.size * D


def test_the_same_on_a_gpu(standin_cupy):
    """Whose refusals name the array."""
    hosts = lookup(np.float32, np.int64, D=8)
    table, indices, dy = map(standin_cupy.asarray, hosts)
    with standin_cupy.cuda.Device(1):
        elsewhere = [standin_cupy.asarray(x) for x in hosts]
    y, _ = cuda.forward(table, indices)
    (dtable,) = cuda.backward(dy, table, indices)
    np.testing.assert_array_equal(y.get(), hosts[0][hosts[1]])
    np.testing.assert_array_equal(dtable.get(), by_pieces(hosts[2], hosts[1], 11, 128))
    for wrong, error, message in (
        ((table, hosts[1]), DeviceError, "indices is a numpy ndarray, table is on cuda:0; move it there"),
        ((table, elsewhere[1]), DeviceError, "indices is on cuda:1, table is on cuda:0; move it there"),
        ((elsewhere[0], indices), DeviceError, "table is on cuda:1, but cuda:0 is the current device"),
        ((standin_cupy.asfortranarray(table), indices), ShapeError, r"table, of shape \(11, 8\), is not C-contiguous"),
        ((table, indices.astype(np.int16)), DtypeError, "indices is int16, expected int32 or int64"),
    ):
        with pytest.raises(error, match=f"embedding.forward: {message}"):
            cuda.forward(*wrong)
    with pytest.raises(DtypeError, match=r"embedding.backward: dy is float64 but table is float32"):
        cuda.backward(dy.astype(np.float64), table, indices)


def test_what_it_does_not_serve():
    table, indices = np.zeros((3, 4), np.float32), np.zeros(2, np.int64)
    assert not cuda.supports(table, indices)  # outside the simulator
    with simulate():
        assert cuda.supports(table, indices)
        assert not cuda.supports(table.astype(np.float16), indices)
        huge = np.lib.stride_tricks.as_strided(table, (2**40, 4), (0, 4))
        assert cuda.supports(huge, indices)
        assert not cuda.supports(huge, np.lib.stride_tricks.as_strided(indices, (2**25,), (0,)))
        assert not cuda.supports(table, np.lib.stride_tricks.as_strided(indices, (2**30,), (0,)))
