"""The benchmarks of a GPU, on the stand-in for CuPy: who disagrees, what is timed, what is kept, what the page says."""

import json
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
from benchmarks.gpu import clock, command, inputs, measure, passes, peers, report, roofs, verdicts

try:
    build.compiler(), build.headers()
except SimulatorMissingError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

import_module("benchmarks.figures")  # before results go elsewhere: the READMEs' are where they are
ROOFS = {"copy_gb_per_s": 3000.0, "read_gb_per_s": 3200.0, "fma_gflop_per_s": 60000.0}
TORCH = bool(find_spec("torch"))
CEILINGS = {*verdicts.COPIES, "empty"}
JOBS = [(name, dtype) for name in passes.known() for dtype in passes.dtypes(name)]


@pytest.fixture(autouse=True)
def card(standin_cupy, tmp_path, monkeypatch):
    """The stand-in, which shares its memory with PyTorch on the CPU; results go elsewhere."""
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    if TORCH:
        monkeypatch.setattr(peers, "to_torch", shared)
    monkeypatch.setattr(peers, "to_cupy", lambda x: standin_cupy.asarray(fetched(x)) if hasattr(x, "detach") else x)
    return tmp_path / "stand-in-for-a-gpu"


def shared(x):
    """A tensor of the memory of an array of the stand-in; NumPy and PyTorch share no bfloat16."""
    torch = import_module("torch")
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x._host.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x._host)


def fetched(x):
    torch, x = import_module("torch"), x.detach()
    if x.dtype == torch.bfloat16:
        return x.contiguous().view(torch.int16).numpy().view("bfloat16")
    return x.numpy()


@pytest.fixture
def small(monkeypatch):
    """Everything but --quick at the sizes of --quick: what is saved, in little time."""
    monkeypatch.setattr(measure, "Clock", lambda take, idle: clock.Clock(take, idle=True))
    monkeypatch.setattr(measure, "roofs", lambda *given: ROOFS)
    monkeypatch.setattr(inputs, "sets", lambda *given: 1)
    monkeypatch.setattr(inputs, "DRAWN", 101)
    monkeypatch.setattr(measure, "MOST", 2)
    monkeypatch.setattr(clock, "WARM", 0)
    monkeypatch.setattr(measure, "COMPILE_S", np.inf)  # it takes seconds
    for name, dtype in JOBS:
        subject = passes.subject(name, dtype)
        benchmark = replace(subject.benchmark, sizes=subject.benchmark.quick)
        constant = "BFLOAT16" if dtype == "bfloat16" else "SUBJECT"
        monkeypatch.setattr(import_module(f"benchmarks.gpu.{name}"), constant, replace(subject, benchmark=benchmark))


def quick(name, *options):
    return hot_path.main(SimpleNamespace(name=name), ["--device", "cuda", "--quick", *options])


def test_every_cuda_kernel_has_a_benchmark_here():
    kernels = {path.parent.name for path in dispatch.ROOT.glob("*/cuda.cu")}
    assert kernels <= set(passes.known())
    assert set(command.hot_paths()) == kernels


@pytest.mark.parametrize(("name", "dtype"), JOBS)
def test_every_pass_agrees_and_is_timed_beside_its_ceilings(name, dtype, card):
    rows = quick(name, "--dtype", dtype)
    subject = passes.subject(name, dtype)
    assert len(rows) == len(subject.benchmark.quick) * len(subject.passes)
    for row in rows.values():
        ours = [who for who in hot_path.served(name, "cuda") if who in row]  # not all take every dtype
        assert list(row)[: len(ours)] == ours
        assert "reference" in ours
        assert set(ours) & {"hopper", "tensor_cores", "cuda"}
        assert ("torch" in row) == TORCH
        assert CEILINGS - {"read"} <= row.keys()
        for times in row.values():
            assert 0 <= times["low_us"] <= times["median_us"] <= times["high_us"]
            assert times["host_us"] > 0
    assert not card.exists()


def test_times_are_of_one_call(standin_cupy, monkeypatch):
    monkeypatch.setattr(standin_cupy.cuda, "get_elapsed_time", lambda start, end: 6.0)  # milliseconds, of a window
    for row in quick("softmax", "--peers").values():
        assert {times["median_us"] for times in row.values()} == {3000.0}


@pytest.mark.parametrize(("name", "dtype"), JOBS)
def test_bars_name_what_is_measured(name, dtype):
    subject = passes.subject(name, dtype)
    known = {"copy", "cublas", *peers.PEERS}
    for size in subject.benchmark.sizes:
        for of_it in subject.passes.values():
            against = {name.rpartition("/")[2] for name in of_it.bars(*size)}
            assert against <= known | {of_it.ceiling}


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
    said = capsys.readouterr().out
    assert "(3, 7), forward, PyTorch: FAILED: softmax (3, 7), forward, PyTorch: p is off by" in said
    assert "│ (3, 7), forward " in said  # ours


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
    monkeypatch.setattr(measure, "COMPILE_S", 0.0)
    with config.patch(donated_buffer=True):
        rows = hot_path.main(SimpleNamespace(name="layer_norm"), ["--device", "cuda", "--peers", "compile"])
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


def test_rounds_shrink_with_the_time_and_torch_compile_goes_first(small, monkeypatch):
    spans = []
    timed = measure.interleaved

    def watched(candidates, **bounds):
        spans.append(bounds["seconds"])
        return timed(candidates, **bounds)

    monkeypatch.setattr(measure, "interleaved", watched)
    monkeypatch.setattr(measure, "COMPILE_S", 1e-9)
    session = hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda", "--minutes", "0"])
    assert set(spans) == {0.0}
    assert all(row["cuda"]["runs"] == 2 for row in session.values())
    assert all("compile" not in row for row in session.values())


def test_one_command_measures_all_and_writes_the_page(small, card, monkeypatch, capsys):
    ran = []

    def measured(line, check, timeout):
        ran.append(line[2:])
        hot_path.main(SimpleNamespace(name=line[2].removeprefix("benchmarks.")), line[3:])

    monkeypatch.setattr(command, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": measured}))
    monkeypatch.setattr(command, "hot_paths", lambda: ("matmul", "softmax"))  # those of all take a minute
    all_benchmarks.main(["--device", "cuda", "--minutes", "3"])
    jobs = [("matmul", "float32"), ("matmul", "bfloat16"), ("softmax", "float32")]
    assert [(name, dtype) for name, _, _, _, dtype, *_ in ran] == [(f"benchmarks.{n}", dtype) for n, dtype in jobs]
    data = json.loads((card / "softmax.json").read_text())
    assert data["complete"]
    assert data["processor"] == "stand-in for a GPU"
    assert len(data["rows"]) == 4
    row, work = data["rows"]["(3, 7), forward"], data["works"]["(3, 7), forward"]
    assert (work["bytes"], work["flops"], work["calls"]) == (2 * 3 * 7 * 4, 5 * 3 * 7, 1)

    page = (card / "README.md").read_text()
    best = min(row[who]["median_us"] for who in verdicts.COPIES)
    assert f"| {best / row['cuda']['median_us']:.0%} of copy |" in page
    assert page.startswith("# stand-in for a GPU\n")
    assert "## softmax" in page
    assert (card / "roofline.png").stat().st_size > 10_000
    assert "torch.compile" in page  # a bar on it, and whether it was there
    assert page == report.page(report.measured(card))


def test_the_clock_and_the_roofs_of_a_whole_run(small, card, standin_cupy, monkeypatch):
    runtime = standin_cupy.cuda.runtime
    properties = {**runtime.getDeviceProperties(0), "l2CacheSize": 1000}
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda device: properties)
    monkeypatch.setattr(measure, "Clock", clock.Clock)
    monkeypatch.setattr(clock, "LONGEST", 1e-4)
    monkeypatch.setattr(roofs, "BYTES", 1 << 12)
    monkeypatch.setattr(measure, "roofs", lambda *given: roofs.roofs(*given, windows=1, turns=2))
    hot_path.main(SimpleNamespace(name="softmax"), ["--device", "cuda"])
    data = json.loads((card / "softmax.json").read_text())
    assert data["roofs"].keys() == ROOFS.keys()
    assert all(rate > 0 for rate in data["roofs"].values())
    assert data["cache_bytes"] == 1000


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
    for options in (["--only", "(3, 7), forward"], ["--peers"]):
        hot_path.main(SimpleNamespace(name="layer_norm"), ["--device", "cuda", *options])
    assert not card.exists()
    hot_path.main(SimpleNamespace(name="layer_norm"), ["--device", "cuda", "--dtype", "float64"])
    assert [path.name for path in card.iterdir()] == ["layer_norm-float64.json"]


def test_the_processes_have_their_share_of_the_time_and_one_may_fail(monkeypatch, capsys):
    ran = []

    def fails_once(line, check, timeout):
        ran.append((line[2], timeout))
        if len(ran) == 1:
            raise subprocess.CalledProcessError(1, line)

    monkeypatch.setattr(command, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": fails_once}))
    monkeypatch.setattr(command, "hot_paths", lambda: ("adamw", "softmax"))
    with pytest.raises(SystemExit, match="failed: adamw in float32"):
        all_benchmarks.main(["--device", "cuda", "--minutes", "2"])
    (_, first), (_, second) = ran
    share = passes.subject("adamw").rows / (passes.subject("adamw").rows + passes.subject("softmax").rows)
    assert first == pytest.approx(120 * share + command.GRACE_S, abs=1)
    assert second == pytest.approx(120 + command.GRACE_S, abs=1)


def test_what_no_gpu_can_do_is_refused(standin_cupy, capsys, monkeypatch):
    for command_line in (["--device", "cuda", "lstm"], ["--device", "cuda", "--minutes", "x"]):
        with pytest.raises(SystemExit, match="2"):
            all_benchmarks.main(command_line)
    with pytest.raises(SystemExit, match="2"):
        quick("rnn")
    assert "rnn has nothing to measure on a GPU" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        quick("adamw", "--dtype", "bfloat16")
    assert "adamw is not measured in bfloat16" in capsys.readouterr().err
    import_module("cupy._machine").machine.fails = 35
    with pytest.raises(SystemExit, match="2"):
        quick("softmax")
    assert "needs an NVIDIA GPU: cudaErrorInsufficientDriver" in capsys.readouterr().err
