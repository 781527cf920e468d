"""Kernels of explicit types: signatures and their errors, what is accepted, what is refused, and the cache on disk."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from nlp_kernels.common import compiled
from nlp_kernels.common.compiled import Kernel, absent, kernel


@kernel("y[N,C] total[1] | x[N,C] v(N,C) scale flag:bool n:int64 rows:int64[R]")
def combine(y, total, x, v, scale, flag, n, rows):
    N, C = x.shape
    total[0] = 0
    for i in range(N):
        for c in range(C):
            y[i, c] = scale * x[i, c] + v[i, c] + n if flag else x[rows[i], c]
            total[0] += y[i, c]


def arguments(dtype=np.float32):
    x, v = np.random.default_rng(0).random((2, 3, 4)).astype(dtype)
    outputs = {"y": np.empty((3, 4), dtype), "total": np.empty(1, dtype)}
    return outputs | {"x": x, "v": v, "scale": 2.0, "flag": True, "n": 3, "rows": np.array([2, 0, 1])}


def run(**changed):
    given = arguments(changed.pop("dtype", np.float32)) | changed
    combine(*given.values())
    return given


def made(signature, function=lambda y, x: None):
    return Kernel(function, signature, compiled.FAST)


def test_the_signature_says_types_layouts_and_what_is_read_only():
    assert combine.arguments == [
        ("T", 2, "C", False), ("T", 1, "C", False),
        ("T", 2, "C", True), ("T", 2, "A", True), ("T", 0, "C", True), ("bool", 0, "C", True), ("int64", 0, "C", True),
        ("int64", 1, "C", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("signature", "complaint"),
    [
        ("y[N] x[N]", "a signature is 'outputs | inputs'"),
        ("y[N] | x[N", r"'x\[N' in its signature is no argument"),
        ("y[N] | x-1", "'x-1' in its signature is no argument"),
        ("y[N] | x[N] extra", r"names \['y', 'x', 'extra'\], the function other arguments"),
        ("x[N] | y[N]", r"names \['x', 'y'\], the function other arguments"),
        ("y[N] |", r"names \['y'\], the function other arguments"),
    ],
)
def test_a_wrong_signature_is_refused_when_it_is_read(signature, complaint):
    with pytest.raises(ValueError, match=complaint):
        made(signature)


def test_an_unknown_type_is_named_when_it_compiles():
    with pytest.raises(KeyError, match="complex128"):
        made("y[N] | x:complex128[N]").compile(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flag", [True, False])
def test_it_computes_in_the_dtype_of_its_arrays(dtype, flag):
    given = run(dtype=dtype, flag=flag)
    expected = 2 * given["x"] + given["v"] + 3 if flag else given["x"][[2, 0, 1]]
    np.testing.assert_allclose(given["y"], expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(given["total"], [expected.sum()], rtol=20 * np.finfo(dtype).eps)


def test_read_only_and_strided_inputs_are_accepted_and_compile_nothing():
    given = run()
    for name in ("x", "v", "rows"):
        given[name].flags.writeable = False
    before = dict(combine.compiled)
    for v in (given["v"], np.asfortranarray(given["v"]), given["v"][::-1], np.repeat(given["v"], 2, axis=1)[:, ::2]):
        again = run(x=given["x"], v=v, rows=given["rows"])
        assert again["y"].shape == (3, 4)
    assert combine.compiled == before
    assert all(len(function.signatures) == 1 for function in combine.compiled.values())


@pytest.mark.parametrize(
    "changed",
    [
        {"x": np.ones((4, 3), np.float32).T},
        {"x": np.ones((3, 8), np.float32)[:, ::2]},
        {"x": np.ones((3, 4))},
        {"x": np.ones((3, 4), np.float32).view(">f4")},
        {"x": np.ones(12, np.float32)},
        {"v": np.ones((3, 4))},
        {"rows": np.zeros(3, np.int32)},
        {"rows": np.zeros(3, np.float32)},
        {"x": [[1.0] * 4] * 3},
        {"scale": np.ones(1, np.float32)},
        {"x": None},
    ],
    ids=["fortran", "strided", "dtype", "bytes", "1-d", "strided dtype", "int32", "float", "list", "array", "None"],
)
def test_other_layouts_and_types_are_refused_and_compile_nothing(changed):
    run()
    before = {dtype: list(function.signatures) for dtype, function in combine.compiled.items()}
    with pytest.raises(TypeError):
        run(**changed)
    assert {dtype: list(function.signatures) for dtype, function in combine.compiled.items()} == before


def test_an_output_that_may_not_be_written_is_refused():
    y = np.empty((3, 4), np.float32)
    y.flags.writeable = False
    with pytest.raises(TypeError):
        run(y=y)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64, np.longdouble])
def test_there_are_two_precisions(dtype):
    given = arguments()
    with pytest.raises(TypeError):
        combine(
            *(a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in given.values())
        )
    assert {np.dtype(d) for d in combine.compiled} <= set(compiled.DTYPES)


def test_what_is_absent_has_no_entries_and_is_made_once():
    assert absent(2, np.dtype(np.float32)).shape == (0, 0)
    assert absent(2, np.dtype(np.float32)) is absent(2, np.dtype(np.float32))
    assert absent(1, np.dtype(np.bool_)).dtype == np.bool_


def test_threads_that_call_at_once_compile_once(monkeypatch):
    single = Kernel(
        combine.__wrapped__, "y[N,C] total[1] | x[N,C] v(N,C) scale flag:bool n:int64 rows:int64[R]", compiled.FAST
    )
    times, compile_ = [], Kernel._compile
    monkeypatch.setattr(Kernel, "_compile", lambda self, dtype: times.append(dtype) or compile_(self, dtype))
    threads = [threading.Thread(target=lambda: single(*arguments().values())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1


# The cache on disk ---------------------------------------------------------------------------------------------------

KERNEL = """
from nlp_kernels.common.compiled import kernel

@kernel("y[N] | x[N]")
def twice(y, x):
    for i in range(len(x)):
        y[i] = FACTOR * x[i]
"""
USE = """
import logging, sys
import numpy as np
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
sys.path.insert(0, sys.argv[1])
import mine
for dtype in sys.argv[2:]:
    x = np.arange(5, dtype=dtype)
    y = np.empty_like(x)
    mine.twice(y, x)
    print(dtype, *y.astype(int))
"""


@pytest.fixture
def use(tmp_path):
    """A function that runs a kernel in a fresh process and returns what it prints: what was compiled, the results."""

    def run(*dtypes, factor=2, cache=tmp_path / "cache", **environment):
        (tmp_path / "mine.py").write_text(KERNEL.replace("FACTOR", str(factor)))
        env = os.environ | {"TINYGRAD_NLP_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"} | environment
        done = subprocess.run(
            [sys.executable, "-c", USE, str(tmp_path), *dtypes], capture_output=True, text=True, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


COMPILED = "compiling mine.twice for "


def test_a_second_process_finds_it_on_disk(use, tmp_path):
    assert use("float32") == [COMPILED + "float32", "float32 0 2 4 6 8"]
    files = set((tmp_path / "cache").rglob("*.nb?"))
    assert files
    assert use("float32") == ["float32 0 2 4 6 8"]
    assert set((tmp_path / "cache").rglob("*.nb?")) == files


def test_the_key_is_source_dtype_and_processor(use):
    use("float32")
    assert use("float32", "float64")[1:] == [COMPILED + "float64", "float64 0 2 4 6 8"]
    assert use("float32", factor=3) == [COMPILED + "float32", "float32 0 3 6 9 12"]
    assert use("float32", factor=2) == ["float32 0 2 4 6 8"]  # the old one is still there
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert use("float32", **other) == [COMPILED + "float32", "float32 0 2 4 6 8"]
    assert use("float32", **other) == use("float32") == ["float32 0 2 4 6 8"]


def test_common_sources_are_part_of_the_key(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path))
    source = Path(__file__)
    before = compiled.cache_folder(source, np.dtype(np.float32))
    digest = compiled._digest
    monkeypatch.setattr(compiled, "_digest", lambda f: "changed" if f.name == "vector.py" else digest(f))
    assert compiled.cache_folder(source, np.dtype(np.float32)) != before


def test_a_folder_that_cannot_be_made_keeps_nothing_and_works(use, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    for _ in range(2):
        assert use("float32", cache=in_the_way / "cache") == [COMPILED + "float32", "float32 0 2 4 6 8"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_that_cannot_be_written_keeps_nothing_and_works(use, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o500)
    assert use("float32") == [COMPILED + "float32", "float32 0 2 4 6 8"]


@pytest.mark.parametrize("kind", ["nbi", "nbc"], ids=["index", "code"])
def test_a_damaged_file_is_made_again(use, tmp_path, kind):
    use("float32")
    (file,) = (tmp_path / "cache").rglob("*." + kind)
    whole = file.read_bytes()
    for n in (0, 20, len(whole) // 2):
        file.write_bytes(whole[:n])
        assert use("float32")[-1] == "float32 0 2 4 6 8"
    assert use("float32") == ["float32 0 2 4 6 8"]


def test_a_full_disk_keeps_nothing_and_works(monkeypatch, tmp_path):
    def full(self, name, content):
        raise OSError("no space left on device")

    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path))
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", full)
    function = made("y[N] | x[N]").compile(np.float32)
    x = np.ones(3, np.float32)
    function(x.copy(), x)
