"""Training on tagged sentences: resumed runs bit for bit, F1 of sentences never trained on, refusals."""

import io
import json

import pytest
from resumption import assert_same_run, trained

from tinygrad_nlp.cli import main
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import CORPORA, random_parts, read_conll, word_shape
from tinygrad_nlp.train.checkpoint import load_checkpoint
from tinygrad_nlp.train.tagging import TaggerRun, bracketed

SMALL = "--width 8 --hidden 16 --shape-width 4 --batch-size 8 --warmup 2 --decay-steps 60"
TINY = f"{SMALL} --eval-every 10 --lr 0.03".split()
MODELS = ["tagger", "window-classifier", "window-scorer"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """`Ada Roe` is a person, `Ada bears` are not: what follows decides."""
    path, draw = tmp_path_factory.mktemp("data") / "people.conll", Generator(0)
    path.write_text("".join(sentence(kind, n) for kind, n in draw.integers(0, 3, (200, 2)).tolist()))
    return path


def sentence(kind, n):
    start = ["we O", "saw O", "many O"][: n + 1]
    end = [["Ada B-PER", "Roe I-PER"], ["Ada O", "bears O"], ["Oslo B-LOC", "today O"]][kind]
    return "\n".join([*start, *end, ". O"]) + "\n\n"


def train(name, folder, data, *arguments):
    return trained(name, "--data", data, "--out", folder, *TINY, *arguments)


@pytest.mark.parametrize("name", MODELS)
def test_n_steps_and_the_rest_are_the_run_that_never_stopped(data, tmp_path, monkeypatch, name):
    """And nothing is fetched: the run's own file is all there is to read."""
    monkeypatch.setattr("tinygrad_nlp.train.examples.fetch", lambda name, **how: pytest.fail(f"fetches {name}"))
    whole, lines = train(name, tmp_path / "whole", data, "--steps", 60)
    train(name, tmp_path / "cut", data, "--steps", 30)  # an epoch has 20 batches
    again, resumed = trained(name, "--resume", tmp_path / "cut", "--steps", 60)
    assert_same_run(again, whole)
    assert [line["train_loss"] for line in resumed] == [line["train_loss"] for line in lines]
    measure, least = ("val_accuracy", 0.6) if name == "window-scorer" else ("val_f1", 0.8)
    assert lines[-1][measure] == resumed[-1][measure] > least


def test_the_taggers_f1_is_that_of_what_it_predicts_for_the_test_part(tmp_path, capsys):
    """Counted here from the brackets that `predict` writes. No word of the test part is known from it."""
    data, draw, text = tmp_path / "noisy.conll", Generator(1), ""
    for i, (kind, hidden) in enumerate(draw.integers(0, 3, (200, 2)).tolist()):
        tagged = sentence(kind, 2)
        text += f"w{i} O\n" + (tagged if hidden else tagged.replace("B-PER", "O").replace("I-PER", "O"))
    data.write_text(text)
    arguments = ["train", "tagger", "--data", str(data), "--out", str(tmp_path / "run"), *TINY, "--min-count", "1"]
    assert main([*arguments, "--steps", "40"]) == 0
    out, err = capsys.readouterr()
    assert "160 sentences, 20 for validation, 20 for the test; entities LOC, PER; a vocabulary of" in err
    assert "(F1 " in err
    sentences = read_conll(data)
    train, _, test = ([sentences[i] for i in part] for part in random_parts(200))
    known = load_checkpoint(tmp_path / "run")["vocabulary"]["words"]
    assert {word for word in known if word[0] == "w" and word[1:].isdigit()} == {s.tokens[0] for s in train}
    assert main(["predict", str(tmp_path / "run"), *(" ".join(s.tokens) for s in test)]) == 0
    found, correct, given = 0, 0, 0
    for line, s in zip(capsys.readouterr().out.splitlines(), test, strict=True):
        gold = bracketed(s.tokens, s.tags)
        mine, theirs = (set(text.replace("]", "[").split("[")[1::2]) for text in (line, gold))
        found, correct, given = found + len(mine), correct + len(mine & theirs), given + len(theirs)
        assert line.replace("[", "").replace(" PER]", "").replace(" LOC]", "") == " ".join(s.tokens)
    assert 0 < correct < given
    assert f"F1 {2 * correct / (found + given):.2%}" in out.split("test ")[1]


def test_teddy_is_judged_by_what_follows_with_both_directions_alone(data, tmp_path):
    doubts = {}
    for directions in (1, 2):
        train("tagger", tmp_path / str(directions), data, "--directions", directions, "--steps", 10)
        written = (tmp_path / str(directions) / "samples.txt").read_text()
        assert "Roosevelt" in written
        assert "bears are on sale !" in written
        doubts[directions] = [line for line in written.splitlines() if line.startswith("Teddy: ")]
    assert doubts[1][0] == doubts[1][1]
    assert doubts[2][0] != doubts[2][1]


def test_predict_reads_lines_and_leaves_empty_ones_empty(data, tmp_path, capsys, monkeypatch):
    train("window-classifier", tmp_path / "run", data, "--steps", 60)
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("we saw Ada Roe.\n\nAda bears.\n"))
    assert main(["predict", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == "we saw [Ada Roe PER] .\n\nAda bears .\n"
    train("window-scorer", tmp_path / "scorer", data, "--steps", 2)
    assert main(["predict", str(tmp_path / "scorer"), "Ada"]) == 2
    assert "holds a model 'window-scorer', which does not predict" in capsys.readouterr().err


def test_a_file_to_judge_by_is_not_trained_on(data, tmp_path):
    other = tmp_path / "other.conll"
    other.write_text(sentence(0, 0) * 7 + "new O\n")
    train("tagger", tmp_path / "run", data, "--test", other, "--steps", 2)
    text = json.loads((tmp_path / "run" / "config.json").read_text())["text"]
    assert (text["train"], text["val"], text["test"]) == (180, 20, 8)
    assert "new" not in load_checkpoint(tmp_path / "run")["vocabulary"]["words"]
    assert main(["train", "tagger", "--resume", str(tmp_path / "run"), "--steps", "3", "--quiet"]) == 0
    other.write_text(sentence(0, 0) * 6)
    assert main(["train", "tagger", "--resume", str(tmp_path / "run"), "--steps", "4", "--quiet"]) == 2


def test_part_h_of_the_tweets_is_the_test(monkeypatch, tmp_path):
    files = [tmp_path / file.path for file in CORPORA["btc"].files]
    for at, path in enumerate(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Ada{at} B-PER\nsaid O\n\n" * (5 + at))
    monkeypatch.setattr("tinygrad_nlp.train.examples.fetch", lambda name, **how: files)
    run = TaggerRun.__new__(TaggerRun)
    run.settings = TaggerRun.settings_class(data="btc")
    parts = run._parts()
    assert {s.tokens[0] for s in parts["test"]} == {"Ada5"}
    assert len(parts["test"]) == 10
    assert {s.tokens[0] for s in parts["train"]} == {f"Ada{i}" for i in range(5)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "absent.conll"], "cannot read"),
        (["--data", "few.conll"], "few.conll has 2 sentences; training takes 10 or more"),
        (["--data", "none.conll"], "none.conll has no entity: every tag is O"),
        (["--data", "short.conll"], "short.conll, line 2: 'alone' has 1 column; expected a token in column 0"),
        (["--data", "few.conll", "--test", "absent.conll"], "has 2 sentences"),
        (["--data", "many.conll", "--test", "absent.conll"], "cannot read"),
        (["--data", "folder"], "the folder folder has no files; expected tagged sentences"),
        (["--data", "subj"], "the corpus 'subj' has no tagged sentences; btc and wikigold have"),
        (["--cell", "crf"], "--cell: invalid choice: 'crf'"),
    ],
)
def test_a_mistake_gets_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "few.conll").write_text("a B-PER\n\nb O\n")
    (tmp_path / "many.conll").write_text("a B-PER\n\n" * 20)
    (tmp_path / "none.conll").write_text("a O\n\n" * 20)
    (tmp_path / "short.conll").write_text("a O\nalone\n")
    assert main(["train", "tagger", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert not (tmp_path / "runs").exists()


def test_every_word_has_a_shape():
    words = "Teddy NATO bears McCoy 1,250 , I éa É B2 b2 ( x1Y don't O'Neil".split()
    wanted = "Title UPPER lower mIxed digits marks Title lower Title Title lower marks mIxed lower mIxed".split()
    from tinygrad_nlp.text import SHAPES

    assert [SHAPES[word_shape(word)] for word in words] == wanted
