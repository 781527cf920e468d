"""The numbers of a hot path's equations: defined in its README, cited in the comments of every file that computes."""

import re
from pathlib import Path

from nlp_kernels.dispatch import BACKENDS

COMMENT = {".py": "#", ".cu": "//", ".cuh": "//"}


def defined(readme: Path) -> list[int]:
    r"""The tags `\;(n)` of a README, in order of appearance."""
    return [int(n) for n in re.findall(r"\\;\((\d+)\)", readme.read_text())]


def cited(source: Path) -> set[int]:
    """The tags `(n)` in the comments of a source file and of its parts."""
    mark, lines = COMMENT[source.suffix], source.read_text().splitlines()
    comments = (line.split(mark, 1)[1] for line in lines if mark in line)
    found = {int(n) for comment in comments for n in re.findall(r"\((\d+)\)", comment)}
    return found.union(*map(cited, parts(source)))


def parts(source: Path) -> list[Path]:
    """The headers that a CUDA file includes; what a backend in Python imports from its folder, not another backend."""
    text = source.read_text()
    if source.suffix != ".py":
        headers = re.findall(r'^#include "([^"]+)"', text, re.MULTILINE)
        return [(source.parent / header).resolve() for header in headers]
    modules = re.findall(rf"^from nlp_kernels\.{source.parent.name}\.(\w+) import", text, re.MULTILINE)
    return [source.with_name(f"{name}.py") for name in modules if name not in BACKENDS]


def sources(folder: Path) -> list[Path]:
    """The reference and the kernels, CUDA files in place of their launchers."""
    files = (folder / f"{name}{suffix}" for name in BACKENDS for suffix in (".py", ".cu"))
    return [f for f in files if f.exists() and not (f.suffix == ".py" and f.with_suffix(".cu").exists())]


def assert_every_equation_is_cited(folder: Path) -> None:
    tags = defined(folder / "README.md")
    assert tags, f"{folder.name}: README.md numbers no equation"
    assert tags == list(range(1, len(tags) + 1)), f"{folder.name}: README.md numbers its equations {tags}"
    for source in sources(folder):
        missing, unknown = set(tags) - cited(source), cited(source) - set(tags)
        assert not missing, f"{folder.name}/{source.name} does not cite {sorted(missing)}"
        assert not unknown, f"{folder.name}/{source.name} cites {sorted(unknown)}, which README.md does not define"
