"""The registry: where a corpus is looked for, that its content is checked everywhere, and what names are refused."""

import re

import pytest
from nlp_kernels.errors import UserError
from serving import BODY, serving, source

from tinygrad_nlp.text import CORPORA, Corpus, fetch
from tinygrad_nlp.text.registry import data_cache, whereabouts


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A corpus of two files whose sources are a server here; (its name, the log of the server)."""
    monkeypatch.setenv("TINYGRAD_NLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGRAD_NLP_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as (address, asked):
        files = source(f"{address}/good", "tiny/b.txt"), source(f"{address}/good", "tiny/a.txt")
        monkeypatch.setitem(CORPORA, "tiny", Corpus("tiny", "two files", "plain text", "none", files))
        yield "tiny", asked


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "mirror"
    (path / "tiny").mkdir(parents=True)
    monkeypatch.setenv("TINYGRAD_NLP_DATA", str(path))
    return path


def test_every_entry_has_a_source_pinned_to_a_commit_and_a_hash():
    assert len(CORPORA) == 14
    for corpus in CORPORA.values():
        assert corpus.files
        assert corpus.licence
        for file in corpus.files:
            assert re.fullmatch(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/.+", file.url)
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.size > 0
            assert ".." not in file.path
            assert not file.path.startswith("/")
    paths = [file.path for corpus in CORPORA.values() for file in corpus.files]
    assert len(set(paths)) == len(paths) == 70


def test_a_corpus_is_downloaded_once_and_kept_in_the_cache(tiny, tmp_path):
    name, asked = tiny
    paths = fetch(name)
    assert paths == [tmp_path / "cache" / "data" / "tiny" / "b.txt", tmp_path / "cache" / "data" / "tiny" / "a.txt"]
    assert [path.read_bytes() for path in paths] == [BODY, BODY]
    assert fetch(name) == paths
    assert asked == ["good", "good"]


def test_a_damaged_file_of_the_cache_is_downloaded_again(tiny):
    name, asked = tiny
    _, second = fetch(name)
    second.write_bytes(BODY[:-1] + b"x")
    fetch(name)
    assert second.read_bytes() == BODY
    assert len(asked) == 3


def test_the_folder_comes_first_and_is_only_read(tiny, folder):
    name, asked = tiny
    (folder / "tiny" / "a.txt").write_bytes(BODY)
    first, second = fetch(name)
    assert first == data_cache() / "tiny" / "b.txt"  # the folder lacks it
    assert second == folder / "tiny" / "a.txt"
    assert len(asked) == 1
    assert [p.name for p in folder.rglob("*")] == ["tiny", "a.txt"]


def test_a_wrong_file_in_the_folder_is_named_and_not_replaced(tiny, folder):
    path = folder / "tiny" / "b.txt"
    path.write_bytes(b"something else")
    with pytest.raises(
        UserError, match=f"^{path} is not the file of 'tiny': its SHA-256 is .* unset TINYGRAD_NLP_DATA"
    ):
        fetch("tiny")
    assert path.read_bytes() == b"something else"
    assert tiny[1] == []


def test_a_folder_that_is_none_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_NLP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"TINYGRAD_NLP_DATA names '.*nowhere', which is no folder"):
        fetch("tiny")


def test_a_failed_download_tells_of_the_folder_too(tiny, monkeypatch):
    (good, _), url = CORPORA["tiny"].files, "http://127.0.0.1:9/x"
    files = good, source(url, "tiny/a.txt")
    monkeypatch.setitem(CORPORA, "tiny", Corpus("tiny", "two files", "plain text", "none", files))
    with pytest.raises(UserError) as refusal:
        fetch("tiny")
    for words in (url, str(data_cache() / "tiny" / "a.txt"), "TINYGRAD_NLP_DATA"):
        assert words in str(refusal.value)
    assert (data_cache() / "tiny" / "b.txt").read_bytes() == BODY  # what came before it stays
    assert len(list(data_cache().rglob("*.*"))) == 1


def test_an_unknown_name_gets_the_nearest_and_all():
    with pytest.raises(
        UserError, match=r"unknown corpus 'gutenburg'; did you mean gutenberg\? there is gutenberg, state"
    ):
        fetch("gutenburg")
    with pytest.raises(UserError, match=r"unknown corpus 'qqq'; there is gutenberg, .*, word-similarity$"):
        fetch("qqq")


def test_whereabouts(tiny, folder):
    corpus = CORPORA["tiny"]
    assert whereabouts(corpus) == ""
    fetch("tiny")
    assert whereabouts(corpus) == "cache"
    (folder / "tiny" / "a.txt").write_bytes(BODY)
    assert whereabouts(corpus) == "cache"
    (folder / "tiny" / "b.txt").write_bytes(BODY)
    assert whereabouts(corpus) == "folder"
    (data_cache() / "tiny" / "a.txt").unlink()
    (folder / "tiny" / "a.txt").write_bytes(BODY[1:])
    assert whereabouts(corpus) == ""


@pytest.mark.parametrize("name", CORPORA)
def test_the_real_files_are_those_of_the_registry(name, real_data):
    paths = fetch(name)
    assert [path.relative_to(real_data).as_posix() for path in paths] == [file.path for file in CORPORA[name].files]
