"""Run folders: numbers that never collide, and metrics that survive a torn line."""

import json

import pytest
from nlp_kernels.errors import UserError

from tinygrad_nlp.train.run_folder import RunFolder


def test_numbers_count_up_and_are_never_used_again(tmp_path):
    names = [RunFolder.create("gpt", parent=tmp_path / "runs").path.name for _ in range(3)]
    assert names == ["gpt-001", "gpt-002", "gpt-003"]
    (tmp_path / "runs" / "gpt-002").rmdir()
    (tmp_path / "runs" / "gpt-041").mkdir()
    (tmp_path / "runs" / "gpt-notes").mkdir()
    assert RunFolder.create("gpt", parent=tmp_path / "runs").path.name == "gpt-042"
    assert RunFolder.create("rnn", parent=tmp_path / "runs").path.name == "rnn-001"


def test_a_chosen_folder_must_be_new(tmp_path):
    out = tmp_path / "deep" / "mine"
    assert RunFolder.create("gpt", str(out)).path == out
    with pytest.raises(UserError, match=r"mine exists already.*--resume"):
        RunFolder.create("gpt", str(out))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="exists already"):
        RunFolder.create("gpt", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot make the run folder"):
        RunFolder.create("gpt", str(tmp_path / "file" / "below"))


def test_a_torn_line_is_dropped_and_the_rest_kept(tmp_path):
    folder = RunFolder.create("gpt", str(tmp_path / "run"))
    assert folder.read_metrics() == []
    for step in range(1, 6):
        folder.append_metrics({"step": step, "train_loss": step / 3})
    path = folder.path / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    assert [line["step"] for line in folder.read_metrics()] == [1, 2, 3, 4]
    folder.forget_metrics_after(2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "train_loss": 1 / 3},
        {"step": 2, "train_loss": 2 / 3},
    ]
    assert [p.name for p in folder.path.iterdir()] == ["metrics.jsonl"]
