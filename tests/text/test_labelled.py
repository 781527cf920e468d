"""Labelled texts: what a line means, which line is wrong, and the real corpora counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import fetch, read_categories, read_labelled


def written(path, content):
    path.write_bytes(content)
    return path


def test_a_line_is_a_label_and_a_text(tmp_path):
    path = written(tmp_path / "x.all", b"1 caf\xe9 \x85 au lait \r\n0 two words\n\n1 \n10 last, no line end")
    labelled = read_labelled(path)
    assert labelled.texts == ("café \x85 au lait", "two words", "", "last, no line end")
    assert labelled.classes == ("0", "1", "10")
    assert labelled.targets.tolist() == [1, 0, 1, 2]
    assert labelled.targets.dtype == np.int64
    assert len(labelled) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))))
def test_what_was_written_is_read(tmp_path_factory, rows):
    rows = [(label, text.strip(" \t")) for label, text in rows]
    content = "".join(f"{label} {text}\n" for label, text in rows)
    path = written(tmp_path_factory.mktemp("labelled") / "x", content.encode("latin-1"))
    if not rows:
        with pytest.raises(UserError, match="holds no text"):
            read_labelled(path)
        return
    labelled = read_labelled(path)
    got = [(labelled.classes[y], x) for y, x in zip(labelled.targets, labelled.texts, strict=True)]
    assert got == rows


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"0 fine\n\nlabel\n", r"x\.all, line 3: 'label' is not a label, a space and a text"),
        (b"0 fine\n text\n", r"x\.all, line 2: ' text' is not a label"),
        (b"", r"x\.all holds no text"),
        (b"\n \n", r"x\.all holds no text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, content, sentence):
    with pytest.raises(UserError, match=sentence):
        read_labelled(written(tmp_path / "x.all", content))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nowhere: No such file"):
        read_labelled(tmp_path / "nowhere")
    path = written(tmp_path / "x", b"0 fine\n0 caf\xe9\n")
    with pytest.raises(UserError, match=r"x, line 2: byte 0xe9 is not utf-8; name the file's encoding"):
        read_labelled(path, encoding="utf-8")


def test_a_class_is_a_file(tmp_path):
    paths = [written(tmp_path / "B.txt", "Zoë\n\n Ann \n".encode()), written(tmp_path / "A.txt", b"Li")]
    names = read_categories(paths)
    assert names.texts == ("Zoë", "Ann", "Li")
    assert names.targets.tolist() == [0, 0, 1]
    assert names.classes == ("B", "A")


def test_an_empty_class_is_named(tmp_path):
    full, empty = written(tmp_path / "A.txt", b"Li\n"), written(tmp_path / "B.txt", b"\n \n")
    with pytest.raises(UserError, match=r"B\.txt holds no text: the class 'B' is empty; leave the file out"):
        read_categories([full, empty])
    with pytest.raises(UserError, match="are both the class 'A'"):
        read_categories([full, full])
    with pytest.raises(UserError, match="needs at least one file"):
        read_categories([])


@pytest.mark.parametrize(("name", "counts", "empty"), [("subj", [5000, 5000], 0), ("custrev", [1368, 2407], 4)])
def test_the_real_sentences(real_data, name, counts, empty):
    labelled = read_labelled(*fetch(name))
    assert np.bincount(labelled.targets).tolist() == counts
    assert labelled.classes == ("0", "1")
    assert sum(not text for text in labelled.texts) == empty


def test_the_real_names(real_data):
    names = read_categories(fetch("names"))
    assert len(names.classes) == 18
    assert len(names) == 20_050
    assert names.classes[int(names.targets[names.texts.index("Abbà")])] == "Italian"
    assert all(name == name.strip() for name in names.texts)
