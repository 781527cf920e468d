"""Checkpoints: every bit comes back, damage is noticed and named, and the old file outlives a failed write."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nlp_kernels.errors import UserError

from tinygrad_nlp.train.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint

arrays = st.sampled_from(["float32", "float64", "int64", "bool", "uint8"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
scalars = st.none() | st.booleans() | st.integers(0, 2**64) | st.floats() | st.text(st.characters())
trees = st.recursive(
    arrays | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


@given(state=st.dictionaries(st.text(max_size=5), trees, max_size=4))
def test_what_was_saved_comes_back(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("run") / FILE_NAME
    save_checkpoint(path, state)
    assert same(state, load_checkpoint(path))
    assert [p.name for p in path.parent.iterdir()] == [FILE_NAME]


def test_layout_and_numpy_scalars_do_not_matter(tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    save_checkpoint(tmp_path / FILE_NAME, {"t": x.T, "step": x[::2, ::-1], "n": np.int64(3), "p": (1, 2.5)})
    back = load_checkpoint(tmp_path)
    np.testing.assert_array_equal(back["t"], x.T)
    np.testing.assert_array_equal(back["step"], x[::2, ::-1])
    assert back["n"] == 3
    assert back["p"] == [1, 2.5]


def test_arrays_whose_names_would_collide_stay_apart(tmp_path):
    state = {"a": {"b": np.zeros(2)}, "a.b": np.ones(2), "c": {1: np.full(1, 5.0), "1": np.full(1, 6.0)}}
    save_checkpoint(tmp_path / FILE_NAME, state)
    assert same(state, load_checkpoint(tmp_path))


def test_a_cut_or_damaged_file_is_named(tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, {"model": {"w": np.ones((50, 50))}, "step": 3})
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is damaged or incomplete") as refusal:
            load_checkpoint(tmp_path)
        assert str(path) in str(refusal.value)


def test_files_of_other_programs_are_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / FILE_NAME
    save_file({"w": np.ones(3)}, path)
    with pytest.raises(UserError, match="no checkpoint of this program"):
        load_checkpoint(path)
    path.write_bytes(b"PK\x03\x04 a pickle in a zip" * 100)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)
    save_file({}, path, {"format": "tinygrad-nlp/1", "state": json.dumps({"items": [["w", {"tensor": "gone"}]]})})
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)
    with pytest.raises(UserError, match=r"there is no checkpoint at .*elsewhere"):
        load_checkpoint(tmp_path / "elsewhere")


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, {"w": np.ones(1000), "step": 1})
    child = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        import numpy as np
        from nlp_kernels.errors import UserError
        from tinygrad_nlp.train.checkpoint import save_checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            save_checkpoint(Path(sys.argv[1]), {"w": np.zeros(100_000), "step": 2})
        except UserError as error:
            print(error)
    """)
    out = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, text=True, check=True)
    assert out.stdout.startswith(f"cannot write {path}: ")
    assert "too large" in out.stdout
    assert "still whole" in out.stdout
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]
