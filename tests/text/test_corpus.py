"""Corpora: the one that is always there, and what is wrong with a file, said in one sentence."""

import hashlib
import zipfile

import pytest
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import CORPORA, Corpus, load_text, names_text
from tinygrad_nlp.text.download import Source


def test_the_default_text_is_several_hundred_kb_of_english_and_always_the_same():
    text = load_text()
    assert text == load_text()
    assert len(text.encode()) > 300_000
    assert 'The "assert" statement' in text[:100]


def test_a_file_is_read_as_it_is_but_for_its_byte_order_mark_and_line_ends(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfna\xc3\xafve\r\nline\rend\n")
    assert load_text(path) == load_text(str(path)) == "naïve\nline\nend\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"caf\xe9 au lait", "is not UTF-8: byte 0xe9 at offset 3 "),
        (b"ok " * 1000 + b"\xff", "is not UTF-8: byte 0xff at offset 3,000 "),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.txt") as refusal:
        load_text(path)
    assert message in str(refusal.value)


def test_a_path_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.txt.*No such file"):
        load_text(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="directory"):
        load_text(tmp_path)


def test_a_path_that_does_not_exist_may_be_meant_for_a_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no corpus has this name; did you mean gutenberg\? `tinygrad-nlp data list`"):
        load_text("gutenburg")
    with pytest.raises(UserError, match=r"no corpus has this name; `tinygrad-nlp data list`"):
        load_text("qqq.txt")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A plain-text corpus `tiny` in the folder of TINYGRAD_NLP_DATA; the working directory is another."""
    folder, here = tmp_path / "mirror", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("TINYGRAD_NLP_DATA", str(folder))
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.writestr("c/2.txt", b"two\r\n")
        archive.writestr("c/1.txt", b"\n\none\n\n")
        archive.writestr("c/README", b"not a text")
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbfna\xc3\xafve\n")
    (folder / "a.txt").write_bytes(b"caf\xe9")
    sources = [
        Source(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), "http://127.0.0.1:9")
        for path in (folder / name for name in ("c.zip", "b.txt", "a.txt"))
    ]
    monkeypatch.setitem(CORPORA, "tiny", Corpus("tiny", "", "plain text", "", tuple(sources)))
    monkeypatch.setitem(CORPORA, "tags", Corpus("tags", "", "token and tag columns", "", tuple(sources)))
    return here


def test_a_corpus_is_its_files_in_the_order_of_their_names(corpus):
    assert names_text("tiny")
    assert load_text("tiny") == "café\n\nnaïve\n\none\n\ntwo\n"


def test_a_path_that_exists_wins_over_a_name(corpus):
    (corpus / "tiny").write_text("mine")
    (corpus / "tags").write_text("mine too")
    assert not names_text("tiny")
    assert load_text("tiny") == "mine"
    assert load_text("tags") == "mine too"


def test_a_corpus_that_is_no_text_is_refused_and_texts_are_named(corpus):
    with pytest.raises(UserError, match=r"the corpus 'tags' is no plain text \(token and tag columns\); .* gutenberg"):
        load_text("tags")


@pytest.mark.parametrize(("name", "beginning", "length"), [
    ("gutenberg", "[Emma by Jane Austen 1816]", 7_400_000),
    ("state_union", "PRESIDENT HARRY S. TRUMAN'S ADDRESS", 2_000_000),
    ("inaugural", "Fellow-Citizens of the Senate", 790_000),
    ("nottingham", "X: 1\nT:A and A's Waltz", 430_000),
])  # fmt: skip
def test_the_real_texts(real_data, name, beginning, length):
    text = load_text(name)
    assert text.lstrip().startswith(beginning)
    assert length < len(text) < 1.1 * length
    assert "\r" not in text
    assert "\ufffd" not in text
