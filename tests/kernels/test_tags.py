"""README, reference and kernels of a hot path tell one story, equation by equation."""

import re

import pytest
from nlp_kernels import dispatch
from tags import assert_every_equation_is_cited

README = r"""
$$a = b \;(1)\qquad c = d \;(2)$$
$$e = f \;(3)$$
"""
REFERENCE = "a = b  # (1)\nc = d  # (2)\ne = f  # (3)  (N, 3)\n"


@pytest.mark.parametrize("hot_path", dispatch.HOT_PATHS)
def test_every_equation_is_cited(hot_path):
    assert_every_equation_is_cited(dispatch.ROOT / hot_path)


@pytest.mark.parametrize("hot_path", dispatch.HOT_PATHS)
def test_the_readme_links_each_backend_and_its_test(hot_path):
    folder = dispatch.ROOT / hot_path
    text = (folder / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (folder / link).exists()] == []
    for backend in dispatch.backends(hot_path):
        assert f"{backend}.py" in links, f"{hot_path}/README.md does not link {backend}.py"
    assert f"../../../tests/kernels/test_{hot_path}.py" in links


@pytest.mark.parametrize("hot_path", dispatch.HOT_PATHS)
def test_reference_and_readme_name_the_same_equations_of_the_course(hot_path):
    folder = dispatch.ROOT / hot_path
    names = {f: set(re.findall(r"\bE\d\d[a-d]?\b", (folder / f).read_text())) for f in ("README.md", "reference.py")}
    assert names["reference.py"], f"{hot_path}/reference.py names no equation"
    assert names["reference.py"] <= names["README.md"]


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("reference.py", REFERENCE.replace("# (2)", "# "), r"reference.py does not cite \[2\]"),
        ("reference.py", REFERENCE + "g = h  # (4)\n", r"reference.py cites \[4\]"),
        ("cpu.py", REFERENCE.replace("# (3)", ""), r"cpu.py does not cite \[3\]"),
        ("tiles.py", "c = d\n", r"cpu.py does not cite \[2\]"),
        ("tiles.py", "c = d  # (2) (5)\n", r"cpu.py cites \[5\]"),
        ("cuda.cu", '#include "shared.cuh"\na = b;  // (1)\n', r"cuda.cu does not cite \[3\]"),
        ("README.md", README.replace("(3)", "(4)"), r"numbers its equations \[1, 2, 4\]"),
        ("README.md", "no equations", "numbers no equation"),
    ],
)
def test_a_lost_or_invented_tag_is_refused(tmp_path, file, text, complaint):
    files = {"README.md": README, "reference.py": REFERENCE, "shared.cuh": "c = d;  // (2)\n"}
    files["cuda.cu"] = '#include "shared.cuh"\na = b;  // (1)\ne = f;  // (3)\n'
    files["cpu.py"] = f"from nlp_kernels.{tmp_path.name}.tiles import c\na = b  # (1)\ne = f  # (3)\n"
    files["tiles.py"] = "c = d  # (2)\n"
    files["cuda.py"] = "launch()  # no equations here: they are in cuda.cu\n"
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert_every_equation_is_cited(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(AssertionError, match=complaint):
        assert_every_equation_is_cited(tmp_path)
