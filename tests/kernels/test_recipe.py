"""kernels/README.md is executed: the first example, a backend from outside, and a hot path built by its recipe."""

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import nlp_kernels
import numpy as np
import pytest
from cases import Case, generators
from cases.softmax import HOT_PATH
from contract import (
    assert_backward_is_the_derivative,
    assert_no_worse_than_the_problem,
    draw_cotangents,
    evaluate,
)
from hypothesis import given
from nlp_kernels import dispatch, softmax
from nlp_kernels.errors import DtypeError, ShapeError
from planted import assert_derivative_catches
from tags import assert_every_equation_is_cited

README = Path(__file__).parents[2] / "kernels" / "README.md"
TEXT = README.read_text()
FIRST, BACKEND, *_ = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def block(path):
    """The fenced block that follows the sentence naming a file."""
    (text,) = re.findall(rf"`{re.escape(path)}`.*?\n\n(`{{3,4}})\w+\n(.*?)^\1$", TEXT, re.MULTILINE | re.DOTALL)
    return text[1]


def test_the_first_example():
    names: dict[str, Any] = {}
    exec(FIRST, names)
    assert names["dx"].shape == (3, 4)


def test_a_backend_from_outside(capsys):
    names: dict[str, Any] = {}
    exec(BACKEND, names)
    assert capsys.readouterr().out == f"{('in_place', *dispatch.backends('softmax'))}\n"
    np.testing.assert_allclose(names["p"], 1 / 3)
    dispatch.register_backend("softmax", "in_place", names["InPlace"])

    @given(data=st.data(), rng=generators())
    def keeps_the_contract(data, rng):
        x, _ = data.draw(HOT_PATH.cases(np.float32).filter(lambda case: case.inputs[0].shape[1] > 0)).inputs
        case = Case((x, None), {"temperature": 2.0})
        cotangents = draw_cotangents(HOT_PATH, case, rng)
        assert dispatch.select("softmax", *case.inputs, **case.hyper) is names["InPlace"]
        assert_no_worse_than_the_problem(evaluate(softmax, HOT_PATH, case, cotangents), HOT_PATH, case, cotangents)

    try:
        keeps_the_contract()
    finally:
        dispatch.unregister_backend("softmax", "in_place")


@pytest.fixture
def silu(tmp_path, monkeypatch):
    """The recipe's files, in a folder of their own that the package finds."""
    folder = tmp_path / "silu"
    folder.mkdir()
    for name in ("README.md", "reference.py", "__init__.py", "cpu.py"):
        (folder / name).write_text(block(f"kernels/nlp_kernels/silu/{name}"))
    monkeypatch.setattr(nlp_kernels, "__path__", [*nlp_kernels.__path__, str(tmp_path)])
    monkeypatch.setattr(dispatch, "ROOT", tmp_path)
    monkeypatch.setattr(dispatch, "HOT_PATHS", ("silu",))
    for resolved in ("_resolved", "_asked"):
        monkeypatch.setattr(dispatch, resolved, {})
    names: dict[str, Any] = {}
    exec(block("tests/kernels/cases/silu.py"), names)
    yield names["HOT_PATH"]
    for module in [name for name in sys.modules if name.startswith("nlp_kernels.silu")]:
        del sys.modules[module]
    vars(nlp_kernels).pop("silu", None)


def test_the_recipe(silu):
    assert_every_equation_is_cited(dispatch.ROOT / "silu")
    assert dispatch.backends("silu") == ("cpu", "reference")
    for backend, dtype in itertools.product(dispatch.backends("silu"), (np.float32, np.float64)):

        @given(case=silu.cases(dtype), rng=generators())
        def contract(case, rng):
            cotangents = draw_cotangents(silu, case, rng)
            ours = evaluate(silu.package, silu, case, cotangents)
            peer = dispatch.select("silu", *case.inputs) is not silu.reference
            assert_no_worse_than_the_problem(ours, silu, case, cotangents, peer=peer)
            assert_backward_is_the_derivative(silu, case, rng)

        with dispatch.use_backend(backend):
            contract()
    assert_derivative_catches(silu, "s + x * s * (1 - s)", "s * (1 - s)")
    with pytest.raises(ShapeError, match=r"silu.forward: x has shape \(3,\)"):
        silu.package.forward(np.ones(3))
    with pytest.raises(DtypeError, match="dy is float32 but x is float64"):
        silu.package.backward(np.ones((2, 3), np.float32), np.ones((2, 3)), None)


def test_every_link_leads_somewhere():
    outside_the_example = re.sub(r"^````.*?^````", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", outside_the_example)
    assert [link for link in links if "://" not in link and not (README.parent / link).exists()] == []
    table = re.findall(r"^\| \[(\w+)\]\(nlp_kernels/\1/README.md\)", TEXT, re.MULTILINE)
    assert sorted(table) == list(dispatch.HOT_PATHS), "the table at the top lists every hot path"
