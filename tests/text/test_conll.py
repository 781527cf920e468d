"""CoNLL columns: sentences, schemes, odd tokens, and the exact line of a mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlp_kernels.errors import UserError

from tinygrad_nlp.text import TaggedSentence, fetch, read_conll, spans, to_bio


def written(path, content):
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_sentences_are_between_blank_lines(tmp_path):
    path = written(
        tmp_path / "x.conll",
        "-DOCSTART- O\n\nAda I-PER\r\nLovelace I-PER\n  \n\nin O\nParis I-LOC\n-DOCSTART- -X- O\nx O",
    )
    assert read_conll(path) == [
        TaggedSentence(("Ada", "Lovelace"), ("B-PER", "I-PER")),
        TaggedSentence(("in", "Paris"), ("O", "B-LOC")),
        TaggedSentence(("x",), ("O",)),
    ]


def test_a_line_with_a_tab_is_cut_at_tabs_alone(tmp_path):
    path = written(tmp_path / "x", "New York\tB-LOC\n\tO\n \tO\na\u2028b\tO\n\x85\tO\n")
    assert read_conll(path)[0].tokens == ("New York", "", " ", "a\u2028b", "\x85")


def test_any_columns(tmp_path):
    path = written(tmp_path / "x", "EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n")
    assert read_conll(path)[0].tags == ("B-ORG", "O")
    assert read_conll(path, tag=2)[0].tags == ("B-NP", "B-VP")
    assert read_conll(path, token=1)[0].tokens == ("NNP", "VBZ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a O\nb\n", r"x\.conll, line 2: 'b' has 1 column; expected a token in column 0 and a tag in -1"),
        ("a O\n\n\nb PER\n", r"x\.conll, line 4: 'PER' is no tag; expected O, B-KIND or I-KIND in column -1"),
        ("a O\r\nb\tO\tE-PER\n", r"x\.conll, line 2: 'E-PER' is no tag"),
        ("a\t\n", r"x\.conll, line 1: '' is no tag"),
        ("", r"x\.conll holds no sentence"),
        ("\n-DOCSTART- O\n\n", r"x\.conll holds no sentence"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, content, sentence):
    with pytest.raises(UserError, match=sentence):
        read_conll(written(tmp_path / "x.conll", content))


@pytest.mark.parametrize("columns", [{"tag": 2}, {"token": 5}, {"tag": -3}])
def test_a_column_that_is_not_there_is_named(tmp_path, columns):
    with pytest.raises(UserError, match=r"x, line 1: 'a O' has 2 columns; expected a token in column"):
        read_conll(written(tmp_path / "x", "a O\n"), **columns)


def test_bytes_that_are_not_of_the_encoding_are_named(tmp_path):
    (tmp_path / "x").write_bytes(b"a O\ncaf\xe9 O\n")
    with pytest.raises(UserError, match=r"x, line 2: byte 0xe9 is not utf-8"):
        read_conll(tmp_path / "x")
    assert read_conll(tmp_path / "x", encoding="latin-1")[0].tokens == ("a", "café")


def test_a_sentence_has_a_tag_for_each_token():
    with pytest.raises(UserError, match="2 tokens has 1 tags"):
        TaggedSentence(("a", "b"), ("O",))


token = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), min_size=1)
row = st.tuples(token, st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]))


@given(st.lists(st.lists(row, min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_was_written_is_read(tmp_path_factory, sentences):
    text = "\n\n".join("\n".join(f"_{word}\t{tag}" for word, tag in rows) for rows in sentences)
    got = read_conll(written(tmp_path_factory.mktemp("conll") / "x", text))
    assert [s.tokens for s in got] == [tuple("_" + word for word, _ in rows) for rows in sentences]
    assert [list(s.tags) for s in got] == [to_bio([tag for _, tag in rows]) for rows in sentences]


def test_the_real_entities(real_data):
    wikigold = read_conll(*fetch("wikigold"))
    assert len(wikigold) == 1696
    assert sum(len(s.tokens) for s in wikigold) == 39_007
    kinds = {kind for s in wikigold for _, _, kind in spans(s.tags)}
    assert kinds == {"PER", "LOC", "ORG", "MISC"}
    btc = [s for path in fetch("btc") for s in read_conll(path)]
    starts = sum(tag.startswith("B-") for s in btc for tag in s.tags)
    assert starts == sum(len(spans(s.tags)) for s in btc)
    assert starts >= 2822 + 4135 + 7928
    assert sum(len(s.tokens) for s in btc) == 150_387
