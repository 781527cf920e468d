"""What the README says is true: its examples run, its links resolve, its numbers are the measured ones."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("kernels/**/README.md"))]
COVERED = (
    "E01 E01b E02 E05 E06 E06b E06c E12 E13 E14 E15 E16 E16d E17 E18 E19 E19b E20 E21 E22 E23 E24 E25 E26 E27 E28 "
    "E33 E34 E35 E36 E37 E38 E38b E40 E41 E42 E44b E45 E46 E51 E55 E55b E58 E59 E60"
).split()


def links(page: Path) -> list[Path]:
    """The files that a page links to."""
    text = re.sub(r"^(````?)\w*\n.*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)  # outside code blocks
    return [(page.parent / t.partition("#")[0]).resolve() for t in targets if not re.match(r"https?:|#", t)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_resolves(page):
    missing = [str(target) for target in links(page) if not target.exists()]
    assert not missing
    assert page != README or len(links(page)) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_anchor_is_a_heading(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", text):
        other = (page.parent / target).resolve() if target else page
        headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), flags=re.MULTILINE)
        slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
        assert anchor in slugs, f"{page.name}: no heading for #{anchor}"


@pytest.mark.parametrize("equation", COVERED)
def test_every_equation_is_two_clicks_from_the_map(equation):
    """README -> a page -> the code and its test: an id stands in a linked page, and its row links code and tests."""
    row = next(
        line for line in (ROOT / "docs" / "equations.md").read_text().splitlines() if line.startswith(f"| {equation} |")
    )
    targets = [(ROOT / "docs" / t.partition("#")[0]).resolve() for t in re.findall(r"\]\(([^)\s]+)\)", row)]
    assert any("tests" in t.parts for t in targets), "no test"
    assert any({"kernels", "tinygrad_nlp"} & set(t.relative_to(ROOT).parts) for t in targets), "no code"
    sources = [t for t in targets if t.is_file() and t.suffix in (".py", ".md") and "tests" not in t.parts]
    cited = any(re.search(rf"\b{equation}\b", f.read_text(encoding="utf-8")) for f in sources)
    in_range = any(re.search(r"E\d+\w?\s*[–-]\s*E\d+", f.read_text(encoding="utf-8")) for f in sources)
    assert cited or in_range, f"none of the linked files cites {equation}"


def test_the_examples_run():
    results = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    assert results.attempted > 15
    assert results.failed == 0


def test_the_tables_are_the_results():
    from benchmarks.readme import rewritten

    text = README.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: python -m benchmarks.readme"


def test_both_commands_stand_in_the_readme_and_in_ci():
    commands = re.findall(r"command -v uv .*; (uv run .*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert commands == ["uv run tinygrad-nlp train gpt", "uv run pytest"]
    assert re.search(r"^uv run --no-sync pytest$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
