"""`study gradient-flow`: below the bound of E21, vanishing, kept and exploding where they must, and what it writes."""

import json

import numpy as np
import pytest

from tinygrad_nlp.cli import main
from tinygrad_nlp.study.gradient_flow import KINDS, measure, train_exploding

SMALL = {"steps": 30, "hidden": 16, "seed": 0}


@pytest.mark.parametrize("kind", ["RNN", "IRNN"])
@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_no_gradient_exceeds_its_bound(kind, radius):
    flow = measure(kind, radius, **SMALL)
    assert (flow.norms <= flow.bound * (1 + 1e-9)).all()
    assert flow.norms[-1] == flow.bound[-1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_radius_vanishes_first(kind):
    if kind == "IRNN":
        assert measure(kind, 1.0, **SMALL).norms[0] > 0.05
        return
    small, large = (measure(kind, radius, **SMALL) for radius in (0.3, 1.5))
    assert small.norms[0] < 0.1 * large.norms[0]


def test_gates_keep_what_a_plain_layer_loses():
    """At the same spectral radius the memory of an LSTM keeps orders of magnitude more."""
    assert measure("LSTM", 0.5, **SMALL).norms[0] > 1e3 * measure("RNN", 0.5, **SMALL).norms[0]


def test_norms_are_those_of_the_fused_layer():
    """The gradient by the initial state, from the unrolled cell here, is the one of nn.RNN's backward kernel."""
    from tinygrad_nlp import Tensor, grad, nn, random
    from tinygrad_nlp import sum as total
    from tinygrad_nlp.study import gradient_flow

    flow, generator = measure("RNN", 0.9, **SMALL), random.Generator(0)
    cell = gradient_flow._cell("RNN", 0.9, 16, generator)
    x, g = (generator.normal(shape, dtype="float64") for shape in ((30, 1, 16), (1, 16)))
    layer = nn.RNN(16, 16, dtype="float64")
    for name, values in cell.state_dict().items():
        getattr(layer, f"{name}_l0").data[...] = values
    h0 = Tensor(np.zeros((1, 1, 16)), requires_grad=True)
    _, h = layer(x, h0)
    (dh0,) = grad(total(h * g), [h0])
    assert np.linalg.norm(dh0.data) / np.linalg.norm(g) == pytest.approx(flow.norms[0], rel=1e-9)


def test_clipping_saves_the_run_that_explodes():
    free, clipped = (train_exploding(clip, steps=60, hidden=32, seed=0) for clip in (None, 1.0))
    assert free[0] == clipped[0], "both begin alike"
    assert len(free) < 60
    assert len(clipped) == 60
    assert clipped[-1]["loss"] < 0.2 * clipped[0]["loss"]


def test_the_command_writes_pictures_and_numbers(tmp_path, capsys):
    out = tmp_path / "flow"
    arguments = ["study", "gradient-flow", "--steps-back", "8", "--hidden", "4", "--radius", "0.5", "--out", str(out)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "IRNN" in said
    assert "numbers.json" in said
    assert sorted(p.name for p in out.iterdir()) == ["clipping.png", "gradient-flow.png", "numbers.json"]
    numbers = json.loads((out / "numbers.json").read_text())
    assert [flow["kind"] for flow in numbers["flows"]] == list(KINDS)
    assert all(len(flow["norms"]) == 9 for flow in numbers["flows"])


@pytest.mark.parametrize(
    "wrong", [["--steps-back", "1"], ["--hidden", "0"], ["--radius", "0"], ["--radius", "0.5", "--radius", "-1"]]
)
def test_bad_sizes_get_one_sentence(wrong, capsys):
    assert main(["study", "gradient-flow", *wrong]) == 2
    assert "--steps-back is at least 2, --hidden at least 1, --radius above 0" in capsys.readouterr().err
