"""Memory used again: nothing that can still be reached is handed out twice; it comes back when nothing can."""

import contextlib
import gc
import threading
import weakref

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from nlp_kernels.common import memory

LARGE = memory.LARGE


@pytest.fixture(autouse=True)
def _own_pool():
    """Each test starts with nothing idle, and restores the limit."""
    before = memory.limit()
    memory.clear()
    yield
    memory.limit(before)
    memory.clear()


@contextlib.contextmanager
def collecting_no_garbage():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def idle():
    with collecting_no_garbage():  # it may hand blocks back at any moment
        blocks = [block for blocks in memory._idle.values() for block in blocks]
        assert memory._idle_bytes == sum(block.nbytes for block in blocks)
    return blocks


def place(x):
    return x.__array_interface__["data"][0]


VIEWS = {
    "slice": lambda x: x[3:7],
    "every other": lambda x: x[::-2],
    "element": lambda x: x[5:6],
    "transposed": lambda x: x.reshape(2, -1).T,
    "bytes": lambda x: x.view(np.uint8),
    "new axis": lambda x: x[None, ..., None],
    "broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "memoryview": lambda x: memoryview(x),
    "asarray of a memoryview": lambda x: np.asarray(memoryview(x)[2:]),
    "dlpack": lambda x: np.from_dlpack(x),
    "view of a view": lambda x: x[4:][2:].view(),
    "iterator": lambda x: x.flat,
    "windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 3),
    "matrix": lambda x: x.view(np.recarray),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_it_comes_back_when_the_last_view_is_gone(kind):
    x = memory.empty((LARGE,), np.float32)
    start, view = place(x), VIEWS[kind](x)
    del x
    gc.collect()
    assert idle() == []
    other = memory.empty((LARGE,), np.float32)
    assert place(other) != start
    del view
    gc.collect()
    assert len(idle()) == 1
    assert place(memory.empty((LARGE,), np.float32)) == start


def test_a_loan_in_a_cycle_comes_back_with_it():
    x = memory.empty((LARGE,), np.float32)
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    assert len(idle()) == 1


def test_torch_may_hold_it():
    torch = pytest.importorskip("torch")
    x = memory.empty((LARGE,), np.float32)
    tensor = torch.from_numpy(x)[7:]
    del x
    assert idle() == []
    del tensor
    gc.collect()
    assert len(idle()) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint32, np.bool_, ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (LARGE,), (300, 1001), (7, 1, 100_003)])
def test_it_is_an_array_like_any_other(shape, dtype):
    x = memory.empty(shape, dtype)
    assert (x.shape, x.dtype) == (shape, np.dtype(dtype))
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert x.flags.aligned
    if x.nbytes >= LARGE:
        assert place(x) % memory.ALIGNMENT == 0
    x[...] = 1
    assert np.all(memory.zeros(shape, dtype) == 0)
    assert np.all(x == 1)
    del x
    assert np.all(memory.zeros(shape, dtype) == 0)  # in memory that held ones


def test_small_arrays_are_left_to_the_c_library():
    small, large = memory.empty((LARGE - 1,), np.uint8), memory.empty((LARGE,), np.uint8)
    assert small.base is None
    assert large.base is not None
    del small, large
    assert len(idle()) == 1


def test_at_most_an_eighth_is_wasted_and_near_sizes_share():
    sizes = np.unique(np.geomspace(LARGE, 1 << 40, 10_000).astype(np.int64)).tolist()
    rounded = [memory._rounded(n) for n in sizes]
    assert all(n <= m <= n * 9 // 8 for n, m in zip(sizes, rounded, strict=True))
    assert len(set(rounded)) <= 8 * 24
    assert all(memory._rounded(m) == m for m in rounded)
    x = memory.empty((10 * LARGE,), np.uint8)
    start = place(x)
    del x
    assert place(memory.empty((10 * LARGE - 1000,), np.uint8)) == start


def test_the_limit_holds_and_zero_keeps_nothing():
    block = memory._rounded(LARGE + memory.ALIGNMENT)
    memory.limit(3 * block)
    xs = [memory.empty((LARGE,), np.uint8) for _ in range(5)]
    while xs:
        xs.pop()
        assert sum(b.nbytes for b in idle()) <= memory.limit()
    assert idle()
    assert memory.limit(0) == 0
    assert idle() == []
    memory.empty((LARGE,), np.uint8)
    assert idle() == []
    memory.limit(block)
    memory.empty((2 * LARGE,), np.uint8)  # larger than all that may lie idle
    assert idle() == []


def test_clear_leaves_what_is_lent():
    kept = memory.empty((LARGE,), np.uint8)
    kept[:] = 7
    gone = weakref.ref(memory.empty((LARGE,), np.uint8).base.block)
    assert gone() is not None
    memory.clear()
    assert gone() is None
    memory.zeros((LARGE,), np.uint8)
    assert np.all(kept == 7)


def test_what_numpy_cannot_make_is_refused():
    with pytest.raises((MemoryError, ValueError)):
        memory.empty((1 << 60,), np.float64)
    assert idle() == []


class Lending(RuleBasedStateMachine):
    """Arrays and views are made, filled, kept and dropped in any order; each must keep what was written into it."""

    empty = staticmethod(memory.empty)

    arrays = Bundle("arrays")

    def __init__(self):
        super().__init__()
        memory.clear()
        memory.limit(6 * LARGE)
        self.alive = {}  # tag -> weak reference to the memory's owner, number of references that rules hold
        self.tag = 0

    @rule(target=arrays, n=st.sampled_from([LARGE, LARGE + 8, 2 * LARGE, 2 * LARGE - 8, 64]))
    def lend(self, n):
        x = self.empty((n // 8,), np.int64)
        self.tag += 1
        x[:] = self.tag
        return [x, self.tag]

    @rule(
        target=arrays,
        pair=arrays,
        kind=st.sampled_from(["slice", "every other", "element", "dlpack", "view of a view"]),
    )
    def view(self, pair, kind):
        x, tag = pair
        return multiple() if x.size < 10 else [VIEWS[kind](x), tag]

    @rule(pair=arrays)
    def check(self, pair):
        x, tag = pair
        assert np.all(x == tag), f"memory that is in use was handed out again: {x[x != tag][0]} in place of {tag}"

    @rule(pair=consumes(arrays))
    def drop(self, pair):
        self.check(pair)
        pair.clear()

    @rule()
    def clear(self):
        memory.clear()

    @rule(n=st.sampled_from([0, 2 * LARGE, 6 * LARGE]))
    def limit(self, n):
        memory.limit(n)

    @invariant()
    def idle_memory_is_counted_and_limited(self):
        assert sum(block.nbytes for block in idle()) <= memory.limit()


SETTINGS = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_any_order_of_lending_and_dropping():
    run_state_machine_as_test(Lending, settings=SETTINGS)


def test_a_block_that_is_idle_while_it_is_lent_is_caught():
    class Early(Lending):
        @staticmethod
        def empty(shape, dtype):
            x = memory.empty(shape, dtype)
            if isinstance(x.base, memory.Loan):
                memory._take_back(x.base.block)
            return x

    with pytest.raises(AssertionError, match="handed out again"):
        run_state_machine_as_test(Early, settings=SETTINGS)


def test_threads_that_lend_and_drop_at_once():
    """Each writes its own number into what it was lent, and finds it there later."""
    memory.limit(20 * LARGE)
    wrong, start = [], threading.Barrier(6)

    def work(me):
        rng, held = np.random.default_rng(me), []
        start.wait()
        for step in range(400):
            x = memory.empty((int(rng.integers(LARGE // 8, LARGE // 2)),), np.int64)
            x[:] = tag = me * 1000 + step
            held.append((x[::7], tag))
            if len(held) > 4:
                view, tag = held.pop(int(rng.integers(len(held))))
                if not np.all(view == tag):
                    wrong.append((me, step))
            if step % 100 == 0:
                memory.clear()

    threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    gc.collect()
    assert sum(block.nbytes for block in idle()) <= memory.limit()
