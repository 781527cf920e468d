"""Graphs as text and pictures."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import tinygrad_nlp as tn
from tinygrad_nlp import Tensor
from tinygrad_nlp.study.graph import EXAMPLES, main


def made():
    x = Tensor(np.ones((2, 3)), requires_grad=True, name="x<1>")
    return tn.tanh(x) * x


def test_text_names_functions_shapes_and_what_is_kept():
    text = str(made().graph())
    assert "multiply #0  (2, 3) keeps 96 B" in text
    assert "tanh #1  (2, 3) keeps 48 B" in text
    assert "x<1> #2 (above)" in text
    assert "3 nodes, 144 B kept" in text or "3 nodes" in text
    assert "nothing is recorded" in str(Tensor(1.0).graph())


def test_a_released_graph_says_so():
    y = made()
    y.backward(np.arange(6.0).reshape(2, 3))
    assert "released" in str(y.graph())


def test_the_picture_is_well_formed_and_complete(tmp_path):
    graph = made().graph()
    graph.save(tmp_path / "y.svg")
    root = ElementTree.parse(tmp_path / "y.svg").getroot()
    assert root.tag.endswith("svg")
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {"multiply", "tanh", "x<1>"} <= set(texts)
    arrows = [e for e in root.iter() if e.tag.endswith("path") and e.get("marker-end")]
    assert len(arrows) == 3
    assert graph._repr_svg_() == graph.svg()


def test_a_deep_graph_is_drawn_without_recursion():
    y = Tensor([1.0], requires_grad=True)
    for _ in range(5000):
        y = -y
    assert str(y.graph()).count("negative") == 5000
    assert len(y.graph()) == 5001


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_draws_its_examples(name, tmp_path, capsys):
    out = tmp_path / "picture.svg"
    assert main([name, "--out", str(out)]) == 0
    assert "kept for the gradient" in capsys.readouterr().out
    ElementTree.parse(out)


def test_the_command_draws_any_function_and_its_gradient(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("def cube(x):\n    return x * x * x\n")
    command = [sys.executable, "-m", "tinygrad_nlp", "study", "graph", "mine:cube", "--shape", "2", "--backward"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cube.svg").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tinygrad_nlp:unstack", "--shape", "3"], "returns a tuple"),
        (["tinygrad_nlp:add", "--shape", "3"], "missing 1 required positional argument: 'b'"),
        (["tinygrad_nlp:add", "--shape", "3", "--shape", "4"], r"of shapes \(3,\), \(4,\): .*broadcast"),
        (["tinygrad_nlp:argmax", "--shape", "3", "--backward"], "is not used"),
    ],
)
def test_a_function_that_cannot_be_drawn(argv, message, tmp_path):
    with pytest.raises(tn.UserError, match=f"study graph: {argv[0]} of random inputs.*{message}"):
        main([*argv, "--out", str(tmp_path / "x.svg")])


@pytest.mark.parametrize("argv", [["nothing"], ["os:nothing"], ["mine_not_there:f"], ["neuron", "--shape", "a,b"]])
def test_the_command_refuses_in_one_sentence(argv, tmp_path):
    with pytest.raises(tn.UserError):
        main([*argv, "--out", str(tmp_path / "x.svg")])
