"""The numbers of a hot path's equations: defined in its README, cited in the comments of every file that computes."""

import re
from pathlib import Path

COMMENT = {".py": "#", ".cu": "//", ".cuh": "//"}


def defined(readme: Path) -> list[int]:
    r"""The tags `\;(n)` of a README, in order of appearance."""
    return [int(n) for n in re.findall(r"\\;\((\d+)\)", readme.read_text())]


def cited(source: Path) -> set[int]:
    """The tags `(n)` in the comments of a source file and of the headers that it includes."""
    mark, lines = COMMENT[source.suffix], source.read_text().splitlines()
    comments = (line.split(mark, 1)[1] for line in lines if mark in line)
    found = {int(n) for comment in comments for n in re.findall(r"\((\d+)\)", comment)}
    included = re.findall(r'^#include "([^"]+)"', source.read_text(), re.MULTILINE) if mark == "//" else []
    return found.union(*(cited((source.parent / header).resolve()) for header in included))


def sources(folder: Path) -> list[Path]:
    """The reference and the kernels: every Python file but `__init__.py` and the launchers of CUDA files."""
    kernels = [f for f in sorted(folder.glob("*.py")) if f.stem != "__init__" and not f.with_suffix(".cu").exists()]
    return kernels + sorted(folder.glob("*.cu"))


def assert_every_equation_is_cited(folder: Path) -> None:
    tags = defined(folder / "README.md")
    assert tags, f"{folder.name}: README.md numbers no equation"
    assert tags == list(range(1, len(tags) + 1)), f"{folder.name}: README.md numbers its equations {tags}"
    for source in sources(folder):
        missing, unknown = set(tags) - cited(source), cited(source) - set(tags)
        assert not missing, f"{folder.name}/{source.name} does not cite {sorted(missing)}"
        assert not unknown, f"{folder.name}/{source.name} cites {sorted(unknown)}, which README.md does not define"
