"""Training on streams: the carried state is part of the run, however it was cut; evaluation reads every word."""

import numpy as np
import pytest
from resumption import assert_same_run, trained

from tinygrad_nlp.cli import main
from tinygrad_nlp.models import find
from tinygrad_nlp.random import Generator
from tinygrad_nlp.text import contiguous_batches, split_words
from tinygrad_nlp.train.checkpoint import restore, save_checkpoint
from tinygrad_nlp.train.progress import in_bits
from tinygrad_nlp.train.run_folder import RunFolder

WORDS = "we hold these truths to be self evident , that all are created equal .".split()
TINY = "--hidden 8 --batch-size 3 --bptt 5 --min-count 2 --warmup 2 --decay-steps 60 --eval-every 7".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    written = [WORDS[i] for i in Generator(0).integers(0, len(WORDS), (600,))]
    path.write_text(" ".join([*written[:100], "once", *written[100:], "unseen", "words"]))
    return path


def train(folder, *arguments):
    return trained("language-model", "--out", folder, *TINY, *arguments)


def numbers(line):
    return {k: v for k, v in line.items() if k not in ("tokens_per_s", "elapsed")}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("cut", [5, 36, 37])  # an epoch has 36 blocks
def test_n_steps_and_the_rest_are_the_run_that_never_stopped(text, tmp_path, cell, cut):
    more = ["--data", text, "--cell", cell, "--layers", 2]
    whole, lines = train(tmp_path / "whole", *more, "--steps", 45)
    first, _ = train(tmp_path / "cut", *more, "--steps", cut)
    assert first["cursor"]["place"] == cut % 36
    assert len(first["cursor"]["state"]) == (0 if cut == 36 else {"gru": 1, "lstm": 2}[cell])
    again, resumed = trained("language-model", "--resume", tmp_path / "cut", "--steps", 45)
    assert_same_run(again, whole)
    skip = cut if cut % 7 else 0  # a run that ends validates its last step too
    assert [numbers(line) for line in resumed if line["step"] != skip] == [
        numbers(line) for line in lines if line["step"] != skip
    ]


def test_without_the_carried_state_the_run_would_be_another(text, tmp_path):
    _, lines = train(tmp_path / "whole", "--data", text, "--steps", 9)
    state, _ = train(tmp_path / "cut", "--data", text, "--steps", 5)
    zero = [np.zeros_like(s) for s in state["cursor"]["state"]]
    save_checkpoint(tmp_path / "cut" / "checkpoint.safetensors", state | {"cursor": {"place": 5, "state": zero}})
    assert main(["train", "language-model", "--resume", str(tmp_path / "cut"), "--steps", "9", "--quiet"]) == 0
    forgot = RunFolder.existing(str(tmp_path / "cut")).read_metrics()
    assert forgot[4]["train_loss"] == lines[4]["train_loss"]
    assert forgot[5]["train_loss"] != lines[5]["train_loss"]


@pytest.mark.parametrize("unit", ["word", "char"])
def test_the_validation_loss_is_that_of_the_last_tenth_read_in_long_streams(text, tmp_path, unit):
    state, lines = train(tmp_path / "run", "--data", text, "--steps", 14, "--unit", unit, "--dropout", 0.5)
    model_class, config_class, run_class = find("language-model")
    model, tokenizer = restore(state, tmp_path, model_class, config_class), run_class.tokenizer_of(state)
    written = text.read_text()
    tokens = split_words(written) if unit == "word" else written
    held_out = tokenizer.encode((" " if unit == "word" else "").join(tokens[len(tokens) - len(tokens) // 10 :]))
    ((x, y),) = contiguous_batches(held_out, 10, 10**6)  # one block: nothing carried, nothing left out
    loss = float(model.eval().loss(x, y)[0].item())
    assert lines[-1]["val_loss"] == state["val_loss"] == pytest.approx(loss, rel=1e-5)
    if unit == "char":
        assert lines[-1]["val_bits_per_char"] == pytest.approx(in_bits(loss), rel=1e-5)
    else:
        assert lines[-1]["val_perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)
        assert set(state["words"]) == set(WORDS)  # neither what is seen once, nor what only validation has


def test_it_trains_shows_and_writes(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    loud = [*TINY, "--steps", "30", "--lr", "0.02"]
    assert main(["train", "language-model", "--data", str(text), "--cell", "rnn", "--width", "4", *loud]) == 0
    out, err = capsys.readouterr()
    assert "nats per word = perplexity" in out
    assert "generate runs/language-model-001" in out
    assert "603 words, a vocabulary of 16; 3.3% of the validation part is <unk>" in err
    assert "(perplexity " in err
    folder = tmp_path / "runs" / "language-model-001"
    names = {"checkpoint.safetensors", "config.json", "loss.png", "metrics.jsonl", "samples.txt"}
    assert {p.name for p in folder.iterdir()} == names
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["generate", str(folder), "--prompt", "all zebras are", "--length", "40", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("all zebras are")
    assert len(split_words(texts[0])) == 43
    assert "unk" not in texts[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--batch-size", "543"], "the text has 603 words, too few for 543 streams"),
        (["--batch-size", "9999", "--unit", "char"], "characters, too few for 9999 streams"),
        (["--min-count", "9999"], "no word is there 9999 times; choose a smaller --min-count"),
        (["--cell", "grue"], "--cell: invalid choice: 'grue'"),
        (["--bptt", "0"], "--bptt: expected a whole number of at least 1"),
        (["--unit", "byte"], "--unit: invalid choice: 'byte'"),
    ],
)
def test_a_mistake_gets_one_sentence(text, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "language-model", "--data", str(text), *TINY, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_the_run_began_with_stays(text, tmp_path, capsys):
    train(tmp_path / "run", "--data", text, "--steps", 2)
    capsys.readouterr()
    for flag, value, old in (("--bptt", "9", "5"), ("--unit", "char", "word"), ("--cell", "gru", "lstm")):
        assert main(["train", "language-model", "--resume", str(tmp_path / "run"), "--steps", "9", flag, value]) == 2
        assert f"{flag} was {old} when the run began and cannot become {value} now" in capsys.readouterr().err
