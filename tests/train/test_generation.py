"""Training a generator of names: resumed runs bit for bit, judged by names kept apart, names asked for, refusals."""

import json
import re

import numpy as np
import pytest
import resumption

from tinygrad_nlp.cli import main
from tinygrad_nlp.models import find
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import random_parts, read_categories
from tinygrad_nlp.train.checkpoint import load_checkpoint, restore
from tinygrad_nlp.train.progress import in_bits
from tinygrad_nlp.train.run import SAMPLE_STREAM

TINY = "--width 8 --hidden 16 --batch-size 8 --warmup 2 --decay-steps 60 --eval-every 10 --lr 0.02".split()
LETTERS = {"Elf": "aei", "Gnome": "gno", "Troll": "trolx"}  # an o in two of them


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Names of one to six letters, 240 in all; many occur more than once. An X is in one to train on, one to test."""
    folder, draw = tmp_path_factory.mktemp("data") / "folk", Generator(0)
    folder.mkdir()
    train_part, _, test = random_parts(240)
    number = 0
    for (category, letters), n in zip(LETTERS.items(), (60, 80, 100), strict=True):
        sizes = draw.integers(1, 7, (n,)).tolist()
        names = ["".join(letters[i] for i in draw.integers(0, len(letters), (size,))) for size in sizes]
        names = [name + "X" * (number + i in (train_part[9], test[9])) for i, name in enumerate(names)]
        (folder / f"{category}.txt").write_text("\n".join(names) + "\n")
        number += n
    (folder / ".hidden").write_text("no category\n")
    return folder


def run(command, *arguments):
    assert main([command, *map(str, arguments)]) == 0


def train(folder, data, *arguments):
    return resumption.trained("name-generator", "--data", data, "--out", folder, *TINY, *arguments)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(folder, data, "--steps", 150, "--decay-steps", 150)
    return folder


def restored(folder):
    return restore(load_checkpoint(folder), folder, *find("name-generator")[:2])


def decoded(folder, ids):
    words = load_checkpoint(folder)["vocabulary"]["words"]
    return ["".join(words[i - 4] for i in name) for name in ids]


def refused(capsys, *arguments):
    """The one sentence of a refusal."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("cut", [10, 31])  # an epoch has 24 batches
def test_n_steps_and_the_rest_are_the_run_that_never_stopped(data, tmp_path, cell, cut):
    more = ["--cell", cell, "--layers", 2]
    whole, lines = train(tmp_path / "whole", data, *more, "--steps", 40)
    train(tmp_path / "cut", data, *more, "--steps", cut)
    again, resumed = resumption.trained("name-generator", "--resume", tmp_path / "cut", "--steps", 40)
    resumption.assert_same_run(again, whole, "vocabulary", "categories")
    assert [line["train_loss"] for line in resumed] == [line["train_loss"] for line in lines]
    assert (tmp_path / "cut" / "samples.txt").read_text() == (tmp_path / "whole" / "samples.txt").read_text()


def test_a_name_moved_to_another_category_makes_other_data(data, tmp_path, capsys):
    folder = tmp_path / "folk"
    folder.mkdir()
    texts = {category: (data / f"{category}.txt").read_text() for category in LETTERS}
    for category, content in texts.items():
        (folder / f"{category}.txt").write_text(content)
    train(tmp_path / "run", folder, "--steps", 2)
    first, rest = texts["Gnome"].split("\n", 1)  # the bytes of all files together stay the same
    (folder / "Elf.txt").write_text(f"{texts['Elf']}{first}\n")
    (folder / "Gnome.txt").write_text(rest)
    capsys.readouterr()
    sentence = refused(capsys, "train", "name-generator", "--resume", tmp_path / "run", "--steps", 4, "--quiet")
    assert "folk is not the text that" in sentence


def test_what_it_says_at_the_end_is_true(data, tmp_path, capsys):
    """Every number again, from the checkpoint and the files, a name at a time."""
    run("train", "name-generator", "--data", data, *TINY, "--steps", 30, "--out", tmp_path / "run")
    out, err = capsys.readouterr()
    assert "192 names, 24 for validation, 24 for the test; 3 categories, 14 different characters" in err
    state = load_checkpoint(tmp_path / "run")
    model, vocabulary = restored(tmp_path / "run"), state["vocabulary"]["words"]
    assert set(vocabulary) == set("aeigntrolx")  # X is seen once
    names = read_categories([data / f"{category}.txt" for category in LETTERS])
    train_part, val, test = random_parts(240)

    def log_p(i, k):
        ids = [4 + vocabulary.index(c) if c in vocabulary else 1 for c in names.texts[i]]
        return float(model.score(np.array([[*ids, 3]]).T, [len(ids) + 1], [k]).item())

    def bits(part, log_p_of):
        return in_bits(-sum(log_p_of(i) for i in part) / sum(len(names.texts[i]) + 1 for i in part))

    prior = (np.bincount(names.targets[train_part]) + 1) / (192 + 3)
    joint = {i: np.log(prior) + [log_p(i, k) for k in range(3)] for i in test}
    known = {names.texts[i] for i in train_part}
    new = [i for i in test if names.texts[i] not in known]
    right, always = np.mean([joint[i].argmax() == names.targets[i] for i in test]), np.mean(names.targets[test] == 2)
    expected = {
        "validation": [bits(val, lambda i: log_p(i, names.targets[i])), 24],
        "test": [bits(test, lambda i: log_p(i, names.targets[i])), 24],
        "new names": [bits(new, lambda i: log_p(i, names.targets[i])), len(new)],
        "category": [bits(test, lambda i: np.logaddexp.reduce(joint[i]))],
    }
    for title, (number, *count) in expected.items():
        line = re.search(rf"^{title} +(.*)$", out, flags=re.MULTILINE)[1]
        nats, said = map(float, re.search(r"([\d.]+) nats = ([\d.]+) bits per character", line).groups())
        assert (said, in_bits(nats)) == pytest.approx((number, number), abs=2e-4), title
        assert not count or f"({count[0]} " in line
    characters = sum(len(names.texts[i]) + 1 for i in test)
    saved = (expected["category"][0] - expected["test"][0]) * characters / 24
    assert float(re.search(r"saves ([-\d.]+) bits a name", out)[1]) == pytest.approx(saved, abs=0.01)
    assert 0 < len(new) < 24
    assert f"of {right:.2%} of the test part (Troll always: {always:.2%})" in out
    assert right > always


def test_samples_are_of_their_category_and_some_are_shown(trained, data, tmp_path, capsys):
    lines = (trained / "samples.txt").read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(LETTERS)
    written = [(category, names.split(", ")) for category, names in (line.split(": ") for line in lines)]
    assert [len(names) for _, names in written] == [5, 5, 5]
    assert sum(set(name) <= set(LETTERS[category]) for category, names in written for name in names) >= 12, lines
    assert json.loads((trained / "config.json").read_text())["text"]["test"] == 24
    generator = Generator(1337)
    generator.state = (1337, SAMPLE_STREAM)
    ids = restored(trained).generate(np.repeat([0, 1, 2], 5), 40, temperature=0.8, generator=generator)
    assert [name for _, names in written for name in names] == decoded(trained, ids)
    run("train", "name-generator", "--data", data, *TINY, "--steps", 2, "--out", tmp_path / "r")
    out, _ = capsys.readouterr()
    assert (tmp_path / "r" / "samples.txt").read_text() in out
    assert re.search(r"generate \S+ --category Troll\n", out)


def test_names_are_written_as_asked(trained, capsys):
    texts = []
    for seed in ("1", "1", "2"):
        run("generate", trained, "--category", "Troll", "-n", 20, "--seed", seed)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    names = texts[0].splitlines()
    assert len(names) == 20
    assert sum(set(name) <= set(LETTERS["Troll"]) for name in names) >= 15
    run("generate", trained, "--category", "Elf", "--prompt", "ia", "--number", 9, "--length", 3)
    names = capsys.readouterr().out.splitlines()
    prompt = [4 + load_checkpoint(trained)["vocabulary"]["words"].index(c) for c in "ia"]
    drawn = restored(trained).generate([0] * 9, 3, prompt=prompt, temperature=0.8, generator=Generator(0))
    assert names == [f"ia{rest}" for rest in decoded(trained, drawn)]
    assert {5} < {len(name) for name in names} <= {2, 3, 4, 5}
    run("generate", trained, "--category", "Elf", "--prompt", "Ünique")  # characters never seen are <unk> to it
    assert capsys.readouterr().out.startswith("Ünique")
    run("generate", trained, "--category", "Gnome", "--temperature", 0)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name-generator writes names of a category; choose one with --category: Elf, Gnome, Troll"),
        (["--prompt", "a"], "choose one with --category: Elf, Gnome, Troll"),
        (["--category", "gnom"], "unknown category 'gnom'; did you mean Gnome?"),
        (["--category", "Orc"], "unknown category 'Orc'; there is Elf, Gnome, Troll"),
        (["--category", "Elf", "-n", "0"], "-n/--number: expected a whole number of at least 1, not '0'"),
        (["--category", "Elf", "--numbr", "2"], "unknown option '--numbr'; did you mean --number?"),
    ],
)
def test_what_cannot_be_written_is_refused(trained, capsys, arguments, sentence):
    assert sentence in refused(capsys, "generate", trained, *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "absent"], "there is no folder absent, and no corpus of categories has this name; there is names"),
        (["--data", "nams"], "there is no folder nams, and no corpus of categories has this name; did you mean names?"),
        (["--data", "some.txt"], "some.txt is no folder; expected a folder with a file for each category"),
        (["--data", "empty"], "the folder empty has no files; expected files of categories"),
        (["--data", "hollow"], "Orc.txt holds no text: the class 'Orc' is empty; leave the file out"),
        (["--data", "twice"], "are both the class 'Elf'; rename one"),
        (["--data", "few"], "few has 3 names; training takes 10 or more"),
        (["--data", "bytes"], "Elf.txt, line 2: byte 0xe9 is not utf-8"),
        (["--data", "gutenberg"], "the corpus 'gutenberg' has no files of categories; names have"),
        (["--cell", "none"], "--cell: invalid choice: 'none'"),
        (["--min-count", "99", "--data", "one"], "no character is there 99 times; choose a smaller --min-count"),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.txt").write_text("a\n" * 20)
    folders = {
        "empty": {},
        "hollow": {"Elf": b"a\n" * 20, "Orc": b" \n\n"},
        "twice": {"Elf": b"a\n" * 20, "Elf.md": b"a\n"},
        "few": {"Elf": b"a\nb\n", "Orc": b"c\n"},
        "bytes": {"Elf": b"a\ncaf\xe9\n"},
        "one": {"Elf": b"a\n" * 20},
    }
    for folder, files in folders.items():
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            (tmp_path / folder / (name if "." in name else f"{name}.txt")).write_bytes(content)
    assert sentence in refused(capsys, "train", "name-generator", *arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("alone", [True, False])
def test_odd_folders_train(tmp_path, capsys, alone):
    """One category; or one whose only name is in no training part, and a test part without a new name."""
    folder = tmp_path / "folder"
    folder.mkdir()
    at = int(random_parts(30)[2][0])
    names = ["a"] * 30
    (folder / "b.txt").write_text("\n".join(names if alone else names[: 30 - at - 1]))
    if not alone:
        (folder / "Once.txt").write_text("a")
        (folder / "A.txt").write_text("\n".join(["a"] * at))
    run("train", "name-generator", "--data", folder, *TINY, "--steps", 3, "--out", tmp_path / "r")
    out, _ = capsys.readouterr()
    assert "all of the test part are in the training part too" in out
    assert "nan" not in out
