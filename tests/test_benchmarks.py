"""The benchmarks run and refuse a candidate that disagrees; the READMEs show their results."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
from nlp_kernels import dispatch

import tinygrad_nlp as tn
from benchmarks import __main__ as all_benchmarks
from benchmarks import (
    bars,
    command,
    compare,
    figures,
    gpt,
    hot_path,
    language_model,
    libraries,
    quality,
    readme,
    roof,
    tables,
    tape,
)

ARRAYS = {
    "adamw": ("theta", "m", "v"),
    "attention": ("o", "dq", "dk", "dv"),
    "cross_entropy": ("loss", "dx"),
    "embedding": ("y", "dtable"),
    "gru": ("y", "dx"),
    "layer_norm": ("y", "dx", "dgamma", "dbeta"),
    "lstm": ("y", "dx"),
    "matmul": ("y", "dx", "dw", "db"),
    "rnn": ("y", "dx"),
    "softmax": ("p", "dx"),
}
PEERS = tuple(name for name in ("torch", "jax") if find_spec(name))
PARTS = hot_path.PARTS
for name in PEERS:
    import_module(name)  # before the first test: importing JAX changes the environment
ROOFS = {"copy_gb_per_s": 20.0, "cache_copy_gb_per_s": 200.0, "fma_gflop_per_s": 100.0}


def benchmark(name):
    return import_module(f"benchmarks.{name}").BENCHMARK


def quick(name, *options):
    """Rows of a benchmark, or of one changed, at its tiny sizes on one thread."""
    subject = benchmark(name) if isinstance(name, str) else name
    return hot_path.main(subject, ["--quick", "--threads", "1", *options])


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    monkeypatch.setattr(bars, "RESULTS", tmp_path)
    yield tmp_path
    tn.set_num_threads(None)


@pytest.fixture
def fast(monkeypatch):
    """Without what takes seconds and has a test of its own: compilers and roofs."""
    monkeypatch.setattr(command, "roofs", lambda threads, dtype: ROOFS)
    monkeypatch.setattr(hot_path, "cold_compile_s", lambda *names: 1.5)
    monkeypatch.setattr(libraries, "compiling", lambda cached: contextlib.nullcontext())
    if find_spec("torch"):
        monkeypatch.setattr(import_module("torch"), "compile", lambda function, dynamic: function)


class Changed:
    """The reference with a change to the i-th of the arrays that forward and backward, or step, give."""

    def __init__(self, name, i, change):
        self.reference = import_module(f"nlp_kernels.{name}.reference")
        self.i, self.change = i, change
        if hasattr(self.reference, "step"):
            self.step = self._step

    def supports(self, *inputs, **hyper):
        return True

    def _step(self, *inputs, out=None, **hyper):
        new = self._changed(self.reference.step(*inputs, **hyper), self.i)
        for target, values in zip(out or (), new, strict=bool(out)):
            target[...] = values
        return out or new

    def forward(self, *inputs, **hyper):
        y, saved = self.reference.forward(*inputs, **hyper)
        if isinstance(y, tuple):  # further outputs are no result of a benchmark
            return (*self._changed(y[:1], self.i), *y[1:]), saved
        return self._changed((y,), self.i)[0], saved

    def backward(self, *inputs, **hyper):
        return self._changed(self.reference.backward(*inputs, **hyper), self.i - 1)

    def _changed(self, arrays, at):
        return tuple(self.change(x) if i == at else x for i, x in enumerate(arrays))


@contextlib.contextmanager
def registered(name, module, backend="planted"):
    dispatch.register_backend(name, backend, module)
    try:
        yield
    finally:
        dispatch.unregister_backend(name, backend)


@pytest.mark.parametrize("name", dispatch.HOT_PATHS)
def test_every_benchmark_runs(name, results, capsys):
    with registered(name, Changed(name, 0, np.copy)):
        rows = quick(name)
    assert len(rows) == len(benchmark(name).quick)
    for row in rows.values():
        assert tuple(row) == ("planted", *hot_path.served(name), *PEERS)
        for times in row.values():
            assert 0 < times["low_us"] <= times["median_us"] <= times["high_us"]
            assert times["runs"] == 2
    assert not list(results.rglob("*"))
    assert "planted" in capsys.readouterr().out


@pytest.mark.parametrize("name", PARTS)
def test_the_parts_of_a_hot_path_run(name):
    for part in PARTS[name]:
        rows = quick(part)
        assert len(rows) == len(benchmark(part).quick)
        assert all(tuple(row) == (*hot_path.served(name), *PEERS) for row in rows.values())


@pytest.mark.parametrize(("name", "array"), [(name, array) for name, arrays in ARRAYS.items() for array in arrays])
def test_an_array_that_is_one_percent_off_is_named(name, array):
    planted = Changed(name, ARRAYS[name].index(array), lambda x: x * np.float32(1.01))
    with (
        registered(name, planted),
        pytest.raises(AssertionError, match=rf"{name} .*, backend 'planted': {array} is off by"),
    ):
        quick(name)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda dx: dx * np.nan, "dx is off by nan"),
        (lambda dx: dx.astype(np.float64), r"dx is float64\(3, 7\), expected float32\(3, 7\)"),
        (lambda dx: dx[:1], r"dx is float32\(1, 7\), expected"),
    ],
    ids=["NaN", "dtype", "shape"],
)
def test_nan_and_another_dtype_or_shape_are_refused(change, complaint):
    with registered("softmax", Changed("softmax", 1, change)), pytest.raises(AssertionError, match=complaint):
        quick("softmax")


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_disagrees_is_refused(peer):
    forward = getattr(benchmark("softmax"), peer)
    other = replace(benchmark("softmax"), **{peer: lambda library, x: 1.01 * forward(library, x)})
    with pytest.raises(AssertionError, match=rf"softmax \(3, 7\), {peer}: p is off by"):
        quick(other, "--peers", peer)


def test_each_device_has_its_backends():
    assert hot_path.served("softmax") == ["cpu", "reference"]
    assert hot_path.served("softmax", "cuda") == ["cuda", "reference"]


def test_a_peer_that_fails_is_left_out_and_said(capsys):
    def broken(jax, x):
        raise ValueError("no such kernel")

    rows = quick(replace(benchmark("softmax"), jax=broken), "--peers", "jax")
    assert list(rows["(3, 7)"]) == hot_path.served("softmax")
    assert "softmax (3, 7): without JAX: no " in capsys.readouterr().out.lower().replace("jax", "JAX")


@pytest.mark.skipif("torch" not in PEERS, reason="PyTorch is not installed")
def test_torch_compile_is_a_peer(monkeypatch):
    torch = import_module("torch")
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: compile_(f, dynamic=dynamic, backend="aot_eager"))
    (row,) = quick("softmax", "--peers", "compile").values()
    assert row["compile"]["compile_s"] > 0


def test_a_backend_that_does_not_support_the_arrays_is_left_out_and_said(monkeypatch, capsys):
    picky = Changed("softmax", 0, np.copy)
    monkeypatch.setattr(picky, "supports", lambda *inputs, **hyper: False)
    with registered("softmax", picky):
        assert "planted" not in quick("softmax", "--peers")["(3, 7)"]
        assert "backend 'planted' is forced, which does not support this array" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="does not support this array"):
            quick("softmax", "--backend", "planted")


def test_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = quick("softmax", "--peers", "torch")
    assert list(rows["(3, 7)"]) == hot_path.served("softmax")
    assert "without PyTorch: import of torch halted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--rounds", "0"], ["--backend", "none"], ["--device", "cuda"]], ids="-".join
)
def test_wrong_options_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match="2"):
        quick("softmax", *arguments)
    assert "error:" in capsys.readouterr().err


def test_what_is_saved_is_what_the_pages_show(results, monkeypatch, fast, tmp_path):
    monkeypatch.setattr(readme, "RESULTS", results)
    monkeypatch.setattr(readme, "MACHINE", compare.machine())
    monkeypatch.setattr(quality, "FILE", results / "quality.json")
    monkeypatch.setattr(figures, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(readme, "FIGURES", tmp_path / "figures")
    small = replace(benchmark("matmul"), sizes=((3, 4, 5, "gelu"),))
    rows = hot_path.main(small, ["--rounds", "6"])
    hot_path.main(small, ["--rounds", "6", "--threads", "1"])
    file = results / compare.machine() / "matmul.json"
    data = json.loads(file.read_text())
    assert data["rows"] == rows
    assert (data["dtype"], data["threads"], data["roofs"]) == ("float32", command.CORES, ROOFS)
    assert data["versions"]["numpy"] == np.__version__
    assert data["works"]["3 × 4 × 5, gelu"]["flops"] == 6 * 3 * 4 * 5

    figures.main()
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"matmul", "roofline"}
    text = readme.rewritten("<!-- benchmark -->\nold\n<!-- /benchmark -->\n", readme.PAGES[page("matmul")])
    assert "old" not in text
    assert "figures/matmul.png)" in text
    names = [*hot_path.served("matmul"), *(libraries.PEERS[name] for name in ("torch", "compile", "jax") if PEERS)]
    header, line = (next(x for x in text.splitlines() if x.startswith(start)) for start in ("| work", "| 3 × 4"))
    assert header.strip("| ").split(" | ") == ["work", *names, "of the roof"]
    assert line.count("×") == 2 + len(names) - 1
    assert text.count("one thread: median (quartiles)") == 1
    assert "1.5 s" in text


def test_other_dtypes_and_threads_are_saved_apart_and_parts_not_at_all(results, fast):
    small = replace(benchmark("softmax"), sizes=((3, 7),))
    hot_path.main(small, ["--rounds", "1", "--backend", "reference"])
    hot_path.main(small, ["--rounds", "1", "--peers"])
    assert not list(results.rglob("*.json"))
    hot_path.main(small, ["--rounds", "1", "--dtype", "float64", "--threads", "1"])
    assert [file.stem for file in results.rglob("*.json")] == ["softmax-float64-1threads"]


def test_interleaved_rotates_warms_up_and_enters_the_setting():
    ran = []

    @contextlib.contextmanager
    def setting(name):
        ran.append(name.upper())
        yield

    candidates = {n: compare.Candidate(lambda n=n: ran.append(n), lambda n=n: setting(n)) for n in "abc"}
    times = compare.interleaved(candidates, fewest=3, most=3, warm=0)
    assert "".join(ran) == "AaBbCc" + "BbCcAa" + "CcAaBb"
    assert {name: len(t.seconds) for name, t in times.items()} == {"a": 3, "b": 3, "c": 3}
    ran.clear()
    compare.interleaved(candidates, fewest=2, most=9, seconds=0, warm=1e-9)
    assert "".join(ran) == "AaaBbbCcc" + "BbbCccAaa"


def test_preempted_runs_are_set_aside_where_five_are_left():
    runs = [(0.1 * i, i == 3) for i in range(6)]
    assert compare.clean(runs) == compare.Times([0.1 * i for i in (0, 1, 2, 4, 5)], set_aside=1)
    assert compare.clean(runs[:5]) == compare.Times([0.1 * i for i in range(5)])
    assert compare.summary(compare.Times([1.0, 2.0, 3.0, 4.0, 5.0]), per=10) == {
        "median_us": 3e5, "low_us": 2e5, "high_us": 4e5, "runs": 5, "set_aside": 0
    }  # fmt: skip


def test_a_bar_is_held_above_it_or_within_half_the_interquartile_range_below():
    assert bars.verdict([1.0, 1.1, 1.2, 1.3, 1.4], 1.25)["held"]  # 1.2 + 0.1
    assert not bars.verdict([1.0, 1.1, 1.2, 1.3, 1.4], 1.31)["held"]
    row = {"ours": {"median_us": 2.0}, "torch": {"median_us": 6.0}, "compile": {"median_us": 5.0}}
    assert [bars.ratio(row, peer) for peer in ("torch", "compile", "best", "jax")] == [3.0, 2.5, 2.5, None]


def test_bars_run_processes_and_keep_the_results_of_the_others(results, monkeypatch, capsys):
    def measured(command, check, stdout):
        name, file = command[2].removeprefix("benchmarks."), command[4]
        hot_path.main(replace(benchmark(name), bars={(3, 7): {"best": 1e-9}}), ["--bars", file, "--rounds", "1"])

    peer = "torch" if PEERS else "ours"
    monkeypatch.setattr(bars, "PEERS", {peer: peer})
    monkeypatch.setattr(subprocess, "run", measured)
    rows = bars.main(["softmax"])
    assert [v["held"] for v in rows["softmax"]] == [True]
    assert len(rows["softmax"][0]["ratios"]) == bars.PROCESSES
    rows |= bars.main(["layer_norm"])
    monkeypatch.setattr(readme, "RESULTS", results)
    monkeypatch.setattr(readme, "MACHINE", compare.machine())
    text = readme.bars()
    assert text.count("| held |") == 2
    assert json.loads(next(results.rglob("bars.json")).read_text())["rows"] == {k: rows[k] for k in sorted(rows)}
    bars.main(["softmax", "--processes", "1"])
    assert readme.bars() == text
    with pytest.raises(SystemExit, match="2"):
        bars.main(["softmaxx"])
    assert "there is no softmaxx" in capsys.readouterr().err


def test_every_bar_has_a_row_in_its_benchmark():
    for name in hot_path.NAMES:
        assert benchmark(name).bars.keys() <= set(benchmark(name).sizes)


def test_the_models_and_the_tape_run(results, capsys):
    peers = tuple(name for name in PEERS if name == "torch")
    (row,) = language_model.main(["--quick", "--threads", "1"]).values()
    assert tuple(row) == ("ours", *peers)
    (row,) = gpt.main(["--quick", "--threads", "1"]).values()
    assert tuple(row) == ("ours", "reference", *peers)
    assert all(tuple(row) == ("ours", *peers) for row in tape.main(["--quick"]).values())
    gpt.print_peak("ours", "quick", 1)
    assert int(capsys.readouterr().out.splitlines()[-1]) >= 0
    assert not list(results.rglob("*"))


def test_the_roofs_and_what_is_near_them(monkeypatch):
    monkeypatch.setattr(roof, "MEMORY", 1 << 20)
    assert all(rate > 0.1 for rate in roof.roofs(1).values())
    assert tables.of_the_roof({"bytes": 10_000, "flops": 10_000}, 1.0, ROOFS) == (0.5, "10 GB/s, 50%")
    assert tables.of_the_roof({"bytes": 10_000, "flops": 80_000}, 1.0, ROOFS) == (0.8, "80 GFLOP/s, 80%")


def test_compiling_is_timed_without_a_cache():
    assert hot_path.cold_compile_s("softmax", "reference", "float32") is None
    assert hot_path.cold_compile_s("softmax", "cpu", "float32") > 0.1


def test_all_benchmarks_come_before_the_readmes(monkeypatch):
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command[2:]))
    all_benchmarks.main([])
    assert all(find_spec(name) for name, *_ in ran)
    assert [name for name, *_ in ran[-2:]] == ["benchmarks.figures", "benchmarks.readme"]
    assert {f"benchmarks.{name}" for name in hot_path.NAMES} < {name for name, *_ in ran}
    assert ["benchmarks.softmax", "--threads", "1"] in ran
    ran.clear()
    all_benchmarks.main(["--quick"])
    assert all(options == ["--quick"] for _, *options in ran)


def page(name):
    return dispatch.ROOT / name / "README.md"


@pytest.mark.parametrize("path", readme.PAGES, ids=lambda path: path.parent.name)
def test_the_tables_are_the_results(path):
    text = path.read_text(encoding="utf-8")
    assert readme.rewritten(text, readme.PAGES[path]) == text, "run: python -m benchmarks.readme"


@pytest.mark.parametrize("name", dispatch.HOT_PATHS)
def test_every_hot_path_says_how_it_is_measured(name):
    _, _, section = page(name).read_text(encoding="utf-8").partition("\n## Measured\n")
    assert f"`python -m benchmarks.{name}`" in section
    assert "<!-- benchmark -->" in section


def test_a_page_without_its_markers_is_refused():
    with pytest.raises(ValueError, match="0 places for the table 'bars'"):
        readme.rewritten("no markers")
