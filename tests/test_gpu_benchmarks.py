"""The benchmarks of a GPU, on the stand-in for CuPy: who disagrees, what is timed, what is kept, what the page says."""

import json
import statistics
import subprocess
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels import dispatch
from nlp_kernels.simulator import SimulatorMissingError, build

from benchmarks import __main__ as all_benchmarks
from benchmarks import compare, hot_path
from benchmarks.compare import Times
from benchmarks.gpu import clock, command, inputs, measure, passes, peers, report, verdicts

try:
    build.compiler(), build.headers()
except SimulatorMissingError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

ROOFS = {"copy_gb_per_s": 3000.0, "read_gb_per_s": 3200.0, "fma_gflop_per_s": 60000.0}
TORCH = bool(find_spec("torch"))
CEILINGS = {*verdicts.COPIES, "empty"}


@pytest.fixture(autouse=True)
def card(standin_cupy, tmp_path, monkeypatch):
    """The stand-in, which shares its memory with PyTorch on the CPU; results go elsewhere."""
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    if TORCH:
        torch = import_module("torch")
        monkeypatch.setattr(peers, "to_torch", lambda x: torch.from_numpy(x._host))
    as_array = standin_cupy.asarray
    monkeypatch.setattr(peers, "to_cupy", lambda x: as_array(x.detach().numpy()) if hasattr(x, "detach") else x)
    return tmp_path / "stand-in-for-a-gpu"


@pytest.fixture
def small(monkeypatch):
    """Everything but --quick at the sizes of --quick: what is saved, in little time."""
    monkeypatch.setattr(measure, "Clock", lambda take, idle: clock.Clock(take, idle=True))
    monkeypatch.setattr(measure, "roofs", lambda *given: ROOFS)
    monkeypatch.setattr(inputs, "sets", lambda *given: 2)
    monkeypatch.setattr(inputs, "DRAWN", 101)
    monkeypatch.setattr(measure, "MOST", 3)
    for name in passes.known():
        subject = passes.subject(name)
        benchmark = replace(subject.benchmark, sizes=subject.benchmark.quick)
        monkeypatch.setattr(import_module(f"benchmarks.gpu.{name}"), "SUBJECT", replace(subject, benchmark=benchmark))


def quick(name, *options):
    return hot_path.main(SimpleNamespace(name=name), ["--device", "cuda", "--quick", *options])


def test_every_cuda_kernel_has_a_benchmark_here():
    kernels = {path.parent.name for path in dispatch.ROOT.glob("*/cuda.cu")}
    assert kernels <= set(passes.known())
    assert set(command.hot_paths()) == kernels


@pytest.mark.parametrize("name", passes.known())
def test_every_pass_agrees_and_is_timed_beside_its_ceilings(name, card):
    rows = quick(name)
    subject = passes.subject(name)
    assert len(rows) == len(subject.benchmark.quick) * len(subject.passes)
    for row in rows.values():
        ours = hot_path.served(name, "cuda")
        assert list(row)[: len(ours)] == ours
        assert ("torch" in row) == TORCH
        assert CEILINGS - {"read"} <= row.keys()
        for times in row.values():
            assert 0 <= times["low_us"] <= times["median_us"] <= times["high_us"]
            assert times["host_us"] > 0
    assert not card.exists()


@pytest.mark.parametrize("name", passes.known())
def test_bars_name_what_is_measured(name):
    subject = passes.subject(name)
    known = {"copy", *peers.PEERS}
    for size in subject.benchmark.sizes:
        for of_it in subject.passes.values():
            assert of_it.bars(*size).keys() <= known | {of_it.ceiling}


def test_a_kernel_that_is_wrong_fails_its_rows_alone(monkeypatch, capsys):
    module = import_module("nlp_kernels.softmax.cuda")
    right = module.backward
    monkeypatch.setattr(module, "backward", lambda *args, **hyper: (right(*args, **hyper)[0] * np.float32(1.01),))
    with pytest.raises(SystemExit, match="1"):
        quick("softmax", "--peers")
    said = capsys.readouterr().out
    assert "(3, 7), backward: FAILED: softmax (3, 7), backward, backend 'cuda': dx is off by" in said
    assert "forward: FAILED" not in said
    assert "│ (3, 7), forward " in said


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
def test_a_peer_that_disagrees_is_refused(monkeypatch, capsys):
    module = import_module("benchmarks.gpu.softmax")
    wrong = replace(module.BENCHMARK, torch=lambda torch, x, log: torch.softmax(x, 0))
    monkeypatch.setattr(module, "SUBJECT", replace(module.SUBJECT, benchmark=wrong))
    with pytest.raises(SystemExit, match="1"):
        quick("softmax", "--peers", "torch")
    assert "PyTorch: p is off by" in capsys.readouterr().out


def test_what_cannot_be_had_is_said_once(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    rows = quick("softmax", "--peers", "torch")
    assert all("torch" not in row for row in rows.values())
    assert capsys.readouterr().out.count("forward: without PyTorch: import of torch halted") == 1


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
def test_torch_compile_shares_one_function_among_the_passes(small, monkeypatch):
    torch = import_module("torch")
    compile_, compiled = torch.compile, []
    config = import_module("torch._functorch.config")

    def eagerly(function, dynamic):
        compiled.append(function)
        return compile_(function, dynamic=dynamic, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", eagerly)
    with config.patch(donated_buffer=True):
        rows = hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda", "--peers", "compile"])
    assert all(row["compile"]["compile_s"] > 0 for row in rows.values())
    assert len(compiled) == len(rows) / 2  # forward and backward of a size


def test_where_the_reference_cannot_run_the_host_says_what_is_right(standin_cupy, monkeypatch, capsys):
    reference = import_module("nlp_kernels.softmax.reference")
    right = reference.forward

    def on_the_host_alone(x, *args, **hyper):
        if type(x) is not np.ndarray:
            raise NotImplementedError("no such function")
        return right(x, *args, **hyper)

    monkeypatch.setattr(reference, "forward", on_the_host_alone)
    with pytest.raises(SystemExit):  # the reference on the card is one of the candidates
        quick("softmax", "--peers")
    assert "without reference: no such function" in capsys.readouterr().out


def test_what_a_window_does_and_when(standin_cupy, monkeypatch):
    happened, launches = [], import_module("cupy._machine").machine.launches
    event = standin_cupy.cuda.Event
    monkeypatch.setattr(event, "record", lambda self: launches.append("event") or setattr(self, "time", len(launches)))
    monkeypatch.setattr(event, "done", property(lambda self: bool(happened)))
    watch = clock.Clock(lambda n: inputs.Random(drawn=9).standard_normal(n), idle=True)
    launches.clear()
    calls = clock.Calls(watch, [lambda: launches.append("call")] * 3)
    window = watch.window(calls.calls, 0.0)
    names = [name.partition("<")[0] for name in launches]
    assert names == ["summed", "held_up", "event", "call", "call", "call", "event"]
    assert (window.device_s, window.ahead) == (4.0, True)  # from the event that is third to the one that is seventh

    calls.warm_up()
    held = calls.hold_s
    assert 20e-6 <= held < clock.LONGEST
    calls.seconds()
    assert calls.hold_s == held
    happened.append("the card did not wait")
    calls.seconds()
    calls.seconds()
    assert calls.hold_s == min(4 * held, clock.LONGEST)
    assert not calls.host()["ahead"]


def test_rounds_shrink_with_the_time_and_torch_compile_goes_first(small, monkeypatch):
    spans = []
    timed = measure.interleaved

    def watched(candidates, **bounds):
        spans.append(bounds["seconds"])
        return timed(candidates, **bounds)

    monkeypatch.setattr(measure, "interleaved", watched)
    session = hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda", "--minutes", "0"])
    assert set(spans) == {0.0}
    assert all(row["cuda"]["runs"] == 3 for row in session.values())
    assert all("compile" not in row for row in session.values())


def test_inputs_are_random_and_differ_between_sets(standin_cupy):
    random = inputs.Random(drawn=1001)
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


def test_one_command_measures_all_and_writes_the_page(small, card, monkeypatch, capsys):
    ran = []

    def measured(command, check, timeout):
        ran.append(command[2:])
        hot_path.main(SimpleNamespace(name=command[2].removeprefix("benchmarks.")), command[3:])

    monkeypatch.setattr(subprocess, "run", measured)
    all_benchmarks.main(["--device", "cuda", "--minutes", "3"])
    assert [name for name, *_ in ran] == [f"benchmarks.{name}" for name in command.hot_paths()]
    assert sum(float(c[c.index("--minutes") + 1]) for c in ran) <= 3.01
    data = json.loads((card / "softmax.json").read_text())
    assert data["complete"]
    assert data["processor"] == "stand-in for a GPU"
    assert len(data["rows"]) == 4
    row, work = data["rows"]["(3, 7), forward"], data["works"]["(3, 7), forward"]
    assert (work["bytes"], work["flops"], work["calls"]) == (2 * 3 * 7 * 4, 5 * 3 * 7, 2)

    page = (card / "README.md").read_text()
    best = min(row[who]["median_us"] for who in verdicts.COPIES)
    assert f"| {best / row['cuda']['median_us']:.0%} of copy |" in page
    assert page.startswith("# stand-in for a GPU\n")
    assert "## softmax" in page
    assert (card / "roofline.png").stat().st_size > 10_000
    assert "torch.compile" in page  # a bar on it, and whether it was there
    assert page == report.page(report.measured(card))


def test_a_run_that_is_cut_off_keeps_its_rows(small, card, monkeypatch):
    rows = []

    def cut_off(*given):
        if len(rows) == 2:
            raise KeyboardInterrupt
        rows.append(given)
        return counted(*given)

    counted = measure._of_row
    monkeypatch.setattr(measure, "_of_row", cut_off)
    with pytest.raises(KeyboardInterrupt):
        hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda"])
    data = json.loads((card / "softmax.json").read_text())
    assert list(data["rows"]) == ["(3, 7), forward", "(3, 7), backward"]
    assert not data["complete"]
    assert "The run was cut off." in report.page({"softmax": data})


def test_parts_and_other_peers_are_not_saved(small, card):
    for options in (["--only", "forward"], ["--peers"]):
        hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda", *options])
    assert not card.exists()
    hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda", "--dtype", "float64"])
    assert [path.name for path in card.iterdir()] == ["softmax-float64.json"]


def test_the_processes_have_their_share_of_the_time_and_one_may_fail(monkeypatch, capsys):
    ran = []

    def fails_once(command, check, timeout):
        ran.append((command[2], timeout))
        if len(ran) == 1:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fails_once)
    monkeypatch.setattr(command, "hot_paths", lambda: ("adamw", "softmax"))
    with pytest.raises(SystemExit, match="failed: adamw"):
        all_benchmarks.main(["--device", "cuda", "--minutes", "2"])
    (_, first), (_, second) = ran
    share = passes.subject("adamw").rows / (passes.subject("adamw").rows + passes.subject("softmax").rows)
    assert first == pytest.approx(120 * share + command.GRACE_S, abs=1)
    assert second == pytest.approx(120 + command.GRACE_S, abs=1)


def page_of(**changes):
    r = {"median_us": 100.0, "low_us": 99.0, "high_us": 101.0, "host_us": 9.0, "ahead": True, "runs": 5, "set_aside": 0}
    row = {"cuda": r, "torch": {**r, "median_us": 150.0, "low_us": 149.0, "high_us": 151.0}}
    row |= {"triton": {**r, "median_us": 100.5}, "copy": {**r, "median_us": 95.0}, "empty": {**r, "median_us": 2.0}}
    row |= changes
    data = {"rows": {"w": row}, "works": {"w": {"bytes": 10**8, "flops": 10**8, "ceiling": "copy"}}}
    return measure.results.lines(data)[1]


def test_a_line_says_what_is_reached_and_ranks_nothing_within_the_noise():
    line = page_of()
    assert line == ("w", "100 µs (99 – 101)", "1,000", "95% of copy", "9 µs", "150 µs (149 – 151) 1.50×",
                    "100 µs (99 – 101) 1.00× ≈")  # fmt: skip
    small = {"median_us": 40.0, "low_us": 40.0, "high_us": 40.0, "host_us": 9.0, "ahead": False}
    line = page_of(empty=small)
    assert line[2] == "1,000 †"
    assert page_of(cuda=small)[4] == "9 µs *"


def test_what_no_gpu_can_do_is_refused(standin_cupy, capsys, monkeypatch):
    for command_line in (["--device", "cuda", "lstm"], ["--device", "cuda", "--minutes", "x"]):
        with pytest.raises(SystemExit, match="2"):
            all_benchmarks.main(command_line)
    with pytest.raises(SystemExit, match="2"):
        quick("attention")
    assert "attention has nothing to measure on a GPU" in capsys.readouterr().err
    import_module("cupy._machine").machine.fails = 35
    with pytest.raises(SystemExit, match="2"):
        quick("softmax")
    assert "needs an NVIDIA GPU: cudaErrorInsufficientDriver" in capsys.readouterr().err


def test_medians_of_the_host_are_a_calls():
    windows = [clock.Window(1.0, host_s, True) for host_s in (3.0, 1.0, 2.0)]
    calls = clock.Calls(SimpleNamespace(), [lambda: None] * 4, windows)
    assert calls.host() == {"host_us": statistics.median([3.0, 1.0, 2.0]) / 4 * 1e6, "ahead": True}
