"""The PyTorch twins that the quality of the models is held against: the same losses and gradients, batch by batch."""

import numpy as np
import pytest

from benchmarks import quality
from tinygrad_nlp.models import find
from tinygrad_nlp.random import Generator

torch = pytest.importorskip("torch")
twins = pytest.importorskip("benchmarks.peers.torch_models")

KINDS = ("O", "B-PER", "I-PER")
CASES = [
    ("language-model", {"cell": "lstm", "hidden": 6, "width": 4, "n_layer": 2}, "text"),
    ("language-model", {"cell": "gru", "hidden": 6}, "text"),
    ("classifier", {"cell": "lstm", "pooling": "last", "n_layer": 2, "hidden": 5}, "labelled"),
    ("classifier", {"cell": "gru", "pooling": "max", "hidden": 5}, "labelled"),
    ("classifier", {"cell": "rnn", "pooling": "mean", "directions": 1, "hidden": 5}, "labelled"),
    ("classifier", {"cell": "none"}, "labelled"),
    ("tagger", {"directions": 1, "hidden": 5}, "columns"),
    ("tagger", {"directions": 2, "cell": "gru", "n_layer": 2, "hidden": 5}, "columns"),
    ("window-classifier", {"reach": 1, "hidden": 5}, "columns"),
    ("window-scorer", {"criterion": "margin", "hidden": 5}, "columns"),
    ("window-scorer", {"criterion": "logistic", "reach": 0, "hidden": 5}, "columns"),
    ("name-generator", {"cell": "gru", "hidden": 5, "width": 4}, "names"),
    ("name-generator", {"cell": "lstm", "n_layer": 2, "hidden": 5, "width": 4}, "names"),
]


def written(folder, layout):
    """A small file of that layout, sentences of one to six words; or a folder of names."""
    draw, lines = Generator(1), []
    if layout == "names":
        (folder / "names").mkdir()
        for category in "ab":
            names = ["".join("xyz"[i] for i in draw.integers(0, 3, (n,))) for n in draw.integers(1, 7, (30,)).tolist()]
            (folder / "names" / f"{category}.txt").write_text("\n".join(names) + "\n")
        return folder / "names"
    for n in draw.integers(1, 7, (60,)).tolist():
        words = [f"{'wW'[i % 2]}{i}" for i in draw.integers(0, 9, (n,)).tolist()]
        if layout == "columns":
            lines += [f"{word} {KINDS[i % 3]}" for i, word in enumerate(words)] + [""]
        else:
            lines.append(f"{n % 2} {' '.join(words)}")
    path = folder / f"{layout}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def run_of(name, options, data, dtype="float64"):
    model, config, run = find(name)
    return run(name, model, config, options, run.settings_class(data=str(data), dtype=dtype, batch_size=4, warmup=1))


@pytest.mark.parametrize(("name", "options", "layout"), CASES)
def test_a_twin_has_the_loss_and_every_gradient_of_its_model(tmp_path, name, options, layout):
    run = run_of(name, options, written(tmp_path, layout))
    twin, start = twins.twin_of(run.model), run.cursor
    found = []
    for model in (run.model, twin):
        run.model, run.cursor = model.eval(), start
        for _ in range(3):  # three batches, and for a language model the state that is carried through them
            loss = run.batch_loss()
            loss.backward()
        found.append((loss.item(), {name: p.grad.numpy() for name, p in model.named_parameters()}))
    (ours, gradients), (theirs, wanted) = found
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert gradients.keys() == wanted.keys()
    for key, g in gradients.items():
        np.testing.assert_allclose(g, wanted[key], rtol=1e-8, atol=1e-12, err_msg=key)


@pytest.mark.parametrize(("name", "options", "layout"), [CASES[i] for i in (1, 3, 7, 8, 9, 11)])
def test_both_are_judged_by_one_rule_and_a_wrong_twin_is_refused(tmp_path, monkeypatch, name, options, layout):
    measure = {
        "language-model": "perplexity",
        "classifier": "accuracy",
        "window-scorer": "accuracy",
        "name-generator": "loss",
    }.get(name, "f1")
    settings = {"data": str(written(tmp_path, layout)), "lr": 0.0, "min_lr": 0.0}  # nothing is learnt
    case = quality.Case(name, options, settings, measure)
    ours, theirs = (quality.measured(who, case, 0, 2, 1) for who in quality.WHO)
    assert ours == pytest.approx(theirs, rel=1e-5)
    honest = twins.twin_of

    def wrong(model):
        twin = honest(model)
        torch.nn.init.normal_(next(twin.parameters()))
        return twin

    monkeypatch.setattr(twins, "twin_of", wrong)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        quality.measured("torch", case, 0, 2, 1)


def test_the_table_gives_mean_range_and_difference():
    rows = {"subj": {"ours": {"1": 0.90, "2": 0.92}, "torch": {"1": 0.91, "2": 0.93}}}
    (line,) = quality.table(rows)[1:]
    assert line[2:] == ("accuracy", "91.0% (90.0% – 92.0%)", "92.0% (91.0% – 93.0%)", "-1.0%", "2.0%")
