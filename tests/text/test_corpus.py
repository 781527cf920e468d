"""Corpora: the one that is always there, and what is wrong with a file, said in one sentence."""

import pytest
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import load_text


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
