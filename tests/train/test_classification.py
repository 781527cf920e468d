"""Training a classifier: resumed runs bit for bit, accuracy of texts never trained on, refusals."""

import io
import json

import numpy as np
import pytest
from resumption import assert_same_run, trained

from tinygrad_nlp.cli import main
from tinygrad_nlp.random import Generator

TINY = "--width 8 --hidden 8 --batch-size 8 --warmup 2 --decay-steps 40 --eval-every 10 --lr 0.02".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Class 1 says `good`, class 0 `bad`, in sentences of one to six words; one text is empty."""
    path, draw = tmp_path_factory.mktemp("data") / "reviews.txt", Generator(0)
    lines = []
    for _ in range(200):
        label, *filler = draw.integers(0, 2, (int(draw.integers(1, 7, (1,))[0]),)).tolist()
        lines.append(f"{label} " + " ".join([*(f"word{f}" for f in filler), ("bad", "good")[label]]))
    path.write_text("\n".join([*lines, "1 "]) + "\n")
    return path


def train(folder, data, *arguments):
    return trained("classifier", "--data", data, "--out", folder, *TINY, *arguments)


@pytest.mark.parametrize("cut", [10, 30])  # an epoch has 21 batches
def test_n_steps_and_the_rest_are_the_run_that_never_stopped(data, tmp_path, monkeypatch, cut):
    """And nothing is fetched: the run's own file is all there is to read."""
    monkeypatch.setattr("tinygrad_nlp.train.examples.fetch", lambda name, **how: pytest.fail(f"fetches {name}"))
    whole, lines = train(tmp_path / "whole", data, "--steps", 40)
    train(tmp_path / "cut", data, "--steps", cut)
    again, resumed = trained("classifier", "--resume", tmp_path / "cut", "--steps", 40)
    assert_same_run(again, whole)
    assert [line["train_loss"] for line in resumed] == [line["train_loss"] for line in lines]
    assert lines[-1]["val_accuracy"] == resumed[-1]["val_accuracy"] > 0.9


@pytest.mark.parametrize("cell", ["none", "lstm"])
def test_accuracy_is_of_the_test_tenth_and_confusion_adds_up(data, tmp_path, cell, capsys):
    folder = tmp_path / "run"
    loud = [*TINY, "--steps", "40", "--cell", cell, "--out", str(folder)]
    assert main(["train", "classifier", "--data", str(data), *loud]) == 0
    out, err = capsys.readouterr()
    counts = json.loads((folder / "confusion.json").read_text())
    assert counts["classes"] == ["0", "1"]
    table = np.array(counts["counts"])
    assert table.sum() == 20
    assert f"accuracy {table.trace() / 20:.2%} ({table.trace()} of 20 texts)" in out
    assert "161 texts, 20 for validation, 20 for the test; 2 classes" in err
    assert "(accuracy " in err
    assert "generate" not in out
    assert main(["generate", str(folder)]) == 2
    assert "holds a model 'classifier', which does not write" in capsys.readouterr().err


def test_a_trained_model_predicts_what_it_is_asked_or_reads(data, tmp_path, capsys, monkeypatch):
    train(tmp_path / "run", data, "--steps", 40)
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), "word1 good", "word1 word0 bad", ""]) == 0
    good, bad, empty = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (good[0], good[2], bad[0], bad[2], empty[2]) == ("1", "word1 good", "0", "word1 word0 bad", "")
    assert 0.5 <= float(empty[1]) < min(float(good[1]), float(bad[1])) <= 1
    monkeypatch.setattr("sys.stdin", io.StringIO("word1 good\nword1 word0 bad\n"))
    assert main(["predict", str(tmp_path / "run")]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["1", "0"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "absent.txt"], "absent.txt"),
        (["--data", "few.txt"], "few.txt has 2 texts; training takes 10 or more"),
        (["--data", "one.txt"], "one.txt has texts of the class '0' alone; training takes two or more"),
        (["--data", "wrong.txt"], "wrong.txt, line 2: 'nothing' is not a label, a space and a text"),
        (["--data", "gutenberg"], "the corpus 'gutenberg' has no labelled texts; subj and custrev have"),
        (["--cell", "cnn"], "--cell: invalid choice: 'cnn'"),
        (["--directions", "3"], "--directions: expected a whole number from 1 to 2, not '3'"),
    ],
)
def test_a_mistake_gets_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.txt").write_text("0 a\n1 b\n")
    (tmp_path / "one.txt").write_text("0 a\n" * 20)
    (tmp_path / "wrong.txt").write_text("0 a\nnothing\n")
    assert main(["train", "classifier", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert not (tmp_path / "runs").exists()
