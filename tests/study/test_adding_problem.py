"""`study adding-problem`: the task is what it says, seeds decide everything, a GRU learns it, and what is written."""

import io
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nlp import Tensor
from tinygrad_nlp.cli import main
from tinygrad_nlp.random import Generator
from tinygrad_nlp.study import adding_problem, adding_task
from tinygrad_nlp.study.adding_progress import Bar, Lines, percent, watcher
from tinygrad_nlp.study.adding_task import (
    AT_ONCE,
    BATCH_STREAM,
    CELLS,
    CONSTANT,
    TESTS,
    WEIGHT_STREAM,
    Adder,
    Curve,
    Training,
    error_of,
    held_out,
    learn,
    sequences,
    stream,
)

FEW = Training(steps=4, hidden=4, batch_size=3)
SMALL = ["--length", "6", "--steps", "4", "--hidden", "4", "--batch-size", "3"]


def learnt(cell, T, training):
    curve = Curve(cell, T, training.rate(cell, T))
    assert list(learn(curve, training)) == list(range(1, training.steps + 1))
    return curve


@given(st.integers(2, 30), st.integers(1, 20), st.integers(0, 2**64 - 1))
def test_each_half_has_one_marker_and_the_target_is_the_marked_sum(T, B, seed):
    x, y = sequences(Generator(seed), T, B)
    values, markers = x[:, :, 0], x[:, :, 1]
    assert x.shape == (T, B, 2)
    assert y.shape == (B, 1)
    assert x.dtype == y.dtype == np.float32
    assert set(np.unique(markers)) <= {0, 1}
    assert (markers[: T // 2].sum(axis=0) == 1).all()
    assert (markers[T // 2 :].sum(axis=0) == 1).all()
    assert ((values >= 0) & (values < 1)).all()
    np.testing.assert_array_equal(y[:, 0], (values * markers).sum(axis=0))


def test_every_step_of_a_half_may_be_marked_and_values_are_uniform():
    x, y = sequences(Generator(0), 7, 20_000)
    share = x[:, :, 1].mean(axis=1)
    np.testing.assert_allclose(share, [1 / 3] * 3 + [1 / 4] * 4, atol=0.02)
    assert x[:, :, 0].mean() == pytest.approx(1 / 2, abs=0.01)
    assert ((y - 1) ** 2).mean() == pytest.approx(CONSTANT, abs=0.005), "always guessing 1 has the error 1/6"


def test_no_sequence_of_the_test_is_trained_on_and_seeds_differ():
    x, _ = held_out(3, 5)
    batches, _ = sequences(stream(3, BATCH_STREAM), 5, TESTS)
    other, _ = held_out(4, 5)
    assert not np.intersect1d(x[0, :, 0], batches[0, :, 0]).size > TESTS // 100, "only rounding makes two values equal"
    assert (x != other).any()
    np.testing.assert_array_equal(x, held_out(3, 5)[0])


def test_what_is_tested_are_the_held_out_sequences():
    """Every cell's first error is that of its first weights on the seed's own test, whatever is trained on."""
    model = Adder("gru", FEW, stream(7, WEIGHT_STREAM))
    curve = learnt("gru", 6, replace(FEW, seed=7))
    assert curve.errors[0] == error_of(model, *held_out(7, 6))


@pytest.mark.parametrize("cell", CELLS)
def test_a_seed_decides_everything(cell):
    first, again, other = (learnt(cell, 6, replace(FEW, seed=s)) for s in (1, 1, 2))
    assert first.steps == again.steps == [0, 1, 2, 3, 4]
    assert first.errors == again.errors
    assert first.errors != other.errors


@pytest.mark.parametrize("cell", CELLS)
def test_what_the_weights_begin_with(cell):
    model = Adder(cell, Training(hidden=5, forget_bias=2.5), Generator(0))
    layer, forget = model.layer, [0] * 5 + [2.5] * 5 + [0] * 10
    np.testing.assert_array_equal(layer.bias_ih_l0.data, forget if cell == "lstm" else 0)
    np.testing.assert_array_equal(layer.bias_hh_l0.data, 0)
    np.testing.assert_array_equal(model.readout.bias.data, 0)
    assert np.abs(model.readout.weight.data).max() <= 5**-0.5
    if cell == "irnn":
        assert layer.nonlinearity == "relu"
        np.testing.assert_array_equal(layer.weight_hh_l0.data, np.eye(5))
        assert 0.004 < layer.weight_ih_l0.data.std() < 0.02
        wide = Adder(cell, Training(hidden=5, input_std=0.5), Generator(0)).layer
        np.testing.assert_allclose(wide.weight_ih_l0.data, 50 * layer.weight_ih_l0.data, rtol=1e-5)
    else:
        assert 0.2 * 5**-0.5 < np.abs(layer.weight_hh_l0.data).mean() < 5**-0.5


@pytest.mark.parametrize("cell", CELLS)
def test_only_the_layer_whose_gradient_leaves_float32_computes_in_float64(cell, monkeypatch):
    dtypes = set()
    monkeypatch.setattr(adding_task, "error_of", lambda model, x, y: dtypes.update(p.dtype for p in model.parameters()))
    learnt(cell, 6, FEW)
    assert dtypes == {np.dtype("float64" if cell == "rnn" else "float32")}


@pytest.mark.parametrize("cell", CELLS)
def test_the_last_state_is_read_and_the_error_is_that_of_all_sequences(cell):
    """In parts of AT_ONCE, the last of which is smaller."""
    model, (x, y) = Adder(cell, FEW, Generator(1)), sequences(Generator(2), 9, 2 * AT_ONCE + 50)
    output, _ = model.layer(Tensor(x))
    said = output.data[-1] @ model.readout.weight.data.T + model.readout.bias.data
    assert said.std() > 1e-4
    assert error_of(model, x, y) == pytest.approx(float(((said - y) ** 2).mean()), rel=1e-5)


def test_a_gru_learns_ten_steps():
    curve = learnt("gru", 10, Training(steps=300, hidden=16))
    assert curve.errors[-1] < 0.05 * CONSTANT
    assert 0 < curve.below(0.1) < 300
    assert curve.below(0.1) in curve.steps
    assert curve.errors[curve.steps.index(curve.below(0.1))] < 0.1 * CONSTANT
    assert curve.seconds > 0


def test_a_curve_that_never_falls_has_no_step():
    assert Curve("rnn", 10, 0.1, steps=[0, 1], errors=[1.0, CONSTANT * 0.1]).below(0.1) is None


def test_a_gradient_that_explodes_ends_the_run():
    curve = Curve("irnn", 60, lr=3.0)
    done = list(learn(curve, Training(steps=50, hidden=8)))
    assert curve.broke_off == len(done) + 1 < 50
    assert curve.steps[-1] <= len(done)


def test_learning_rates():
    assert [Training().rate(cell, 100) for cell in CELLS] == [0.001, 0.0004, 0.01, 0.01]
    assert Training().rate("irnn", 400) == 0.0001
    assert Training(lr=0.5).rate("irnn", 400) == 0.5


def test_the_command_writes_a_picture_numbers_and_a_table(tmp_path, capsys):
    out = tmp_path / "adding"
    assert main(["study", "adding-problem", *SMALL, "--length", "8", "--length", "6", "--out", str(out)]) == 0
    said, log = capsys.readouterr()
    for word in ("always 1", "RNN", "IRNN", "GRU", "LSTM", "10% of 1/6", "numbers.json"):
        assert word in said
    assert f"run folder: {out}" in log
    assert "T = 8, LSTM  step 4/4  test error" in log
    assert sorted(p.name for p in out.iterdir()) == ["adding-problem.png", "numbers.json"]
    assert (out / "adding-problem.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((out / "numbers.json").read_text())
    assert [(run["T"], run["cell"]) for run in numbers["runs"]] == [(T, cell) for T in (6, 8) for cell in CELLS]
    assert all(len(run["steps"]) == len(run["errors"]) == 5 for run in numbers["runs"])
    assert numbers["settings"]["hidden"] == 4
    _, y = held_out(0, 6)
    assert numbers["always 1"]["6"] == pytest.approx(np.mean((y - 1) ** 2), rel=1e-5)


def test_the_table_says_what_was_measured():
    """The last error, in % of 1/6; the first step below 10%, whatever came after it, or none."""
    from rich.console import Console

    curves = [
        Curve("gru", 10, 0.01, [0, 10, 20, 30], [1.0, 0.2, 0.05 * CONSTANT, 0.2 * CONSTANT], 7.0),
        Curve("rnn", 10, 0.001, [0, 30], [1.0, CONSTANT], 3.0),
    ]
    page = io.StringIO()
    Console(file=page, width=100).print(adding_problem._table(curves, 0))
    gru, rnn = (next(line for line in page.getvalue().splitlines() if f" {name} " in line) for name in ("GRU", "RNN"))
    assert [cell.strip() for cell in gru.split("│")[2:-1]] == ["GRU", "0.01", "0.033", "20.0%", "20", "7 s"]
    assert [cell.strip() for cell in rnn.split("│")[2:-1]] == ["RNN", "0.001", "0.17", "100.0%", "–", "3 s"]


def test_small_shares_keep_a_digit():
    assert [percent(CONSTANT * share) for share in (1.0246, 0.0123, 0.00021)] == ["102.5%", "1.2%", "0.02%"]


def test_quiet_says_the_folder_and_one_cell_can_be_chosen(tmp_path, capsys):
    out = tmp_path / "adding"
    assert main(["study", "adding-problem", *SMALL, "--cell", "gru", "--quiet", "--out", str(out)]) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    assert [run["cell"] for run in json.loads((out / "numbers.json").read_text())["runs"]] == ["gru"]


def test_a_run_that_breaks_off_is_told_and_written(tmp_path, capsys):
    out = tmp_path / "adding"
    arguments = ["--length", "60", "--cell", "irnn", "--lr", "3", "--steps", "50", "--hidden", "8", "--out", str(out)]
    assert main(["study", "adding-problem", *arguments]) == 0
    (run,) = json.loads((out / "numbers.json").read_text(), parse_constant=pytest.fail)["runs"]
    said = capsys.readouterr().out
    assert f"T = 60, IRNN broke off at step {run['broke_off']}: loss or gradient were not finite" in said


def test_ctrl_c_leaves_what_was_measured(tmp_path, capsys, monkeypatch):
    def interrupted(curve, *rest):
        for step in learn(curve, *rest):
            if (curve.cell, step) == ("irnn", 2):
                signal.raise_signal(signal.SIGINT)
            yield step

    monkeypatch.setattr(adding_problem, "learn", interrupted)
    out = tmp_path / "adding"
    assert main(["study", "adding-problem", *SMALL, "--out", str(out)]) == 130
    said, log = capsys.readouterr()
    assert "IRNN" in said
    assert "GRU" not in said
    assert f"stopped; {out} has what was measured until then" in log
    runs = json.loads((out / "numbers.json").read_text())["runs"]
    assert [(run["cell"], run["steps"]) for run in runs] == [("rnn", [0, 1, 2, 3, 4]), ("irnn", [0, 1, 2])]
    assert (out / "adding-problem.png").is_file()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--length", "1"], "--length: expected a whole number of at least 2, one step for each half, not '1'"),
        (["--length", "ten"], "--length: expected a whole number of at least 2"),
        (["--cell", "cnn"], "--cell: invalid choice: 'cnn'"),
        (["--steps", "0"], "--steps: expected a whole number of at least 1, not '0'"),
        (["--hidden", "0"], "--hidden: expected a whole number of at least 1"),
        (["--batch-size", "0"], "--batch-size: expected a whole number of at least 1"),
        (["--lr", "0"], "--lr: expected a number"),
        (["--clip", "-1"], "--clip: expected a number of at least 0"),
        (["--seed", "-1"], "--seed: expected a whole number"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--lenght", "9"], "unknown option '--lenght'; did you mean --length?"),
    ],
)
def test_bad_input_gets_one_sentence_and_no_folder(wrong, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "adding-problem", *wrong]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tinygrad-nlp: {sentence}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_gets_one_sentence_and_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "adding-problem", "--device", "cuda:63"]) == 2
    assert "cuda" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_where_someone_watches_and_lines_in_a_log():
    curves = [Curve("gru", 10, 0.01, [0], [1.0]), Curve("gru", 30, 0.01, [0], [CONSTANT / 2])]
    terminal = Terminal()
    bar = watcher(curves, 8, quiet=False, stream=terminal)
    assert isinstance(bar, Bar)
    with bar:
        bar.stepped(curves[1], 4)
        (task,) = bar.progress.tasks
        assert (task.percentage, task.description) == (100 * (8 * 10 + 4 * 30) / (8 * 40), "T = 30, GRU")
    assert "test error 50.0% of 1/6" in terminal.getvalue()
    log = io.StringIO()
    lines = watcher(curves, 8, quiet=False, stream=log)
    assert isinstance(lines, Lines)
    for step in range(1, 9):
        lines.stepped(curves[1], step)
    assert [line.split("  ")[1] for line in log.getvalue().splitlines()] == [f"step {n}/8" for n in (2, 4, 6, 8)]
    assert "test error 50.0% of 1/6" in log.getvalue()
