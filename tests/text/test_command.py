"""`tinygrad-nlp data`, and training on a corpus by its name."""

import hashlib
import json

import pytest

from tinygrad_nlp.cli import main
from tinygrad_nlp.text import CORPORA, Corpus
from tinygrad_nlp.text.command import megabytes
from tinygrad_nlp.text.download import Source
from tinygrad_nlp.text.registry import data_cache

TINY = "--layers 1 --heads 1 --width 8 --block-size 8 --batch-size 2 --warmup 1 --eval-every 2".split()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A corpus of one text in the folder of TINYGRAD_NLP_DATA, the only one that is here."""
    raw = b"abcdefgh " * 40
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "tiny.txt").write_bytes(raw)
    source = Source("tiny.txt", len(raw), hashlib.sha256(raw).hexdigest(), "http://127.0.0.1:9/tiny.txt")
    monkeypatch.setitem(CORPORA, "tiny", Corpus("tiny", "a tiny text", "plain text", "nobody's", (source,)))
    monkeypatch.setenv("TINYGRAD_NLP_DATA", str(tmp_path / "mirror"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mirror" / "tiny.txt"


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """Not for what computes: compiled kernels lie in the cache too."""
    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path / "cache"))


def test_the_list_has_each_corpus_and_where_it_is(capsys, monkeypatch, tiny, empty_cache):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["data", "list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    for name, corpus in CORPORA.items():
        assert rows[name][-1] == ("folder" if name == "tiny" else "no")
        assert corpus.licence.split()[0] in rows[name]
        assert " ".join(megabytes(corpus.size).split()) in " ".join(rows[name])
    assert "--data NAME`: gutenberg, state_union, inaugural, nottingham, tiny\n" in out
    assert f"folder: {tiny.parent} (TINYGRAD_NLP_DATA)\ncache: {data_cache()}\n" in out


def test_a_narrow_terminal_gets_whole_words(capsys, monkeypatch, tiny, empty_cache):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["data", "list"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table.replace("Shakespeare, …", "")


def test_fetch_says_where_the_files_are(capsys, tiny):
    assert main(["data", "fetch", "tiny", "tiny"]) == 0
    assert capsys.readouterr() == (f"tiny: {tiny}\n", "")
    assert main(["data", "fetch", "tiny", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_fetch_checks_what_is_here(capsys, tiny):
    tiny.write_bytes(b"something else")
    assert main(["data", "fetch", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tinygrad-nlp: {tiny} is not the file of 'tiny'")


def test_fetch_all(capsys, real_data):
    assert main(["data", "fetch", "--all"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(":")[0] for line in out.splitlines()] == list(CORPORA)
    assert f"gutenberg: 17 files in {real_data / 'gutenberg'}" in out


def test_sizes():
    assert [megabytes(n) for n in (19_234, 999_000, 1_000_000, 7_449_000)] == ["19 kB", "999 kB", "1.0 MB", "7.4 MB"]


def test_a_model_is_trained_on_a_corpus_by_name_and_goes_on_elsewhere(capsys, monkeypatch, tiny, tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    assert main(["train", "gpt", "--data", "tiny", *TINY, "--steps", "2", "--out", str(run)]) == 0
    assert "text: tiny, 361 characters, 10 different ones" in capsys.readouterr().err
    about = json.loads((run / "config.json").read_text())
    assert about["settings"]["data"] == "tiny"
    assert about["text"]["sha256"] == hashlib.sha256(tiny.read_bytes() + b"\n").hexdigest()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["train", "gpt", "--resume", str(run), "--steps", "4", "--quiet"]) == 0
    (elsewhere / "tiny").write_text("another text of this name " * 20)
    assert main(["train", "gpt", "--resume", str(run), "--steps", "6", "--quiet"]) == 2
    assert "tiny is not the text that" in capsys.readouterr().err
