"""The corpora that can be had by name: each file with its size, SHA-256, licence and a source pinned to a commit."""

from __future__ import annotations

import csv
import difflib
import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from nlp_kernels.cache import cache_home
from nlp_kernels.errors import UserError

from tinygrad_nlp.text.download import Source, download

MIRROR = "TINYGRAD_NLP_DATA"  # the variable that names a folder with the same files, used instead of the network
PLAIN, LABELLED, COLUMNS, CATEGORIES = "plain text", "labelled sentences", "token and tag columns", "a file a category"

_ABOUT = {  # name: what it is, how its files are laid out
    "gutenberg": ("17 books: Austen, Carroll, Melville, Shakespeare, …", PLAIN),
    "state_union": ("US State of the Union addresses, 1945 – 2006", PLAIN),
    "inaugural": ("US inaugural addresses, 1789 – 2021", PLAIN),
    "nottingham": ("folk tunes in ABC notation", PLAIN),
    "names": ("surnames of 18 languages", CATEGORIES),
    "subj": ("10,000 sentences, subjective (0) or objective (1)", LABELLED),
    "custrev": ("3,775 sentences of reviews, bad (0) or good (1)", LABELLED),
    "btc": ("named entities in tweets; part h is the test", COLUMNS),
    "wikigold": ("named entities in 1,696 sentences of Wikipedia", COLUMNS),
    "tatoeba-fra-eng": ("142,787 English – French sentence pairs", "pairs, tab-separated, in a zip"),
    "ud-french-sequoia": ("French treebank, Universal Dependencies", "CoNLL-U"),
    "ud-english-partut": ("English treebank, Universal Dependencies", "CoNLL-U"),
    "dna-promoters": ("106 DNA sequences, promoter or not", "comma-separated"),
    "word-similarity": ("word pairs as people judge them: RG-65, SimLex-999", "tab-separated"),
}
_TEST = {"btc": "ner/btc/h.conll"}


@dataclass(frozen=True)
class Corpus:
    """A named set of files, and what they are.

    >>> text.CORPORA["subj"].licence, text.CORPORA["subj"].size
    ('research use', 1320246)
    """

    name: str
    what: str
    format: str
    licence: str
    files: tuple[Source, ...]
    test_file: str | None = None  # the one that others judge by, where there is such

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def _corpora() -> dict[str, Corpus]:
    table = files("tinygrad_nlp.text").joinpath("corpora.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines(), delimiter="\t"))
    found = {}
    for name, (what, layout) in _ABOUT.items():
        mine = [row for row in rows if row["corpus"] == name]
        sources = tuple(Source(row["file"], int(row["bytes"]), row["sha256"], row["source"]) for row in mine)
        found[name] = Corpus(name, what, layout, mine[0]["licence"], sources, _TEST.get(name))
    return found


CORPORA = _corpora()


def fetch(name: str, *, quiet: bool = False) -> list[Path]:
    """The files of a corpus, in the registry's order, each with the SHA-256 that the registry says.  name -> paths

    Looked for in the folder that `TINYGRAD_NLP_DATA` names, then in the cache (in the folder that `TINYGRAD_NLP_CACHE`
    names, else in the user's), and downloaded to the cache where they are in neither; a damaged file of the cache is
    downloaded again. A bar shows the download on a terminal unless `quiet`. Raises UserError for an unknown name, for a
    file of the folder whose content is another, and where a download fails.

    >>> [path.name for path in text.fetch("wikigold")]
    ['wikigold.conll.txt']
    """
    corpus, folder = find(name), mirror_folder()
    mirrored = {file: path for file in corpus.files if (path := _mirrored(file, folder, name))}
    cached = {file: data_cache() / file.path for file in corpus.files if file not in mirrored}
    missing = [file for file, path in cached.items() if not path.is_file() or _digest(path) != file.sha256]
    try:
        download(missing, data_cache(), name, quiet=quiet)
    except UserError as error:
        raise UserError(f"{error}; the files of {name!r} may also lie in a folder that {MIRROR} names") from error
    return [(mirrored | cached)[file] for file in corpus.files]


def find(name: str) -> Corpus:
    """The entry of a corpus; UserError for an unknown name, with the nearest and all that there are."""
    if name not in CORPORA:
        near = difflib.get_close_matches(str(name), CORPORA, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"unknown corpus {name!r}; {guess}there is {', '.join(CORPORA)}")
    return CORPORA[name]


def whereabouts(corpus: Corpus) -> str:
    """Where its files are, by name and size only: the `folder` of TINYGRAD_NLP_DATA, the `cache`, or '' for neither."""
    places = {"folder": mirror_folder(), "cache": data_cache()}
    each = [_first(places, file) for file in corpus.files]
    return "" if None in each else "cache" if "cache" in each else "folder"


def data_cache() -> Path:
    """Where downloads are kept; it need not exist yet."""
    return cache_home() / "data"


def mirror_folder() -> Path | None:
    """The folder that `TINYGRAD_NLP_DATA` names; UserError where it is none."""
    if not (named := os.environ.get(MIRROR)):
        return None
    if not Path(named).is_dir():
        raise UserError(f"{MIRROR} names {named!r}, which is no folder; name one with the corpora in it, or unset it")
    return Path(named)


def _mirrored(file: Source, folder: Path | None, name: str) -> Path | None:
    if folder is None or not (path := folder / file.path).is_file():
        return None
    if (digest := _digest(path)) != file.sha256:
        raise UserError(
            f"{path} is not the file of {name!r}: its SHA-256 is {digest[:12]}…, not {file.sha256[:12]}…; "
            f"put the right file there, or unset {MIRROR} to download it"
        )
    return path


def _first(places: dict[str, Path | None], file: Source) -> str | None:
    for name, place in places.items():
        if place is not None and (path := place / file.path).is_file() and path.stat().st_size == file.size:
            return name
    return None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
