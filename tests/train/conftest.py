"""What runs of every model read, little of it."""

import pytest
from small_runs import WORDS

from tinygrad_nlp.random import Generator


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A text, and a folder or file for each other kind of model."""
    folder, draw = tmp_path_factory.mktemp("data"), Generator(0)
    drawn = [WORDS[i] for i in draw.integers(0, len(WORDS), (160,))]
    (folder / "text").write_text(" ".join(drawn))
    reviews = (f"{i % 2} {word} {('bad', 'good')[i % 2]}\n" for i, word in enumerate(drawn[:30]))
    (folder / "labelled").write_text("".join(reviews))
    (folder / "columns").write_text("".join(f"{w} O\nAda B-PER\nRoe I-PER\n\n" for w in drawn[:30]))
    (folder / "names").mkdir()
    for category, letters in {"Elf": "aei", "Troll": "trolx"}.items():
        names = ("".join(letters[i] for i in draw.integers(0, 3, (3,))) for _ in range(20))
        (folder / "names" / f"{category}.txt").write_text("\n".join(names) + "\n")
    return folder
