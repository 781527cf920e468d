"""The hot paths' benchmarks run and refuse a candidate that disagrees; the READMEs show their results."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from nlp_kernels import dispatch

from benchmarks import __main__ as all_benchmarks
from benchmarks import compare, hot_path, readme

ARRAYS = {
    "adamw": ("theta", "m", "v"),
    "attention": ("o", "dq", "dk", "dv"),
    "cross_entropy": ("loss", "dx"),
    "embedding": ("y", "dtable"),
    "layer_norm": ("y", "dx", "dgamma", "dbeta"),
    "matmul": ("y", "dx", "dw", "db"),
    "softmax": ("p", "dx"),
}
PEERS = ("torch",) if find_spec("torch") else ()


def benchmark(name):
    return import_module(f"benchmarks.{name}").BENCHMARK


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    return tmp_path


class Changed:
    """The reference with a change to the i-th of the arrays that forward and backward, or step, give."""

    def __init__(self, name, i, change):
        self.reference = import_module(f"nlp_kernels.{name}.reference")
        self.i, self.change = i, change
        if hasattr(self.reference, "step"):
            self.step = lambda *inputs, **hyper: self._changed(self.reference.step(*inputs, **hyper), self.i)

    def supports(self, *inputs, **hyper):
        return True

    def forward(self, *inputs, **hyper):
        y, saved = self.reference.forward(*inputs, **hyper)
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
        rows = hot_path.main(benchmark(name), ["--quick"])
    assert len(rows) == len(benchmark(name).quick)
    for backends in rows.values():
        assert tuple(backends) == ("planted", *dispatch.backends(name), *PEERS)
        for row in backends.values():
            assert 0 < row["low_us"] <= row["median_us"] <= row["high_us"]
            assert row["rounds"] == 2
            assert ("gb_per_s" in row) != ("gflop_per_s" in row)
            assert len(row["speed"]) == len(backends) - 1
    assert not list(results.rglob("*"))
    assert "planted" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "array"), [(name, array) for name, arrays in ARRAYS.items() for array in arrays])
def test_an_array_that_is_one_percent_off_is_named(name, array):
    planted = Changed(name, ARRAYS[name].index(array), lambda x: x * np.float32(1.01))
    with (
        registered(name, planted),
        pytest.raises(AssertionError, match=rf"{name} .*, backend 'planted': {array} is off by"),
    ):
        hot_path.main(benchmark(name), ["--quick"])


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
        hot_path.main(benchmark("softmax"), ["--quick"])


@pytest.mark.skipif(not PEERS, reason="PyTorch is not installed")
def test_a_peer_that_disagrees_is_refused():
    ours = benchmark("softmax")
    other = replace(ours, eager=lambda torch, **arrays: ours.eager(torch, **arrays) | {"dx": arrays["x"]})
    with pytest.raises(AssertionError, match=r"softmax \(3, 7\), torch: dx is off by"):
        hot_path.main(other, ["--quick"])


def test_a_backend_that_does_not_support_the_arrays_is_left_out_and_said(monkeypatch, capsys):
    picky = Changed("softmax", 0, np.copy)
    monkeypatch.setattr(picky, "supports", lambda *inputs, **hyper: False)
    with registered("softmax", picky):
        assert "planted" not in hot_path.main(benchmark("softmax"), ["--quick"])["(3, 7)"]
        assert "backend 'planted' is forced, which does not support this array" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="does not support this array"):
            hot_path.main(benchmark("softmax"), ["--quick", "--backend", "planted"])


def test_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = hot_path.main(benchmark("softmax"), ["--quick"])
    assert tuple(rows["(3, 7)"]) == dispatch.backends("softmax")
    assert "PyTorch is not installed: no peer" in capsys.readouterr().out


def test_a_gpu_is_waited_for(monkeypatch):
    waits = []
    device = SimpleNamespace(synchronize=lambda: waits.append(1))
    runtime = SimpleNamespace(getDeviceProperties=lambda i: {"name": b"A GPU"})
    cuda = SimpleNamespace(Device=lambda: device, runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=np.array, cuda=cuda, __version__="0"))
    monkeypatch.setitem(sys.modules, "torch", None)
    hot_path.main(benchmark("softmax"), ["--quick", "--device", "cuda", "--backend", "reference"])
    assert len(waits) == 2 + 2  # right answer, agreement, two rounds
    assert compare.machine("cuda") == "a-gpu"


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--rounds", "0"], ["--backend", "none"], ["--device", "cuda"]], ids="-".join
)
def test_wrong_options_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match="2"):
        hot_path.main(benchmark("softmax"), ["--quick", *arguments])
    assert "error:" in capsys.readouterr().err


def test_what_is_saved_is_what_the_readme_shows(results, monkeypatch):
    small = replace(benchmark("matmul"), sizes=((3, 4, 5, "gelu"),))
    rows = hot_path.main(small, [])
    assert all(hot_path.FEWEST <= row["rounds"] <= hot_path.MOST for row in rows["3 × 4 × 5, gelu"].values())
    (file,) = results.rglob("*.json")
    assert file == results / compare.machine() / "matmul.json"
    data = json.loads(file.read_text())
    assert data["rows"] == rows
    assert (data["dtype"], data["threads"]) == ("float32", 1)
    assert data["versions"]["numpy"] == np.__version__

    monkeypatch.setattr(readme, "RESULTS", results)
    monkeypatch.setattr(readme, "MACHINE", compare.machine())
    text = readme.rewritten("<!-- benchmark -->\nold\n<!-- /benchmark -->\n", readme.PAGES[page("matmul")])
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| 3 × 4 × 5, gelu | ")]
    assert [line[1] for line in lines] == [*dispatch.backends("matmul"), *PEERS]
    assert "old" not in text
    assert all(line[3].endswith(" GFLOP/s") for line in lines)


def test_other_dtypes_and_threads_are_saved_apart_and_parts_not_at_all(results):
    small = replace(benchmark("softmax"), sizes=((3, 7),))
    hot_path.main(small, ["--rounds", "1", "--backend", "reference"])
    assert not list(results.rglob("*.json"))
    hot_path.main(small, ["--rounds", "1", "--dtype", "float64"])
    assert [file.stem for file in results.rglob("*.json")] == ["softmax-float64-1threads"]


def test_interleaved_rotates_and_enters_the_setting():
    ran = []
    candidates = {name: (lambda name=name: ran.append(name)) for name in "abc"}

    @contextlib.contextmanager
    def setting(name):
        ran.append(name.upper())
        yield

    times = compare.interleaved(candidates, rounds=3, warmup=1, setting=setting)
    assert "".join(ran) == "AaBbCc" + "BbCcAa" + "CcAaBb" + "AaBbCc"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_speed_and_spread():
    times = {"ours": [1.0, 2.0, 3.0, 4.0, 5.0], "peer": [2.0, 2.0, 9.0, 12.0, 5.0]}
    assert compare.spread(times["ours"], per=10) == {"median_us": 3e5, "low_us": 2e5, "high_us": 4e5}
    assert compare.speed(times, "ours", "peer") == 2.0  # of 2, 1, 3, 3, 1
    assert compare.summary(times)["peer"]["our_speed"] == 2.0


def test_all_benchmarks_come_before_the_readmes(monkeypatch):
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command[-1]))
    all_benchmarks.main()
    assert all(find_spec(name) for name in ran)
    assert ran[-1] == "benchmarks.readme"
    assert {f"benchmarks.{name}" for name in dispatch.HOT_PATHS} < set(ran)


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
    with pytest.raises(ValueError, match="0 places for the table 'tape'"):
        readme.rewritten("no markers")
