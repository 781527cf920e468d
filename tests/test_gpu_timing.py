"""What the GPU's clock does, how much it is given to do, and what is made of its times."""

import statistics
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels.simulator import SimulatorMissingError, build

from benchmarks.compare import Times
from benchmarks.gpu import ceilings, clock, inputs, passes, results, verdicts

try:
    build.compiler(), build.headers()
except SimulatorMissingError as error:
    pytestmark = pytest.mark.skip(reason=str(error))


def test_what_a_window_does_and_when(standin_cupy, monkeypatch):
    waited, launches = [], import_module("cupy._machine").machine.launches
    event, runtime = standin_cupy.cuda.Event, standin_cupy.cuda.runtime
    monkeypatch.setattr(event, "record", lambda self: launches.append("event") or setattr(self, "time", len(launches)))
    monkeypatch.setattr(event, "done", property(lambda self: not waited))
    card = {**runtime.getDeviceProperties(0), "l2CacheSize": 1000}
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda device: card)
    watch = clock.Clock(inputs.Random(9).take)
    assert watch.filling.nbytes == 2000
    launches.clear()
    calls = clock.Calls(watch, [lambda: launches.append("call")] * 3)
    waited.append("for the hold to end")
    window = watch.window(calls.calls, 0.0)
    names = [name.partition("<")[0] for name in launches]
    assert names == ["summed", "held_up", "event", "call", "call", "call", "event"]
    assert (window.device_s, window.ahead) == (4.0, True)  # from the event that is third to the one that is seventh

    calls.warm_up()
    held = calls.hold_s
    assert 20e-6 <= held < clock.LONGEST
    calls.seconds()
    assert calls.hold_s == held
    waited.clear()
    calls.seconds()
    calls.seconds()
    assert calls.hold_s == min(4 * held, clock.LONGEST)
    assert not calls.host()["ahead"]


def test_medians_of_the_host_are_a_calls():
    windows = [clock.Window(1.0, host_s, True) for host_s in (3.0, 1.0, 2.0)]
    calls = clock.Calls(SimpleNamespace(), [lambda: None] * 4, windows)
    assert calls.host() == {"host_us": statistics.median([3.0, 1.0, 2.0]) / 4 * 1e6, "ahead": True}


@pytest.mark.parametrize("nbytes", [1000, 32, 1 << 20])
def test_ceilings_move_as_many_bytes(standin_cupy, nbytes):
    copied = [standin_cupy.copyto, ceilings.copy_to, ceilings.sums]
    calls = ceilings.calls(inputs.Random(99).take, nbytes, 3, "read")
    assert set(calls) == {*verdicts.COPIES, "read", "empty"}
    seen = set()
    for who, each in calls.items():
        assert len(each) == 3
        for call in each if who != "empty" else ():
            assert call.func in copied
            moved = call.args[:1] if who == "read" else call.args[:2]
            assert nbytes - 32 < sum(x.nbytes for x in moved) <= nbytes
            seen.add((who, tuple(x.data.ptr for x in moved)))
    assert len(seen) == 3 * 4  # each on memory of its own


def test_inputs_are_random_and_differ_between_sets(standin_cupy):
    random = inputs.Random(1001)
    benchmark = passes.subject("cross_entropy").benchmark
    first, second = (inputs.work(benchmark, random, "float32", (40, 100)).arrays for _ in range(2))
    for name, x in first.items():
        assert type(x) is standin_cupy.ndarray
        assert not np.array_equal(x.get(), second[name].get())
    x = first["x"].get()
    assert len(np.unique(x, axis=0)) == 40
    assert abs(x.mean()) < 0.2
    assert 0.8 < x.std() < 1.2


@pytest.mark.parametrize(
    ("nbytes", "memory", "expected"),
    [((10_000, 20_000), 80 << 30, 64), ((1 << 28, 1 << 28), 80 << 30, 12), ((1 << 31, 3 << 30), 80 << 30, 1),
     ((1 << 26, 1 << 26), 8 << 30, 8), ((1 << 30, 1 << 30), 4 << 30, 1)],
)  # fmt: skip
def test_a_window_is_a_millisecond_as_far_as_there_is_memory(nbytes, memory, expected):
    assert inputs.sets(nbytes, 3e12, memory) == expected


def judged(ours, theirs, bar=0.95, against="copy", empty=0.1):
    times = {"cuda": ours, "torch": [9.0] * 3, "copy": [9.0] * 3, "copyto": theirs, "empty": [empty] * 3}
    found = verdicts.judged("work", {who: Times(t) for who, t in times.items()}, {against: bar}, "copy")
    return found[0]


def test_verdicts_are_of_the_fastest_copy_round_by_round():
    row = judged([1.0, 2.0, 4.0], [1.0, 1.9, 4.0])
    assert row["held"]
    assert row["median"] == 1.0
    assert not judged([1.0] * 3, [0.9] * 3)["held"]
    assert judged([1.0] * 3, [0.9] * 3, bar=8.0, against="torch")["median"] == 9.0
    assert judged([1.0] * 3, [0.9] * 3, empty=0.4)["not_judged"] == "near the time of an empty launch"
    assert judged([1.0] * 3, [0.9] * 3, against="triton")["not_judged"] == "not measured"


def page_of(**changes):
    r = {"median_us": 100.0, "low_us": 99.0, "high_us": 101.0, "host_us": 9.0, "ahead": True, "runs": 5, "set_aside": 0}
    row = {"cuda": r, "torch": {**r, "median_us": 150.0, "low_us": 149.0, "high_us": 151.0}}
    row |= {"triton": {**r, "median_us": 100.5}, "copy": {**r, "median_us": 95.0}, "empty": {**r, "median_us": 2.0}}
    row |= changes
    data = {"rows": {"w": row}, "works": {"w": {"bytes": 10**8, "flops": 10**8, "ceiling": "copy"}}}
    return results.lines(data)[1]


def test_a_line_says_what_is_reached_and_ranks_nothing_within_the_noise():
    line = page_of()
    assert line == ("w", "100 µs (99 – 101)", "1,000", "95% of copy", "9 µs", "150 µs (149 – 151) 1.50×",
                    "100 µs (99 – 101) 1.00× ≈")  # fmt: skip
    small = {"median_us": 40.0, "low_us": 40.0, "high_us": 40.0, "host_us": 9.0, "ahead": False}
    line = page_of(empty=small)
    assert line[2] == "1,000 †"
    assert page_of(cuda=small)[4] == "9 µs *"
